#!/usr/bin/perl

# Cost: instructions and system calls that a request takes in httpd itself,
# with the module absent, loaded and unused, listening, and asked for more.
#
#   cost.csv           a row for each case: of a request on a connection that is
#                      kept, and of one with a connection of its own
#   cost-syscalls.csv  which system calls those are
#
# httpd -X is run twice, for some requests and for three times as many; the
# difference, divided by that of the requests, is free of start and stop.
# Instructions are counted by valgrind (callgrind), in user space only; system
# calls by strace.  Neither depends on how busy the machine is.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../t/lib";
use File::Temp ();
use Socket;
use Time::HiRes qw(sleep);
use Bench;
use MPTCP::Httpd;

use constant IPPROTO_MPTCP => 262;

my $bench = Bench->begin('cost');
my $short = Bench::short();
for my $tool (qw(valgrind strace)) {
    Bench::Server::in_path($tool) or die "bench: no '$tool' here; install package $tool.\n";
}

my $plain = 'CustomLog logs/access_log "%h %l %u %t \"%r\" %>s %b"';
my $logs  = $plain =~ s/%b"/%b %{MPTCP}^mp %{MPTCP_SUBFLOWS}^mp %{MPTCP_BYTES_SENT}^mp"/r;
my @cases = (
    # name, module, listener, client's protocol, more configuration
    ['absent',        0, 'Listen',      'tcp',   ''],
    ['unused',        1, 'Listen',      'tcp',   ''],
    ['listen tcp',    1, 'MPTCPListen', 'tcp',   ''],
    ['listen mptcp',  1, 'MPTCPListen', 'mptcp', ''],
    ['absent log',    0, 'Listen',      'tcp',   $plain],
    ['log tcp',       1, 'MPTCPListen', 'tcp',   $logs],
    ['log mptcp',     1, 'MPTCPListen', 'mptcp', $logs],
    ['env mptcp',     1, 'MPTCPListen', 'mptcp', 'MPTCPEnvVars On'],
    # What differs between these and the first is chance.
    ['absent again',  0, 'Listen',      'tcp',   ''],
    ['absent third',  0, 'Listen',      'tcp',   ''],
);
my $lab = MPTCP::Lab->new;
my (@rows, @syscalls);

for my $case (@cases) {
    my ($name, $module, $listen, $protocol, $conf) = @$case;
    next if $short && $name !~ /^(?:absent|log mptcp)$/;
    # (Before there were variables, these were errors.)
    if (!works($case)) {
        $bench->say("$name: this module does not take '$conf'");
        next;
    }
    my %row = (case => $name);
    for my $kept (1, 0) {
        my $way = $kept ? 'kept' : 'new';
        # Callgrind's counts are exact but for what threads do while they wait.
        my @n = $short ? (100, 200) : (1000, 3000);
        my @count = map { instructions($case, $kept, $_) } @n;
        $row{"instructions_$way"} = sprintf '%.0f', ($count[1] - $count[0]) / ($n[1] - $n[0]);
        @n = $short ? (50, 100) : (200, 600);
        my @calls = map { system_calls($case, $kept, $_) } @n;
        my %calls = map { $_ => ($calls[1]{$_} - ($calls[0]{$_} // 0)) / ($n[1] - $n[0]) }
            keys $calls[1]->%*;
        my $sum = 0;
        # How often threads wake each other is chance.
        $sum += $calls{$_} for grep { $_ ne 'futex' } keys %calls;
        $row{"syscalls_$way"} = sprintf '%.2f', $sum;
        push @syscalls, map { { case => $name, connection => $way, call => $_,
            count => sprintf '%.2f', $calls{$_} } } grep { $calls{$_} >= 0.05 } sort keys %calls;
    }
    push @rows, \%row;
    $bench->say(sprintf '%-13s instructions %7d kept, %7d new; system calls %6.2f kept, %6.2f new',
        $name, @row{qw(instructions_kept instructions_new syscalls_kept syscalls_new)});
}
$bench->write('cost', [qw(case instructions_kept instructions_new syscalls_kept syscalls_new)],
    @rows);
$bench->write('cost-syscalls', [qw(case connection call count)], @syscalls);
$bench->end;
exit 0;

sub httpd {
    my ($case, %o) = @_;
    my ($name, $module, $listen, $protocol, $conf) = @$case;
    my $httpd = MPTCP::Httpd->new(lab => $lab, module => $module, conf => <<"END", %o);
$listen 127.0.0.1:80
KeepAlive On
MaxKeepAliveRequests 0
ThreadsPerChild 4
MaxRequestWorkers 4
$conf
END
    $httpd->write_file('file', 'x' x 1000);
    return $httpd;
}

sub works {
    my ($case) = @_;
    my ($status) = httpd($case)->config_test;
    return $status == 0;
}

# Runs it under a tool for so many requests.
sub under {
    my ($case, $kept, $requests, @tool) = @_;
    my $httpd = httpd($case, args => ['-X'], before => \@tool,
        ready => sub { scalar $lab->ss(undef, '-tl', 'sport = :80') });
    $httpd->start or die $httpd->error_log;
    requests($case->[3], $kept, $requests);
    open my $file, '<', $httpd->root . '/run/httpd.pid' or die "bench: httpd.pid: $!\n";
    chomp(my $pid = <$file>);
    kill 'TERM', $pid;
    $lab->wait_until(30, sub { !$httpd->alive }) or die "bench: httpd does not end\n";
    return;
}

sub instructions {
    my ($case, $kept, $requests) = @_;
    my $out = File::Temp->new(TMPDIR => 1);
    chmod 0666, "$out";                  # it is no longer root when it writes that
    under($case, $kept, $requests, qw(valgrind --quiet --tool=callgrind),
        "--callgrind-out-file=$out", '--log-file=/dev/null');
    open my $file, '<', "$out" or die "$out: $!\n";
    while (my $line = <$file>) {
        return $1 if $line =~ /^(?:summary|totals):\s*(\d+)/;
    }
    die "bench: callgrind counted nothing\n";
}

sub system_calls {
    my ($case, $kept, $requests) = @_;
    my $out = File::Temp->new(TMPDIR => 1);
    under($case, $kept, $requests, qw(strace -f -c -o), "$out");
    open my $file, '<', "$out" or die "$out: $!\n";
    my %calls = map { /^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$/ && $2 ne 'total'
        ? ($2 => $1) : () } <$file>;
    %calls or die "bench: strace counted nothing\n";
    return \%calls;
}

sub requests {
    my ($protocol, $kept, $requests) = @_;
    my $number = $protocol eq 'mptcp' ? IPPROTO_MPTCP : 0;
    my $socket;
    for (1 .. $requests) {
        if (!$socket) {
            socket $socket, PF_INET, SOCK_STREAM, $number or die "socket: $!\n";
            connect $socket, sockaddr_in(80, INADDR_LOOPBACK) or die "connect: $!\n";
        }
        my $close = $kept ? '' : "Connection: close\r\n";
        my $request = "GET /file HTTP/1.1\r\nHost: localhost\r\n$close\r\n";
        syswrite $socket, $request or die "write: $!\n";
        my $in = '';
        until ($in =~ /\r\n\r\nx{1000}$/) {
            sysread $socket, $in, 65536, length $in or die "bench: no answer: $in\n";
        }
        next if $kept;
        # httpd's side closes first; to the end.
        1 while sysread $socket, $in, 65536;
        close $socket;
        undef $socket;
    }
    return;
}
