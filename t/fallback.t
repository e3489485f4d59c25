# A kernel that gives no MPTCP socket: httpd starts, serves by TCP, connects
# by TCP, and warns once for each, naming the errno.  Once it gives them, a
# reload is enough.

use strict;
use warnings;

use Test::More;
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->new->add_host('host');
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'host',
    load => [qw(proxy proxy_http)], conf => <<'END');
Listen 127.0.0.1:8000
MPTCPListen 127.0.0.1:8001
MPTCPListen [::1]:8001
ProxyPass /proxied/ http://127.0.0.1:8001/ multipathtcp=On disablereuse=On
<Location /mptcp-status>
    SetHandler mptcp-status
</Location>
END
$httpd->write_file('file', "content\n");

$lab->sysctl('host', 'net.mptcp.enabled', 0);
ok($httpd->start, 'it starts with net.mptcp.enabled=0') or diag $httpd->error_log;
is(mptcp_listeners(), 0, 'no MPTCP listener');
for my $host ('127.0.0.1', '::1') {
    is(get($host, 8001, '/file')->{status}, 200, "served by TCP on $host");
}
is(get('127.0.0.1', 8000, '/proxied/file')->{status}, 200, 'proxied by TCP') for 1 .. 3;

my @listen = grep { /MPTCP listeners serve by plain TCP/ } split /\n/, $httpd->error_log;
is(@listen, 1, 'one warning for the listeners') or diag @listen;
like($listen[0] // '', qr/:warn\].*\(92\).*ENOPROTOOPT.*net\.mptcp\.enabled=1/,
    '... names the errno and what to do');
my @worker = grep { /connects by plain TCP/ } split /\n/, $httpd->error_log;
cmp_ok(scalar @worker, '>=', 1, 'a warning for the worker');
# Children know nothing of each other: with prefork each may say it once.
my %pids = map { (/\[pid (\d+)/)[0] => 1 } @worker;
is(@worker, keys %pids, '... once in a child, not once a request') or diag @worker;
like($worker[0] // '', qr{:warn\].*http://127\.0\.0\.1:8001/?.*ENOPROTOOPT.*net\.mptcp\.enabled=1},
    '... names worker, errno and what to do');

$lab->sysctl('host', 'net.mptcp.enabled', 1);
my $remedy = qr/"127\.0\.0\.1:8001 is TCP, [^"]*","remedy":"reload httpd/;
like(page(), $remedy, 'net.mptcp.enabled=1: the page says what to do');
ok($httpd->graceful, '... which is a reload');
is(mptcp_listeners(), 2, 'MPTCP listeners');
unlike(page(), qr/8001 is TCP/, '... and the page says so no more');
my $before = $lab->counters('host');
my $r = get('127.0.0.1', 8001, '/file', mptcp => 1);
is($r->{status}, 200, 'served');
is($r->{is_mptcp}, 1, '... by MPTCP');
$before = $lab->counters('host');
is(get('127.0.0.1', 8000, '/proxied/file')->{status}, 200, 'proxied');
is($lab->counter('host', 'MPTcpExtMPCapableACKRX') - $before->{MPTcpExtMPCapableACKRX}, 1,
    '... by MPTCP');
$httpd->stop;

# With ListenCoresBucketsRatio there are new sockets at every reload, for listeners
# that have an MPTCP socket, too.
$httpd = MPTCP::Httpd->new(lab => $lab, ns => 'host', two_processors => 1,
    conf => "ListenCoresBucketsRatio 1\nMPTCPListen 127.0.0.1:8001\n");
$httpd->write_file('file', "content\n");
ok($httpd->start, 'buckets') or diag $httpd->error_log;
for my $enabled (0, 0, 1) {
    $lab->sysctl('host', 'net.mptcp.enabled', $enabled);
    ok($httpd->graceful, "buckets, net.mptcp.enabled=$enabled and a reload") or diag $httpd->error_log;
    is(get('127.0.0.1', 8001, '/file')->{status}, 200, '    served');
    is(mptcp_listeners() > 0, $enabled == 1, '    by ' . ($enabled ? 'MPTCP' : 'TCP'));
}
my @said = $httpd->error_log =~ /(listeners serve by plain TCP: the kernel .*ENOPROTOOPT)/g;
is(@said, 2, '    which is said') or diag $httpd->error_log;
$httpd->stop;

# MPTCPFallback Off keeps httpd from starting, not from being stopped.
$httpd = MPTCP::Httpd->new(lab => $lab, ns => 'host',
    conf => "MPTCPFallback Off\nMPTCPListen 127.0.0.1:8001\n");
ok($httpd->start, 'MPTCPFallback Off') or diag $httpd->error_log;
$lab->sysctl('host', 'net.mptcp.enabled', 0);
my ($status, $output) = $httpd->config_test;
isnt($status, 0, '    net.mptcp.enabled=0: httpd -t fails');
like($output, qr/MPTCPFallback Off forbids TCP: the kernel .*ENOPROTOOPT/, '    which it explains');
($status, $output) = $httpd->run_beside('-k', 'stop');
is($status, 0, '    httpd -k stop does not') or diag $output;
ok($lab->wait_until(10, sub { !$httpd->alive }), '    and httpd stops');
ok(!$httpd->start, '    it does not start');
like($httpd->error_log, qr/MPTCPFallback Off forbids TCP/, '    which is said');
$lab->sysctl('host', 'net.mptcp.enabled', 1);
done_testing();

sub get {
    my ($host, $port, $path, %o) = @_;
    return MPTCP::Client::get(lab => $lab, ns => 'host', host => $host, port => $port,
        path => $path, %o);
}

sub page { return get('127.0.0.1', 8000, '/mptcp-status?json', keep => 1)->{body} }

sub mptcp_listeners {
    return scalar $lab->ss('host', '-lM');
}
