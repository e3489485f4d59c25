#!/usr/bin/perl

# Scale: a server with 10 to 10,000 live connections, each of two subflows.
#
#   scale.csv   a row for each number of connections, of TCP and of MPTCP:
#                 accept          new connections a second beside them (wrk, 32
#                                 at a time, by mptcpize for MPTCP)
#                 httpd_bytes     memory of httpd's processes, a connection
#                 kernel_bytes    of the kernel (slab), a connection, both ends
#                 page_default    seconds, the status page as it comes
#                 page_all        seconds, in JSON, with every connection
#                 page_connections   how many those were
#                 ss              seconds, ss -tniM into /dev/null
#                 ss_subflows     how many subflows that printed

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../t/lib";
use JSON::PP ();
use Socket;
use Time::HiRes qw(sleep time);
use Bench;
use Bench::Server;
use MPTCP::Client;

use constant IPPROTO_MPTCP => 262;
use constant STATUS => '/mptcp-status';

# In the client's namespace: opens so many connections, asks on each once, and
# keeps them.
if (@ARGV && $ARGV[0] eq 'hold') {
    hold(@ARGV[1 .. $#ARGV]);
    exit;
}

my $bench = Bench->begin('scale');
my $short = Bench::short();
my @sizes = $short ? (10, 100) : (10, 100, 1000, 10_000);
# As many open files as this system lets a process have.
my ($most) = read_all('/proc/self/limits') =~ /^Max open files\s+\d+\s+(\d+)/m;
my @files = ('prlimit', "--nofile=$most:$most");
@sizes = grep { $_ < $most - 500 } @sizes;
my @rows;

my $lab = $bench->paths([undef, undef]);
for my $ns (qw(client server)) {
    $lab->sysctl($ns, 'net.ipv4.ip_local_port_range', '1024 65535');
    $lab->sysctl($ns, 'net.ipv4.tcp_tw_reuse', 1);
    $lab->sysctl($ns, 'net.core.somaxconn', 4096);
}
my ($file) = Bench::random_file(100);

for my $protocol (qw(tcp mptcp)) {
    for my $size (@sizes) {
        next if $short && $protocol eq 'tcp' && $size > 10;
        measure($protocol, $size);
    }
}
$bench->write('scale', [qw(protocol connections accept httpd_bytes kernel_bytes page_default
    page_all page_connections ss ss_subflows)], @rows);
$bench->end;
exit 0;

sub measure {
    my ($protocol, $size) = @_;
    # A server for each, so that memory of an earlier one is not in use again.
    # Connections that wait for a request are limited by the threads that
    # have nothing to do.
    my $server = Bench::Server->start('mod_mptcp', lab => $lab, ns => 'server', port => 80,
        files => $file =~ s{/[^/]*$}{}r, before => \@files, conf => <<"END");
Listen 81
ListenBacklog 4096
ServerLimit 4
StartServers 4
ThreadsPerChild 32
MaxRequestWorkers 128
MinSpareThreads 128
MaxSpareThreads 128
AsyncRequestWorkerFactor 200
KeepAliveTimeout 600
<Location ${\ STATUS }>
    SetHandler mptcp-status
</Location>
END
    # Every process has served something before memory is looked at.
    accept_rate($protocol, 1);
    settle();
    my @before = (httpd_memory($server), kernel_memory());

    my $out = File::Temp->new(TMPDIR => 1);
    my $holder = $lab->spawn('client', { out => "$out" }, @files, $^X, $0,
        'hold', $size, $protocol);
    $lab->wait_until(120, sub { -s $out }) or die "bench: no $size connections\n";
    # The second subflows follow.
    $lab->wait_until(20, sub { subflows() >= 2 * $size }) if $protocol eq 'mptcp';
    settle();
    my %row = (protocol => $protocol, connections => $size);
    my @now = (httpd_memory($server), kernel_memory());
    # Of a few connections, all that is seen is the grain of the pages.
    @row{qw(httpd_bytes kernel_bytes)}
        = map { sprintf '%.0f', ($now[$_] - $before[$_]) / $size } 0, 1 if $size >= 1000;
    pages(\%row);
    $row{accept} = accept_rate($protocol, $short ? 1 : 3);
    push @rows, \%row;
    $bench->say(sprintf '%-5s %5d: accepts %s/s; %s B in httpd, %s B in the kernel; page %s s, all %s'
        . ' connections %s s; ss %s s, %s subflows', $protocol, $size,
        map { defined $_ && $_ ne '' ? $_ : '-' } @row{qw(accept httpd_bytes kernel_bytes page_default
            page_connections page_all ss ss_subflows)});
    $lab->reap($holder);
    $server->stop;
    # Until the kernel has got rid of them.
    $lab->wait_until(90, sub { subflows() < 10 });
    return;
}

sub settle { sleep($short ? 0.3 : 2); return }

sub accept_rate {
    my ($protocol, $seconds) = @_;
    my $said = $lab->capture('client', $protocol eq 'mptcp' ? qw(mptcpize run) : (),
        qw(wrk -t1 -c32), "-d$seconds", '-H', 'Connection: close', 'http://10.91.1.2:80/file');
    my ($rate) = $said =~ m{Requests/sec:\s*([\d.]+)} or die "bench: wrk: $said";
    return $rate;
}

# Established ones on the server's side.
sub subflows {
    return scalar(() = $lab->capture('server', qw(ss -Htn state established sport = :80)) =~ /\n/g);
}

# Shared pages count in shares.
sub httpd_memory {
    my ($server) = @_;
    my $sum = 0;
    for my $name (glob '/proc/[0-9]*/smaps_rollup') {
        my ($pid) = $name =~ /(\d+)/;
        my ($parent) = read_all("/proc/$pid/stat") =~ /\) \S (\d+)/ or next;
        next if $pid != $server->pid && $parent != $server->pid;
        $sum += $1 * 1024 if read_all($name) =~ /^Pss:\s*(\d+)/m;
    }
    $sum or die "bench: no process of httpd was found\n";
    return $sum;
}

sub kernel_memory {
    return read_all('/proc/meminfo') =~ /^Slab:\s*(\d+)/m ? $1 * 1024 : 0;
}

sub read_all {
    my ($name) = @_;
    open my $in, '<', $name or return '';
    local $/;
    return <$in> // '';
}

sub pages {
    my ($row) = @_;
    my (@default, @all, @ss);
    for (1 .. 5) {
        my $r = page(STATUS);
        if ($r->{status} == 200) {
            push @default, $r->{seconds};
            $r = page(STATUS . '?json&limit=1000000');
            push @all, $r->{seconds};
            $row->{page_connections} = connections($r->{body});
        }
        my $took = $lab->capture('server', $^X, '-MTime::HiRes=time', '-e',
            '$t = time; system "ss -HtniMO > /dev/null"; printf "%.5f", time - $t');
        push @ss, $took;
    }
    $row->{ss_subflows} = subflows();
    my %times = (page_default => \@default, page_all => \@all, ss => \@ss);
    for my $name (keys %times) {
        my $median = Bench::median($times{$name}->@*) // next;
        $row->{$name} = sprintf '%.5f', $median;
    }
    return;
}

sub page {
    my ($path) = @_;
    return MPTCP::Client::get(lab => $lab, ns => 'client', host => '10.91.1.2', port => 81,
        path => $path, keep => 1);
}

sub connections {
    my ($body) = @_;
    my $page = eval { JSON::PP->new->decode($body) } or die "bench: no JSON: $@$body\n";
    return scalar $page->{live}{connections}->@*;
}

sub hold {
    my ($size, $protocol) = @_;
    my @held;
    for (1 .. $size) {
        socket my $socket, PF_INET, SOCK_STREAM, $protocol eq 'mptcp' ? IPPROTO_MPTCP : 0
            or die "socket: $!\n";
        connect $socket, sockaddr_in(80, inet_aton('10.91.1.2')) or die "connect: $!\n";
        syswrite $socket, "GET /file HTTP/1.1\r\nHost: bench\r\n\r\n" or die "write: $!\n";
        my $in = '';
        until ($in =~ /\r\n\r\n.{100}/s) {
            sysread $socket, $in, 65536, length $in or die "bench: no answer: $in\n";
        }
        push @held, $socket;
    }
    $| = 1;
    print "ready\n";
    sleep 3600;
    return @held;
}
