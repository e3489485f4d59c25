#!/usr/bin/perl

# How long the status page takes with many live connections, beside `ss -tiM`.
#
#   sudo perl -It/lib bench/status.pl [-m workers] [connections ...]
#                                                  default: 2500 5000 10000
#
# So many workers with multipathtcp=On, which nobody uses, are configured (0).
# Each connection has two subflows, client and server are namespaces.  All times
# are medians of 7, in ms; both commands write to a file that is not looked at.
# Memory is what the child that answered has more than before, in MB.

use strict;
use warnings;
use File::Temp ();
use Time::HiRes qw(time);
use MPTCP::Httpd;
use MPTCP::Lab;

use constant { PER_CLIENT => 500, RUNS => 7 };

MPTCP::Lab->enter;
$| = 1;
my $workers = @ARGV && $ARGV[0] eq '-m' ? (splice @ARGV, 0, 2)[1] : 0;
my @sizes = @ARGV ? @ARGV : (2500, 5000, 10_000);
my $lab = MPTCP::Lab->two_paths;
$lab->limits('client', subflows => 1, add_addr_accepted => 1);
$lab->limits('server', subflows => 1);
$lab->endpoint('server', $lab->address('server', 2), qw(dev s2 id 2 signal));

my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', mpm => 'event',
    load => $workers ? [qw(proxy proxy_http)] : [],
    before => ['sh', '-c', 'ulimit -n $(ulimit -Hn) && exec "$@"', 'sh'], conf => <<'END' . proxy_lines());
Listen 127.0.0.1:81
MPTCPListen 10.91.1.2:80
MPTCPListen 10.91.2.2:80
ListenBacklog 4096
StartServers 4
ServerLimit 4
ThreadsPerChild 25
MaxRequestWorkers 100
MinSpareThreads 100
MaxSpareThreads 100
AsyncRequestWorkerFactor 1000
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 3600
<Location /mptcp-status>
    SetHandler mptcp-status
</Location>
END
$httpd->write_file('small', "x\n");
$httpd->start or die $httpd->error_log;

printf "%11s %9s %9s %12s %12s %12s %8s\n", qw(connections subflows ss-tiM json
    json-all html memory);
my $open = 0;
for my $size (sort { $a <=> $b } @sizes) {
    for (; $open < $size; $open += PER_CLIENT) { connect_many() }
    my $count = () = $lab->capture('server', qw(ss -HMn)) =~ /^ESTAB/mg;
    my $subflows = grep { $_->{info} =~ /token/ } $lab->ss('server', '-ti');
    my $before = memory();
    my @times = (
        median(sub { command(qw(ss -tiMn)) }),
        median(sub { page('json') }),
        median(sub { page("json&limit=$size") }),
        median(sub { page('') }),
    );
    printf "%11d %9d %9.0f %12.0f %12.0f %12.0f %8.1f\n", $count, $subflows,
        (map { 1000 * $_ } @times), (memory() - $before) / 1024;
}

sub proxy_lines {
    return join '', map {
        sprintf "ProxyPass /%d/ http://127.0.%d.%d:8080/ multipathtcp=On\n", $_, $_ / 250, $_ % 250
    } 1 .. $workers;
}

# A process with so many connections, each kept after one request.
sub connect_many {
    my $out = File::Temp->new;
    $lab->spawn('client', { out => "$out" }, $^X, '-MSocket', '-e', <<'END',
my @kept;
for (1 .. $ARGV[1]) {
    socket my $s, PF_INET, SOCK_STREAM, 262 or die "socket: $!";
    connect $s, sockaddr_in(80, inet_aton($ARGV[0])) or die "connect: $!";
    syswrite $s, "GET /small HTTP/1.1\r\nHost: x\r\n\r\n";
    my $in = '';
    $in =~ /\r\n\r\n/ or sysread $s, $in, 65536 or die "closed";
    push @kept, $s;
}
$| = 1;
print "ready\n";
sleep 3600;
END
        $lab->address('server', 1), PER_CLIENT);
    $lab->wait_until(120, sub { -s "$out" }) or die "no connections: " . $httpd->error_log;
    return;
}

sub command { return $lab->run('server', 'sh', '-c', '"$@" > /dev/null', 'sh', @_) }

sub page {
    my ($query) = @_;
    return command('curl', '-sSf', "http://127.0.0.1:81/mptcp-status?$query");
}

sub median {
    my ($code) = @_;
    my @times;
    for (1 .. RUNS) {
        my $start = time;
        $code->();
        push @times, time - $start;
    }
    return (sort { $a <=> $b } @times)[ RUNS / 2 ];
}

# kB, of all children together
sub memory {
    my $parent = $httpd->pid;
    my $sum = 0;
    for my $pid (split ' ', $lab->capture('server', 'cat', "/proc/$parent/task/$parent/children")) {
        my ($kb) = $lab->capture('server', 'cat', "/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m;
        $sum += $kb;
    }
    return $sum;
}
