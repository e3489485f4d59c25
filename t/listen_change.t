# Reloads that change a listener's protocol, while new connections keep
# coming: none fails.  For each MPM in turn; at length with
#
#   MPTCP_ROUNDS=5 MPTCP_FLIPS=12 perl -It/lib t/listen_change.t

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;

MPTCP::Lab->enter;

my $rounds = $ENV{MPTCP_ROUNDS} // 1;
my $flips  = $ENV{MPTCP_FLIPS}  // 4;

my $lab = MPTCP::Lab->new->add_host('host');
# One address, one port: each connection takes a new source port.
$lab->sysctl('host', 'net.ipv4.ip_local_port_range', '1024 65535');
$lab->sysctl('host', 'net.ipv4.tcp_tw_reuse', 1);
# The load is not to be refused for a full queue, which is nobody's fault.
$lab->sysctl('host', 'net.core.somaxconn', 4096);

# Children that stop must not wait for those that idle, nor run out.
my $common = <<'END';
Listen 127.0.0.1:8000
ListenBacklog 4096
EnableMMAP Off
END
my %conf = (
    tcp   => $common . "Listen 127.0.0.1:80\n",
    mptcp => $common . "MPTCPListen 127.0.0.1:80\n",
);

for my $round (1 .. $rounds) {
    my $httpd = started($conf{tcp});
    is(kind(), 'tcp', 'it begins with TCP');
    under_load("round $round: $flips changes of protocol and as many plain reloads" => sub {
        for my $flip (1 .. $flips) {
            my $now = $flip % 2 ? 'mptcp' : 'tcp';
            $httpd->set_conf($conf{$now});
            $httpd->graceful or die $httpd->error_log;
            is(kind(), $now, "change $flip: new connections are for $now");
            sleep 0.3;
            $httpd->graceful or die $httpd->error_log;
            is(kind(), $now, '... and still after a plain reload');
            sleep 0.3;
        }
    });
    my @said = $httpd->error_log =~ /MPTCP listeners: (.*)/g;
    is_deeply(\@said, [('127.0.0.1:80') x $flips], 'the log names it while it is MPTCP');

    # At most one idle socket is kept, however many changes there were.
    is(scalar $lab->ss('host', '-tl', 'sport = :80'), 2, 'two sockets for the address');
    clean($httpd);
}

# --- A change together with another one

{
    my $httpd = started($conf{tcp} . "Listen 127.0.0.1:81\n");
    under_load('protocol of one listener, port of another' => sub {
        $httpd->set_conf($conf{mptcp} . "MPTCPListen 127.0.0.1:82\n");
        $httpd->graceful or die $httpd->error_log;
        sleep 0.3;
    });
    is(kind(), 'mptcp', '... changed');
    is(kind(82), 'mptcp', '... the new port is served');
    closes(81, '... the old one is closed');

    under_load('protocol changed back, a listener removed' => sub {
        $httpd->set_conf($conf{tcp});
        $httpd->graceful or die $httpd->error_log;
        sleep 0.3;
    });
    is(kind(), 'tcp', '... changed');
    closes(82, '... the listener is closed');

    # A listener that had changed is removed, and comes back.
    $httpd->set_conf($common);
    ok($httpd->graceful, 'a listener that had changed is removed');
    closes(80, '... both sockets are closed');
    $httpd->set_conf($conf{mptcp});
    ok($httpd->graceful, '... and comes back');
    is(kind(), 'mptcp', '... as MPTCP');
    is(scalar $lab->ss('host', '-tl', 'sport = :80'), 1, '... with one socket');

    $httpd->set_conf($conf{tcp});
    ok($httpd->restart, 'a change by an ungraceful restart');
    is(kind(), 'tcp', '... changed');
    clean($httpd);
}

# --- The other switches that change a protocol

{
    my $httpd = started($conf{tcp});
    $httpd->set_conf("MPTCPListenDefault On\n$conf{tcp}");
    ok($httpd->graceful, 'MPTCPListenDefault On');
    is(kind($_), 'mptcp', "port $_") for 80, 8000;
    $httpd->set_conf($conf{tcp});
    ok($httpd->graceful, '... and gone');
    is(kind($_), 'tcp', "port $_") for 80, 8000;
    clean($httpd);
}

# --- ListenCoresBucketsRatio that gives one bucket: as without it

{
    my $ratio = 'ListenCoresBucketsRatio 8';
    my $httpd = started("$ratio\n$conf{tcp}");
    under_load("one bucket: $flips changes of protocol" => sub {
        for my $flip (1 .. $flips) {
            my $now = $flip % 2 ? 'mptcp' : 'tcp';
            $httpd->set_conf("$ratio\n$conf{$now}");
            $httpd->graceful or die $httpd->error_log;
            is(kind(), $now, "one bucket: change $flip: new connections are for $now");
            sleep 0.3;
        }
    });
    is(scalar $lab->ss('host', '-tl', 'sport = :80'), 2, '... two sockets for the address');

    # The pair must not get into a group of core's, nor come of one.
    $httpd->set_conf("ListenCoresBucketsRatio 1\n$conf{mptcp}");
    ok($httpd->restart, 'one bucket, and then several');
    is(scalar $lab->ss('host', '-tl', 'sport = :80'), 2, '... one socket for each');
    is($lab->ss('host', '-lM', 'sport = :80') + 0, 2, '... all of them MPTCP');
    $httpd->set_conf("$ratio\n$conf{tcp}");
    ok($httpd->restart, 'several buckets, and then one');
    is($lab->ss('host', '-lM', 'sport = :80') + 0, 0, '... and TCP');
    is(scalar $lab->ss('host', '-tl', 'sport = :80'), 1, '... by one socket');
    clean($httpd);
}

# --- ListenCoresBucketsRatio: a group of core's own

{
    my $httpd = started("ListenCoresBucketsRatio 1\n$conf{tcp}");
    for my $now (qw(mptcp tcp)) {
        $httpd->set_conf("ListenCoresBucketsRatio 1\n$conf{$now}");
        ok($httpd->graceful, "buckets: change to $now");
        # The old children hold the old sockets until they are gone.
        my $count = $lab->wait_until(10, sub {
            my $n = () = $lab->ss('host', '-tl', 'sport = :80');
            return $n == 2;
        });
        ok($count, '... one socket for each bucket');
        is($lab->ss('host', '-lM', 'sport = :80') + 0, $now eq 'mptcp' ? 2 : 0,
            '... all of them of one kind');
        is(kind(), $now, '... the right one') for 1 .. 3;
    }

    # The number of buckets is settled at an ungraceful restart.
    $httpd->set_conf("ListenCoresBucketsRatio 2\n$conf{mptcp}");
    ok($httpd->restart, 'buckets: another number of them, and another protocol');
    is($lab->ss('host', '-lM', 'sport = :80') + 0, 1, '... one socket');
    is(kind(), 'mptcp', '... of the right kind');
    clean($httpd);
}
{
    # A pair of sockets made without buckets must not get into their group.
    # (A listener that did not change would make httpd end here, with or
    # without this module: core's duplicates cannot be bound beside a socket
    # that was made without SO_REUSEPORT.)
    # Nor must that of a line which goes at the same time.
    my $httpd = started("Listen 127.0.0.1:80\nListen 127.0.0.1:81\n");
    $httpd->set_conf("MPTCPListen 127.0.0.1:80\nMPTCPListen 127.0.0.1:81\n");
    ok($httpd->graceful, 'a change without buckets');
    $httpd->set_conf("ListenCoresBucketsRatio 1\nMPTCPListen 127.0.0.1:80\n");
    ok($httpd->restart, '... and then buckets');
    is(scalar $lab->ss('host', '-tl', 'sport = :80'), 2, '... one socket for each');
    is($lab->ss('host', '-lM', 'sport = :80') + 0, 2, '... all of them MPTCP');
    is(scalar $lab->ss('host', '-tl', 'sport = :81'), 0, '... none where the line is gone');
    is(kind(), 'mptcp', '... served') for 1 .. 3;
    clean($httpd);
}
done_testing();

# Old children close it, which may take a moment.
sub closes {
    my ($port, $name) = @_;
    return ok($lab->wait_until(20, sub { !scalar $lab->ss('host', '-tl', "sport = :$port") }),
        $name);
}

sub started {
    my ($conf) = @_;
    my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'host', conf => $conf, two_processors => 1);
    $httpd->write_file('file', "content\n");
    $httpd->start or die $httpd->error_log;
    return $httpd;
}

# What a new connection with MPTCP becomes.
sub kind {
    my ($port) = @_;
    my $r = MPTCP::Client::get(lab => $lab, ns => 'host', host => '127.0.0.1',
        port => $port // 80, path => '/file', mptcp => 1);
    return $r->{error} if $r->{error};
    return $r->{is_mptcp} ? 'mptcp' : 'tcp';
}

# Runs code while 32 clients connect anew for each request, and looks how
# they fared.
sub under_load {
    my ($name, $code) = @_;
    my $report = File::Temp->new;
    # Long enough for anything: it is ended with SIGINT, and then reports.
    my $load = $lab->spawn('host', { out => "$report", err => "$report" },
        qw(wrk -t1 -c32 -d300), '-H', 'Connection: close', 'http://127.0.0.1:80/file');
    sleep 0.5;
    $code->();
    $lab->reap($load, 'INT');
    my $said = do { local $/; open my $file, '<', "$report" or die $!; <$file> };
    my ($requests) = $said =~ /(\d+) requests in/ or die "wrk: $said";
    my ($errors)   = $said =~ /(Socket errors: .*)/;
    my ($bad)      = $said =~ /(Non-2xx.*)/;
    subtest $name => sub {
        cmp_ok($requests, '>', 500, 'requests');
        is($errors, undef, 'no socket error');
        is($bad, undef, 'no failed request');
        note "$requests requests, ", $said =~ m{(Requests/sec:.*)};
    };
    return;
}

sub clean {
    my ($httpd) = @_;
    $httpd->stop;
    is_deeply([$httpd->complaints], [], 'nothing bad in the log') or diag $httpd->error_log;
    return;
}
