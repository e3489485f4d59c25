# What endpoints are for, on the wire: a connection begun over one family
# gains a subflow of the other and survives the loss of the first; a listener
# bound to one address is joined at another; a path that comes back is used
# again. Bytes are counted at the devices.

use strict;
use warnings;

use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;
use Time::HiRes ();

MPTCP::Lab->enter;

# The first path is slow, so that a download lasts until the second has joined,
# however busy the machine; then it is soon over.
my $lab = MPTCP::Lab->two_paths(rate => ['10mbit', '50mbit']);
$lab->limits('client', subflows => 2, add_addr_accepted => 2);

my $size = 6_000_000;

# The kernel refuses a join once the server has closed its side, which it may
# as soon as all is in the socket's buffer: so the buffer is smaller than the
# file.
sub server {
    my ($lines, $bytes) = @_;
    my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server',
        conf => join "\n", 'SendBufferSize 131072', @$lines);
    open my $file, '>', $httpd->docroot . '/big' or die "big: $!";
    truncate $file, $bytes // $size or die "big: $!";
    close $file;
    $httpd->start or BAIL_OUT($httpd->error_log);
    return $httpd;
}

sub sent_on {
    my ($path) = @_;
    return ($lab->device_bytes('server', "s$path"))[1];
}

# A download whose first path is cut: it goes on over the second one, whose
# address the server has announced.
sub survives {
    my ($name, %client) = @_;
    my $joined = $lab->counter('server', 'MPTcpExtMPJoinAckRx');
    my $begun  = $lab->counter('server', 'MPTcpExtMPCapableSYNRX');
    my @before = map { sent_on($_) } 1, 2;
    my $download = MPTCP::Client->start(lab => $lab, ns => 'client', path => '/big',
        timeout => 40, %client);
    ok($download->wait_bytes(200_000), "$name: it is under way");
    cmp_ok(sent_on(1) - $before[0], '>', 50_000, '    by path 1');
    # what announces the address is sent on path 1, too
    ok($lab->wait_until(10, sub {
            $lab->counter('server', 'MPTcpExtMPJoinAckRx') > $joined || $download->done;
        }) && !$download->done, '    a second subflow joins');
    $lab->cut(1);
    my $cut = sent_on(2);
    my $result = $download->wait;
    $lab->restore(1);
    $lab->reaches('client', $_) or die "path 1 has not come back: $_"
        for $lab->address('server', 1), $lab->address6('server', 1);
    is($result->{error}, '', '    all of it arrives though path 1 is cut');
    is($result->{bytes}, $size, '    every byte');
    cmp_ok(sent_on(2) - $cut, '>', 50_000, '    the rest by path 2');
    is($lab->counter('server', 'MPTcpExtMPCapableSYNRX') - $begun, 1, '    in one connection');
    return;
}

# --- Both families. A Linux client has subflows of both only if its socket is
# IPv6: so it reaches an IPv4 address as a v4-mapped one.

my @from_ipv4 = (host => '::ffff:10.91.1.2', port => 80, mptcp => 1);
my @from_ipv6 = (host => 'fd91:1::2',        port => 80, mptcp => 1);
my $ipv6_endpoint = 'MPTCPEndpoint fd91:2::2 dev s2 signal';
my $ipv4_endpoint = 'MPTCPEndpoint 10.91.2.2 dev s2 signal';

for my $listen (
    ['a wildcard listener', 'MPTCPListen 80'],
    ['a listener per family', 'MPTCPListen 0.0.0.0:80', 'MPTCPListen [fd91:1::2]:80',
        'MPTCPListen [fd91:2::2]:80']
    )
{
    my ($name, @lines) = @$listen;
    my $httpd = server([@lines, $ipv6_endpoint]);
    survives("$name, IPv4 first", @from_ipv4);
    $httpd->stop;
    $httpd = server([@lines, $ipv4_endpoint]);
    survives("$name, IPv6 first", @from_ipv6);
    $httpd->stop;
}

# --- The same by mod_proxy, whose path manager is the configuration's business

for my $case (['IPv4 first', '[::ffff:10.91.1.2]', $ipv6_endpoint],
    ['IPv6 first', '[fd91:1::2]', $ipv4_endpoint])
{
    my ($name, $host, $endpoint) = @$case;
    my $httpd = server(['MPTCPListen 80', $endpoint]);
    $lab->limits('client', add_addr_accepted => 0);
    my $proxy = MPTCP::Httpd->new(lab => $lab, ns => 'client', load => [qw(proxy proxy_http)],
        conf => <<"END");
Listen 127.0.0.1:8080
ProxyPass / http://$host:80/ multipathtcp=On
MPTCPLimits subflows=2 add_addr_accepted=2
END
    $proxy->start or BAIL_OUT($proxy->error_log);
    survives("through the proxy, $name", host => '127.0.0.1', port => 8080);
    $_->stop for $proxy, $httpd;
}

# fullmesh: the proxy connects from its second address to every one of the
# backend's, which announces nothing and whose first path has gone.
my $httpd = server(['MPTCPListen 80']);
my $proxy = MPTCP::Httpd->new(lab => $lab, ns => 'client', load => [qw(proxy proxy_http)],
    conf => <<'END');
Listen 127.0.0.1:8080
ProxyPass / http://10.91.1.2:80/ multipathtcp=On
MPTCPLimits subflows=2
MPTCPEndpoint 10.91.2.1 dev c2 subflow fullmesh
END
# its packets for path 1's network leave by path 2, too
$lab->run(undef, qw(ip -n client rule add from 10.91.2.1 table 2));
$lab->run(undef, qw(ip -n client route add default via 10.91.2.2 table 2));
$proxy->start or BAIL_OUT($proxy->error_log);
survives('through a proxy with fullmesh', host => '127.0.0.1', port => 8080);
$_->stop for $proxy, $httpd;
$lab->run(undef, qw(ip -n client rule delete from 10.91.2.1 table 2));
$lab->limits('client', subflows => 2, add_addr_accepted => 2);

# backup: nothing goes by the second path while the first one works.
$httpd = server(['MPTCPListen 80', "$ipv4_endpoint backup"]);
my $part = 1_000_000;
my @used = map { sent_on($_) } 1, 2;
is(MPTCP::Client::get(lab => $lab, ns => 'client', path => '/big', host => '10.91.1.2',
    port => 80, mptcp => 1, headers => ["Range: bytes=0-$part"])->{subflows_seen}, 2, 'backup: there are two paths');
@used = map { sent_on($_) - $used[ $_ - 1 ] } 1, 2;
cmp_ok($used[0], '>', $part, '    the first is used');
# (but for what the first one owes when the machine is busy)
cmp_ok($used[1], '<', $part / 10, '    the second is not');
survives('backup', host => '10.91.1.2', port => 80, mptcp => 1);
$httpd->stop;

# laminar: the address from which an announced one is connected to. Without,
# routing chooses it.
$httpd = server(['MPTCPListen 80', $ipv4_endpoint]);
$lab->run(undef, qw(ip -n client address add 10.91.2.101/24 dev c2));
$lab->limits('client', subflows => 2, add_addr_accepted => 0);
$proxy = MPTCP::Httpd->new(lab => $lab, ns => 'client', load => [qw(proxy proxy_http)],
    conf => <<'END');
Listen 127.0.0.1:8080
ProxyPass / http://10.91.1.2:80/ multipathtcp=On
MPTCPLimits subflows=2 add_addr_accepted=2
MPTCPEndpoint 10.91.2.101 dev c2 laminar
END
$proxy->start or BAIL_OUT($proxy->error_log);
my $source = $lab->counts_laminar('client') ? '10.91.2.101' : '10.91.2.1';
my $proxied = MPTCP::Client->start(lab => $lab, ns => 'client', path => '/big',
    host => '127.0.0.1', port => 8080);
ok($lab->wait_until(20, sub { $lab->ss('server', '-tn', 'dst', $source) || $proxied->done }),
    'laminar: there is a subflow') or diag $lab->run('server', qw(ss -tn));
is(scalar(() = $lab->ss('server', '-tn', 'dst', $source)), 1, "    from $source");
is($proxied->wait->{bytes}, $size, '    every byte');
$_->stop for $proxy, $httpd;
$lab->run(undef, qw(ip -n client address delete 10.91.2.101/24 dev c2));
$lab->limits('client', subflows => 2, add_addr_accepted => 2);

# --- A listener bound to one address

$httpd = server(['MPTCPListen 10.91.1.2:80', 'MPTCPEndpoint 10.91.2.2 dev s2 port 7080 signal']);
survives('a bound listener and an endpoint with a port', host => '10.91.1.2', port => 80,
    mptcp => 1);
is(MPTCP::Client::get(lab => $lab, ns => 'client', host => '10.91.2.2', port => 7080,
    path => '/big', timeout => 5)->{status}, 0, '    which serves nothing but joins');
$httpd->stop;

$httpd = server(['MPTCPListen 10.91.1.2:80', 'MPTCPListen 10.91.2.2:80', $ipv4_endpoint]);
survives('a listener for each address', host => '10.91.1.2', port => 80, mptcp => 1);
$httpd->stop;

# --- A path that comes back

# How long a retransmission may wait (Linux 6.15). The listener takes it over
# when it is made, and from it the connections. So that no subflow is given up
# after so many of them, there may be more.
my $rto_max = 'net.ipv4.tcp_rto_max_ms';
my $has_rto_max = -e '/proc/sys/' . $rto_max =~ tr{.}{/}r;
if ($has_rto_max) {
    $lab->sysctl('server', $rto_max, 1000);
    $lab->sysctl('server', 'net.ipv4.tcp_retries2', 120);
}

# Longer than it takes; what is left is not waited for.
$httpd = server(['MPTCPListen 80', $ipv4_endpoint], 1_000_000_000);
my $download = MPTCP::Client->start(lab => $lab, ns => 'client', path => '/big',
    host => '10.91.1.2', port => 80, mptcp => 1, timeout => 60);
my $start = sent_on(2);
ok($lab->wait_until(20, sub { $download->done || sent_on(2) - $start > 100_000 }),
    'a download over two paths');

sub away {
    my ($seconds) = @_;
    $lab->blackhole(2);
    my $until = Time::HiRes::time() + $seconds;
    $lab->wait_until($seconds + 1, sub { $download->done || Time::HiRes::time() > $until });
    my ($subflow) = $lab->ss('server', '-tni', 'dst', '10.91.2.1');
    $lab->unblackhole(2);
    return $subflow;
}

sub is_used_again {
    my ($name) = @_;
    my $then = sent_on(2);
    ok($lab->wait_until(20, sub { $download->done || sent_on(2) - $then > 100_000 })
        && !$download->done, $name);
    return;
}
my $subflow = away(3);
is($subflow->{state}, 'ESTAB', 'a silent path: the subflow is kept');
my ($rto) = $subflow->{info} =~ /\brto:(\d+)/;
cmp_ok($rto, '<=', 1000, "    and tried each second, as $rto_max says") if $has_rto_max;
is_used_again('a path that was silent for a while is used again');

# The peer gives its subflow up: no retransmission will find the way back.
$lab->run('server', qw(ss -K dst 10.91.2.1));
ok($lab->wait_until(10, sub { !$lab->ss('server', '-tn', 'dst', '10.91.2.1') }),
    'a subflow that has been given up');
my $joins = $lab->counter('server', 'MPTcpExtMPJoinAckRx');
my ($id) = map {/10\.91\.2\.2 id (\d+)/} $lab->endpoints('server');
$lab->run(undef, qw(ip -n server mptcp endpoint delete id), $id);
ok($httpd->graceful, '    its endpoint deleted, and a reload, which adds it again');
ok($lab->wait_until(20, sub {
        $download->done || $lab->counter('server', 'MPTcpExtMPJoinAckRx') > $joins;
    }) && !$download->done, '    brings the client to join once more');
is_used_again('    and the path is used again');
$download->cancel;
$httpd->stop;

done_testing();
