# A backend that does not answer for three seconds: the kernel gives MPTCP up for
# all new connections of the host. That is said, in the log once when it begins
# and once when it ends, and on the page at once; and what is written there ends
# it.

use strict;
use warnings;

use JSON::PP qw(decode_json);
use MPTCP::Lab;
use MPTCP::ProxyLab;
use POSIX qw(WNOHANG);
use Test::More;

MPTCP::Lab->enter;

my $lab = MPTCP::ProxyLab->new;
my $b   = $lab->{backend};
# Linux does since 6.12
my $does = defined $lab->counters('proxy')->{MPTcpExtBlackhole};

$lab->backends(7001 => 'http');
# ProxyLab's value is too low for a third SYN
$lab->sysctl('proxy', 'net.ipv4.tcp_syn_retries', 6);
$lab->proxy(<<"END");
ProxyPass /status !
ProxyPass /soon/ http://$b:7001/soon/ multipathtcp=On disablereuse=On connectiontimeout=1
ProxyPass /      http://$b:7001/      multipathtcp=On disablereuse=On
MPTCPLimits subflows=2 add_addr_accepted=2
<Location /status>
    SetHandler mptcp-status
</Location>
END
my $begins = qr/mptcp:warn.*the kernel has given MPTCP up for new connections to all backends/;
my $ends   = qr/mptcp:notice.*the kernel uses MPTCP for new connections to backends again/;

# --- A kernel that never does

if (!$does) {
    outage('/x');
    $lab->is_mptcp('/x', 'an outage, on a kernel that does not give MPTCP up: the next connection');
    is_deeply([shown()], ['null', undef], '    the page has nothing to say of it, and the metrics');
    is($lab->times_logged(qr/given MPTCP up|plain TCP/), 0, '    nor has the log');
    done_testing();
    exit;
}

my $timeout = $lab->sysctl('proxy', 'net.mptcp.blackhole_timeout');
is_deeply([shown()], ['false', 0], 'at first: the page says no');

# --- connectiontimeout=1 and an outage: nothing is given up

outage('/soon/x');
is($lab->counter('proxy', 'MPTcpExtBlackhole'), 0,
    'an outage, connectiontimeout=1: the kernel has not given MPTCP up');
# the worker is in error for a moment, and then as before
ok($lab->wait_until(10, sub { ($lab->request('/soon/x'))[0] == 200 }), '    the backend is back');
$lab->is_mptcp('/soon/x', '    and connects');

# --- Without: all workers connect by TCP

outage('/x');
is($lab->counter('proxy', 'MPTcpExtBlackhole'), 1, 'an outage: the kernel gives MPTCP up');
$lab->is_tcp('/x', '    the next connection');
my ($blackhole, $metric, @obstacles) = shown();
is_deeply([$blackhole, $metric], ['true', 1], '    the page says so, and the metrics');
is(scalar @obstacles, 1, '    as the one thing that stands in the way') or diag "@obstacles";
ok($lab->wait_until(25, sub { $lab->times_logged($begins) }), '    so does the log');
$lab->is_tcp('/x', '    another connection');
ok($lab->{httpd}->graceful, '    a reload');
is((shown())[0], 'true', '    the page says so still');

# --- What the message says ends it

my ($command) = $obstacles[0] =~ /write '(sysctl -w net\.mptcp\.blackhole_timeout=\d+)'/;
is($command, "sysctl -w net.mptcp.blackhole_timeout=$timeout", 'what to write');
$lab->run('proxy', split ' ', $command);
$lab->is_mptcp('/x', '    ends it: a connection');
# which of two connections since the last look was the later one is not known
ok($lab->wait_until(25, sub { $lab->request('/x'); $lab->times_logged($ends) }),
    '    the log says so');
is_deeply([shown()], ['false', 0], '    so does the page');

# once by the parent when it sees it, and once by the report of the reload
is($lab->times_logged($begins), 2, 'the beginning is logged once, and once more at the reload');
is($lab->times_logged($ends), 1, 'the end is logged once');

done_testing();

# One request while the backend's network is silent: until it has ended, or three
# SYNs are lost.
sub outage {
    my ($path) = @_;
    local @ENV{ grep {/_proxy$/i} keys %ENV };
    $lab->blackhole(1);
    my $pid = $lab->spawn('proxy', qw(curl -q -s -o /dev/null --max-time 20),
        "http://127.0.0.1:8000$path");
    my $ended = 0;
    $lab->wait_until(20, sub {
        $ended = waitpid $pid, WNOHANG;
        return $ended || $lab->syns_sent('proxy', 7001) >= 3;
    });
    $lab->unblackhole(1);
    waitpid $pid, 0 if !$ended;
    return;
}

# What JSON and metrics say; the obstacles of JSON.
sub shown {
    my $json = decode_json(($lab->request('/status?json'))[1]);
    my ($metric) = ($lab->request('/status?openmetrics'))[1] =~ /^\w*blackhole (\d)$/m;
    my $says = $json->{blackhole};
    return (defined $says ? $says ? 'true' : 'false' : 'null', $metric, @{ $json->{obstacles} });
}
