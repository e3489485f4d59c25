#!/usr/bin/perl

# Proxy: requests a second through mod_proxy, with a new connection to the
# backend for each, and with pooled ones.
#
#   proxy.csv   a row for each run: off, on (mod_mptcp's multipathtcp), trunk's
#               own, mptcpize; in each round all have their turn.  cost:
#               microseconds of processor time of the proxy's processes for a
#               request, which other work on the machine changes less
#
# wrk and the proxy, and the proxy and the backend, are hosts of their own with
# a link that is not slowed: the two processors are the limit, and all share
# them.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../t/lib";
use Bench;
use Bench::Requests;
use Bench::Server;

my $bench   = Bench->begin('proxy');
my $short   = Bench::short();
my $rounds  = $short ? 1 : 4;
my $seconds = $short ? 1 : 3;

my $lab = MPTCP::Lab->new(Bench::congestion());
$lab->add_host($_) for qw(user proxy backend);
$lab->add_path(1, ['user', 'u1'], ['proxy', 'p1']);
$lab->add_path(2, ['proxy', 'p2'], ['backend', 'b2']);
for my $ns (qw(user proxy backend)) {
    $lab->sysctl($ns, 'net.ipv4.ip_local_port_range', '1024 65535');
    $lab->sysctl($ns, 'net.ipv4.tcp_tw_reuse', 1);
    $lab->sysctl($ns, 'net.core.somaxconn', 4096);
}
my ($file) = Bench::random_file(1000);
my $backend = Bench::Server->start('mod_mptcp', lab => $lab, ns => 'backend', port => 80,
    files => $file =~ s{/[^/]*$}{}r, conf => "ListenBacklog 4096\nKeepAliveTimeout 60\n"
    . "MaxKeepAliveRequests 0");

# name => kind of server; off is stock httpd as it comes, loaded is Off with
# the module there
my @ways = (off => 'httpd', loaded => 'mod_mptcp', on => 'mod_mptcp', trunk_off => 'trunk',
    trunk => 'trunk', mptcpize => 'mptcpize');
my %here = map { $_ => 1 } $bench->kinds;
my (%port, %server, @names);
my $port = 8000;
for my $pool (qw(new pooled)) {
    my @rest = @ways;
    while (my ($name, $kind) = splice @rest, 0, 2) {
        next if !$here{$kind} && $kind ne 'httpd';
        next if $short && $name !~ /^(?:off|on|trunk)$/;
        push @names, $name if $pool eq 'new';
        $port{"$pool $name"} = ++$port;
        $server{"$pool $name"} = Bench::Server->start($kind, lab => $lab, ns => 'proxy',
            port => $port, backend => '10.91.2.2:80', mptcp => $name =~ /off|loaded/ ? 0 : 1,
            worker => $pool eq 'new' ? 'disablereuse=On' : '', conf => 'ListenBacklog 4096');
    }
}
# One each, so that pools and processes are there.
if (!$short) { load($_, 1) for sort keys %port }

my @rows;
for my $round (1 .. $rounds) {
    for my $pool (qw(new pooled)) {
        for my $name ($round % 2 ? @names : reverse @names) {
            my %before = map { $_ => $lab->counter('proxy', $_) } counters();
            my $time = Bench::Requests::processor_time($server{"$pool $name"}->pid);
            my ($rate, $requests, $errors, $what) = load("$pool $name", $seconds);
            $time = Bench::Requests::processor_time($server{"$pool $name"}->pid) - $time;
            my %now = map { $_ => $lab->counter('proxy', $_) - $before{$_} } counters();
            push @rows, { pool => $pool, way => $name, round => $round, rate => $rate,
                cost => sprintf('%.1f', $time / 1000 / $requests), errors => $errors, opened => $now{TcpActiveOpens},
                mptcp => $now{MPTcpExtMPCapableSYNTX} };
            $bench->say(sprintf '%d %-6s %-9s %6.0f requests/s, %.1f us each, %d errors; %d'
                . ' connections, %d MPTCP', $round, $pool, $name, $rate, $rows[-1]{cost}, $errors, $now{TcpActiveOpens},
                $now{MPTcpExtMPCapableSYNTX});
            # The last requests may be on their way at one end only.
            die "bench: not MPTCP where it should be, or the other way round\n"
                if $name =~ /off|loaded/ ? $now{MPTcpExtMPCapableSYNTX}
                : $now{MPTcpExtMPCapableSYNTX} < 0.99 * $now{TcpActiveOpens};
            $bench->say($what) if $errors;
        }
    }
}
$bench->write('proxy', [qw(pool way round rate cost errors opened mptcp)], @rows);
$bench->end(rounds => $rounds, run => $seconds);
exit 0;

sub counters { return qw(TcpActiveOpens MPTcpExtMPCapableSYNTX) }

sub load {
    my ($name, $for) = @_;
    my $said = $lab->capture('user', qw(wrk -t1 -c32), "-d$for",
        "http://10.91.1.2:$port{$name}/file");
    my ($rate) = $said =~ m{Requests/sec:\s*([\d.]+)} or die "bench: wrk: $said";
    my ($requests) = $said =~ /(\d+) requests in/;
    my $errors = 0;
    $errors += $_ for $said =~ /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/;
    $errors += $1 if $said =~ /Non-2xx or 3xx responses: (\d+)/;
    return ($rate, $requests, $errors, join ' ', $said =~ /(Socket errors:.*|Non-2xx.*)/g);
}
