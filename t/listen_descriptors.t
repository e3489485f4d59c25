# A reload that changes the protocol of many listeners takes a descriptor for
# each.  Where too few are left for that, httpd goes on with what it had.

use strict;
use warnings;

use Test::More;
use MPTCP::Client;
use MPTCP::Faults;
use MPTCP::Httpd;
use MPTCP::Lab;

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->new->add_host('host');
my $N   = 480;

sub lines { my ($directive) = @_; return join '', map {"$directive 127.0.0.1:$_\n"} 10_001 .. 10_000 + $N }

# --- 480 listeners and 1,024 descriptors, both ways

for my $case (
    ['TCP',   lines('Listen'), "MPTCPListenDefault On\n" . lines('Listen'), 0],
    ['MPTCP', lines('MPTCPListen'), lines('Listen'), $N])
{
    my ($protocol, $before, $after, $mptcp) = @$case;
    my $httpd = started($before, 1024);
    $httpd->set_conf($after);
    my ($status, $output) = $httpd->config_test;
    is($status, 0, "$protocol: httpd -t approves of the change") or diag $output;
    for my $round (1 .. 3) {
        ok($httpd->graceful, "$protocol: httpd lives through reload $round") or diag substr $httpd->error_log, -2000;
        is(0 + $lab->ss('host', '-lM'), $mptcp, '... all listeners stay what they are');
        is(0 + $lab->ss('host', '-tl'), $N, '... and there is no other socket');
        is(kind(), lc $protocol, '... and is served');
    }
    my @said = $httpd->error_log =~ /^(.*:(?:warn|error)\].*keep their protocol.*)$/mg;
    is(@said, 3, '... which is said once a reload');
    like($said[0] // '', qr/$N listeners keep their protocol: .*ulimit -n \d+/, '... with what to do') or diag $said[0];

    # One listener alone may change.
    my $one = $before =~ s/^(?:MPTCP)?Listen/$protocol eq 'TCP' ? 'MPTCPListen' : 'Listen'/er;
    $httpd->set_conf($one);
    ok($httpd->graceful, "$protocol: one of them changes");
    is(kind(), $protocol eq 'TCP' ? 'mptcp' : 'tcp', '... and is served as it is to be');
    is(0 + $lab->ss('host', '-tl'), $N + 1, '... by one more socket');
    $httpd->stop;
}

# --- Enough of them

{
    my $httpd = started(lines('Listen'), 4096);
    $httpd->set_conf(lines('MPTCPListen'));
    ok($httpd->graceful, 'with 4,096 descriptors all of them change');
    is(0 + $lab->ss('host', '-lM'), $N, '... to MPTCP');
    is(kind(), 'mptcp', '... and are served');
    unlike($httpd->error_log, qr/keep/, '... which needs no word');
}

# --- Logs, which are closed while the listeners are bound, want theirs back

{
    my $logs = join '', map {"CustomLog logs/access_$_ common\n"} 1 .. 400;
    my $httpd = started("LogFormat %h common\n$logs" . lines('Listen'), 1024);
    $httpd->set_conf("LogFormat %h common\n$logs" . join('', map {"MPTCPListen 127.0.0.1:$_\n"} 10_001 .. 10_140)
        . join('', map {"Listen 127.0.0.1:$_\n"} 10_141 .. 10_000 + $N));
    ok($httpd->graceful, '140 of them, and 400 logs') or diag substr $httpd->error_log, -2000;
    is(0 + $lab->ss('host', '-lM'), 0, '... stay as they are');
}

# --- MPTCPFallback Off: what cannot be MPTCP is not served, at a reload either

{
    my $httpd = started(lines('Listen'), 1024);
    $httpd->set_conf("MPTCPFallback Off\n" . lines('MPTCPListen'));
    ok(!$httpd->graceful, 'MPTCPFallback Off: httpd ends');
    like($httpd->error_log, qr/127\.0\.0\.1:1\d+ is to be MPTCP, and MPTCPFallback Off forbids TCP: too few descriptors/,
        '... and says why');

    # What is to be TCP may stay MPTCP.
    $httpd = started("MPTCPFallback Off\n" . lines('MPTCPListen'), 1024);
    $httpd->set_conf("MPTCPFallback Off\n" . lines('Listen'));
    ok($httpd->graceful, 'MPTCPFallback Off is nothing to listeners that stay MPTCP') or diag substr $httpd->error_log, -2000;
    is(kind(), 'mptcp', '... and are served');
}

# --- A second socket that fails half-way

{
    my $faults = MPTCP::Faults->new;
    my $conf = join '', map {"Listen 127.0.0.1:$_\n"} 10_001 .. 10_100;
    my $httpd = $faults->server($conf);
    ok($httpd->start, '100 listeners') or diag $httpd->error_log;
    $httpd->set_conf($conf =~ s/Listen/MPTCPListen/gr);
    my $memory;
    for my $fault ('bind 13', 'socket 24 2 9999') {
        $faults->set($fault);
        $httpd->graceful for 1 .. 3;
        $memory = memory($httpd->pid);
        $httpd->graceful for 1 .. 20;
        is(0 + $faults->lab->ss('host', '-tl', 'sport >= :10001'), 100, "$fault: no second socket");
        is(descriptors($httpd->pid), 100, '... nor a descriptor left open');
        # (A sanitizer keeps up to 256 MB that have been freed.)
        cmp_ok(memory($httpd->pid) - $memory, '<', $ENV{MPTCP_HTTPD} ? 300_000 : 300,
            '... nor 300 KB, after 20 reloads');
    }
    $faults->set('');
    ok($httpd->graceful, 'the same without a fault');
    is(0 + $faults->lab->ss('host', '-lM', 'sport >= :10001'), 100, '... all have changed');

    $httpd->set_conf($conf);
    $httpd->restart;
    $httpd->set_conf("MPTCPFallback Off\nMPTCPListen 127.0.0.1:9999\n");
    ok($httpd->graceful, 'MPTCPFallback Off, and a new listener');
    $httpd->set_conf("MPTCPFallback Off\nMPTCPListen 127.0.0.1:9999\nListen 127.0.0.1:9998\n");
    ok($httpd->graceful, '... and one that is TCP');
    $httpd->set_conf("MPTCPFallback Off\nMPTCPListen 127.0.0.1:9999\nMPTCPListen 127.0.0.1:9998\n");
    $faults->set('setsockopt.1.15 1');
    ok(!$httpd->graceful, '... whose change to MPTCP fails: httpd ends');
    like($httpd->error_log, qr/127\.0\.0\.1:9998 is to be MPTCP, and MPTCPFallback Off forbids TCP: no second socket/,
        '... and says why');
}
done_testing();

sub started {
    my ($conf, $descriptors) = @_;
    my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'host', conf => $conf,
        before => ['prlimit', "--nofile=$descriptors:"]);
    $httpd->write_file('file', "content\n");
    $httpd->start or die substr $httpd->error_log, -2000;
    return $httpd;
}

# What a new connection with MPTCP becomes, at the first listener.
sub kind {
    my $r = MPTCP::Client::get(lab => $lab, ns => 'host', host => '127.0.0.1', port => 10_001,
        path => '/file', mptcp => 1);
    return $r->{error} || ($r->{is_mptcp} ? 'mptcp' : 'tcp');
}

# How many sockets a process has.
sub descriptors {
    my ($pid) = @_;
    my $count = grep { (readlink // '') =~ /^socket:/ } glob "/proc/$pid/fd/*";
    return $count;
}

# Memory of a process, in KB.
sub memory {
    my ($pid) = @_;
    open my $status, '<', "/proc/$pid/status" or die "status: $!";
    my ($kb) = join('', <$status>) =~ /^VmRSS:\s+(\d+) kB/m;
    return $kb;
}
