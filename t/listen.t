# Every way httpd listens, as the kernel sees the sockets.

use strict;
use warnings;

use JSON::PP qw(decode_json);
use Test::More;
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use MPTCP::Session;

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->two_paths;
my $address  = $lab->address('server', 1);
my $address6 = $lab->address6('server', 1);

# --- Where a listener may stand, and what makes it MPTCP

listens('Listen with trunk\'s option', <<'END', ['*:80', "$address:82", '[::1]:83']);
Listen 80 options=multipathtcp
Listen 81
Listen 10.91.1.2:82 https options=MultipathTCP
listen [::1]:83 "http" Options=multipathtcp,multipathtcp
END

my $included = MPTCP::Httpd->new(lab => $lab);    # for its directory
my $file = $included->write_file('included.conf', "Listen 82 options=multipathtcp\n");
listens('within IfModule, IfDefine, Include and Use', <<"END", ['*:80', '*:81', '*:82', '*:83', '*:84'],
<IfModule mod_mptcp.c>
    Listen 80 options=multipathtcp
    <IfDefine !NONSENSE>
        MPTCPListen 81
    </IfDefine>
</IfModule>
<IfModule !mod_mptcp.c>
    Listen 85 options=multipathtcp
</IfModule>
Include $file
<Macro OneListen \$port>
    Listen \$port options=multipathtcp
</Macro>
Use OneListen 83
Use OneListen 84
END
    load => ['macro']);

listens('MPTCPListenDefault On', <<'END', ['*:80', "$address:81"]);
Listen 80
MPTCPListenDefault On
Listen 10.91.1.2:81
END

listens('MPTCPListenDefault Off', <<'END', ['*:81']);
MPTCPListenDefault Off
Listen 80
MPTCPListen 81
END

# --- Addresses

$lab->hosts("$address many\n10.91.2.2 many\n$address6 many\n127.0.0.1 localhost\n");
listens('a name with several addresses', "MPTCPListen many:80\n",
    ["$address:80", '10.91.2.2:80', "[$address6]:80"]);

# It can be bound once no other host is found to have it.
my $link_local = $lab->wait_until(5, sub {
    return $lab->run('server', qw(ip -o -6 address show dev s1 scope link -tentative))
        =~ /inet6 (fe80:[0-9a-f:]+)/ && $1;
});
ok($link_local, 's1 has a link-local address');
# Not every httpd takes a scope; what Listen does not, MPTCPListen does not.
my ($status, $said) = MPTCP::Httpd->new(lab => $lab, ns => 'server',
    conf => "Listen [$link_local%s1]:80\n")->config_test;
if ($status == 0) {
    listens('a scoped address', "MPTCPListen [$link_local%s1]:80\n",
        ["[$link_local]:80"],    # ss does not say the scope of an MPTCP socket
        check => sub { served_by_mptcp('... is served', "$link_local%c1", 80,
            headers => ['Host: scoped']) });
}
else {
    my ($reason) = $said =~ /: (Scope id is not supported)/;
    my $output = (MPTCP::Httpd->new(lab => $lab, ns => 'server',
        conf => "MPTCPListen [$link_local%s1]:80\n")->config_test)[1];
    like($output, qr/MPTCPListen \[.*: \Q$reason\E/, 'a scoped address: no more than Listen takes');
}

{
    my $httpd = started('MPTCPListen 80');
    for my $host ($address, $address6) {
        served_by_mptcp("the wildcard serves $host", $host, 80);
    }
    # On a dual-stack socket the kernel calls an IPv4 client ::ffff:10.91.1.1.
    is(scalar $lab->ss('server', '-lM'), 1, '... and it is one socket');
}

# --- What core sets on its sockets is set on these

{
    my $httpd = started(<<'END');
SendBufferSize 131072
ReceiveBufferSize 65536
ListenBacklog 77
Listen 80
MPTCPListen 81
END
    my %socket = map { ($_->{local} =~ /:(\d+)$/)[0] => $_ } $lab->ss('server', '-tlm');
    for my $port (80, 81) {
        is($socket{$port}{send_q}, 77, "port $port: ListenBacklog");
        my ($receive, $send) = $socket{$port}{info} =~ /rb(\d+),t\d+,tb(\d+)/;
        is($send, 2 * 131072, '... SendBufferSize, which the kernel doubles');
        is($receive, 2 * 65536, '... ReceiveBufferSize');
    }
}

# --- ListenCoresBucketsRatio: two buckets on two processors

{
    $lab->limits('server', subflows => 2);
    $lab->limits('client', subflows => 2, add_addr_accepted => 2);
    $lab->endpoint('server', '10.91.2.2', dev => 's2', 'signal');
    my $httpd = started(<<"END", two_processors => 1);
ListenCoresBucketsRatio 1
MPTCPListen $address:80
MPTCPListen 0.0.0.0:82
Listen $address:81
<Location /mptcp-status>
    SetHandler mptcp-status
</Location>
END
    # Each child knows all of them, though it listens in one bucket: the page is
    # the same, whichever is asked. (Of two, 20 are one child's in a million.)
    my %obstacles;
    $obstacles{ join ', ', @{ decode_json(MPTCP::Client::get(lab => $lab, ns => 'client', host => $address,
        port => 81, path => '/mptcp-status?json', keep => 1)->{body})->{obstacles} } }++ for 1 .. 20;
    is(scalar keys %obstacles, 1, 'each bucket tells of the same obstacles') or diag explain \%obstacles;
    like((keys %obstacles)[0], qr/10\.91\.2\.2 is announced, but connections to 10\.91\.1\.2:80 cannot join/,
        '... and there is one');
    for my $round ('a start', 'a graceful restart', 'another') {
        ok($httpd->graceful, $round) if $round ne 'a start';
        my (%tcp, %mptcp);
        # The old children hold the old buckets until they are gone.
        $lab->wait_until(10, sub {
            %tcp = %mptcp = ();
            $tcp{ $_->{local} }++   for $lab->ss('server', '-tl');
            $mptcp{ $_->{local} }++ for $lab->ss('server', '-lM');
            return ($tcp{"$address:80"} // 0) == 2 && ($mptcp{"$address:80"} // 0) == 2;
        });
        is($mptcp{"$address:80"}, 2, "after $round: every bucket of an MPTCP listener is MPTCP");
        is($tcp{"$address:80"}, 2, '... and there is nothing else in its group');
        is($mptcp{'0.0.0.0:82'}, 2, '... the same for another one');
        is($mptcp{"$address:81"}, undef, '... no bucket of a TCP listener is');

        # A listener with TCP_DEFER_ACCEPT would drop the joins.  Eight
        # connections meet every bucket of two, but for one time in 128.
        my $before = $lab->counter('server', 'MPTcpExtMPJoinAckRx');
        my $joined = sub { $lab->counter('server', 'MPTcpExtMPJoinAckRx') - $before };
        my @sessions = map { MPTCP::Session->open(lab => $lab, ns => 'client', host => '10.91.1.2',
            port => 82, mptcp => 1) } 1 .. 8;
        is(scalar(grep { $_->get('/file')->{status} == 200 } @sessions), 8, '... and serves');
        # while they are open: a join that comes later is refused
        $lab->wait_until(3, sub { $joined->() >= 8 });
        $_->close for @sessions;
        if (MPTCP::Httpd::since('2.5')) {    # trunk makes the duplicates out of our reach
            like($httpd->error_log, qr{mptcp:notice.*with ListenCoresBucketsRatio this httpd uses second paths late},
                '... that joins do not happen in all buckets is said');
            next;
        }
        is($joined->(), 8, '... joins happen in all buckets');
    }
}

# --- Sockets that a service manager passed on
# (2.4 as Debian has it knows no socket activation: here the module is made
# to believe that descriptors 3 and up, core's own, came from there.)

{
    local $ENV{LISTEN_FDS} = 100;
    my $httpd = started('MPTCPListen 80', before => ['sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh']);
    is(scalar $lab->ss('server', '-lM'), 0, 'an inherited socket is left alone');
    my @said = $httpd->error_log =~ /^(.*passed on by the service manager.*)$/mg;
    is(@said, 1, '... which is said once');
    like($said[0] // '', qr/:notice\].*\[::\]:80 .*SocketProtocol=mptcp/, '... with what to write');
    ok($httpd->graceful, '... a graceful restart');
    is(scalar $lab->ss('server', '-lM'), 0, '... leaves it alone too');
}
{
    local $ENV{LISTEN_FDS} = 100;
    my $httpd = new_httpd("MPTCPFallback Off\nMPTCPListen 80",
        before => ['sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh']);
    ok(!$httpd->start, '... with MPTCPFallback Off httpd does not start');
    like($httpd->error_log, qr/\[::\]:80 is to be MPTCP, and MPTCPFallback Off forbids TCP: the service manager passed it on/,
        '... and says why');
}
{
    # What was passed on to another, which httpd is a descendant of.
    local @ENV{qw(LISTEN_FDS LISTEN_PID)} = (100, 1);
    my $httpd = started('MPTCPListen 80');
    is(scalar $lab->ss('server', '-lM'), 1, 'sockets passed on to another process are not httpd\'s');
}

# --- Ways to run httpd

{
    my $httpd = started('MPTCPListen 80', args => ['-X'],
        ready => sub { return scalar $lab->ss('server', '-lM') });
    served_by_mptcp('httpd -X', $address, 80);
    # stopped while one lingers it may crash by itself (t/under/valgrind.supp)
    ok($lab->wait_until(20, sub { !scalar $lab->ss('server', qw(-tn state connected exclude time-wait)) }),
        '... and no connection lingers');
}

{
    my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => "MPTCPListen 8080\n",
        before => [qw(setpriv --reuid nobody --regid nogroup --clear-groups)]);
    $httpd->write_file('file', "content\n");
    $lab->run(undef, 'touch', $httpd->root . '/logs/error_log');
    $lab->run(undef, qw(chown -R nobody), $httpd->root);
    ok($httpd->start, 'an ordinary user, on a high port') or diag $httpd->error_log;
    served_by_mptcp('... is served', $address, 8080);
}

# --- httpd -t binds nothing, and says what a start would say

{
    my $httpd = started('Listen 80');
    my $trace = File::Temp->new;
    my $tester = new_httpd("MPTCPListen 80\nMPTCPListen $address:81",
        before => [qw(strace -f -qq -e), 'trace=socket,bind,listen', '-o', "$trace"]);
    my ($status, $output) = $tester->config_test;
    my @calls = <$trace>;
    cmp_ok(scalar(grep { /socket\(/ } @calls), '>', 0, 'httpd -t under strace');
    is(scalar(grep { /(?:bind|listen)\(/ && !/AF_NETLINK/ } @calls), 0, '... binds nothing');
    ($status, $output) = new_httpd('MPTCPListen 80')->config_test;
    is($status, 0, 'httpd -t does not mind a port in use') or diag $output;
    unlike($output, qr/warn|error/, '... and is content');
}
$lab->sysctl('server', 'net.mptcp.enabled', 0);
{
    my $httpd = new_httpd('MPTCPListen 80');
    my ($status, $output) = $httpd->config_test;
    is($status, 0, 'without MPTCP, MPTCPFallback On: httpd -t passes');
    my @said = $output =~ /(:warn\].*serve by plain TCP.*ENOPROTOOPT.*)/g;
    is(@said, 1, '... and warns once') or diag $output;

    $httpd = new_httpd("MPTCPFallback Off\nListen 81\nMPTCPListen $address:80");
    ($status, $output) = $httpd->config_test;
    isnt($status, 0, 'without MPTCP, MPTCPFallback Off: httpd -t fails');
    @said = $output =~ /(\(92\).*\Q$address\E:80 .*MPTCPFallback Off.*ENOPROTOOPT.*net\.mptcp\.enabled=1)/g;
    is(@said, 1, '... with the reason') or diag $output;
    ok(!$httpd->start, '... and httpd does not start');
    @said = $httpd->error_log =~ /\(92\).*MPTCPFallback Off/g;
    is(@said, 1, '... for the same reason') or diag $httpd->error_log;

    $httpd = started("MPTCPFallback Off\nListen 80");
    pass('MPTCPFallback Off is nothing to a server without MPTCP listeners');
}
$lab->sysctl('server', 'net.mptcp.enabled', 1);
{
    my $httpd = started("MPTCPFallback Off\nMPTCPListen 80");
    served_by_mptcp('MPTCPFallback Off with MPTCP', $address, 80);
}
done_testing();

sub new_httpd {
    my ($conf, %o) = @_;
    my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => "$conf\n", %o);
    $httpd->write_file('file', "content\n");
    return $httpd;
}

sub started {
    my ($conf, %o) = @_;
    my $httpd = new_httpd($conf, %o);
    $httpd->start or die "httpd did not start with: $conf\n" . $httpd->error_log;
    return $httpd;
}

# The MPTCP listeners that a configuration gives, in ss's notation.
sub listens {
    my ($name, $conf, $expected, %o) = @_;
    my $check = delete $o{check};
    my $httpd = started($conf, %o);
    is_deeply([sort map { $_->{local} } $lab->ss('server', '-lM')], [sort @$expected], $name);
    # (But that no address is announced, the report at start may say.)
    my $log = $httpd->error_log =~ s/^.*clients learn of no second address.*\n//mgr;
    unlike($log, qr/:(?:warn|error|crit)\]/, '... without a complaint');
    $check->() if $check;
    return;
}

sub served_by_mptcp {
    my ($name, $host, $port, %o) = @_;
    my $r = MPTCP::Client::get(lab => $lab, ns => 'client', host => $host, port => $port,
        path => '/file', mptcp => 1, %o);
    is("$r->{error}$r->{status} mptcp=$r->{is_mptcp}", '200 mptcp=1', $name);
    return;
}
