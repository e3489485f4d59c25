#!/usr/bin/perl

# Long: what holds a transfer over two long paths, and what an administrator can
# write against it.
#
#   long-KERNEL.csv        a row for each transfer, by the setting that was
#                          changed; TCP on either path alone beside it
#   long-paths-KERNEL.csv  what `ss -ti` said of each path while it ran: rate,
#                          window and buffer
#
# For a guest in virtual time, which has netem: see docs/benchmarks.md.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../t/lib";
use Time::HiRes qw(sleep time);
use Bench;
use Bench::Origin;
use Bench::Server;
use Bench::Wan;
use MPTCP::Client;

use constant { BYTES => 24e6, EVERY => 0.5 };

my $LARGE = 32 << 20;
# name => [host that it is on, key, value]; a route's has no host
my %SETTING = (
    'as it comes' => [],
    'sender: tcp_wmem to 32 MB' => ['sender', 'net.ipv4.tcp_wmem', "4096 16384 $LARGE"],
    'receiver: tcp_rmem to 32 MB' => ['receiver', 'net.ipv4.tcp_rmem', "4096 131072 $LARGE"],
    'receiver: tcp_rmem from 2 MB' => ['receiver', 'net.ipv4.tcp_rmem', '4096 2097152 6291456'],
    'sender: initcwnd 40' => ['sender', 'initcwnd', 40],
);
my @ALL = ('as it comes', 'sender: tcp_wmem to 32 MB', 'receiver: tcp_rmem to 32 MB',
    'receiver: tcp_rmem from 2 MB', 'sender: initcwnd 40');
my @RECEIVER = ('as it comes', 'receiver: tcp_rmem from 2 MB');
# network, congestion control, way, settings
my @PLAN = (
    ['far', 'cubic', 'download', @ALL], ['far', 'bbr', 'download', @RECEIVER],
    ['far', 'cubic', 'upload', @RECEIVER], ['far', 'bbr', 'proxied', @RECEIVER],
    ['farther', 'cubic', 'download', @ALL[0 .. 2]],
);
@PLAN = (['far', 'cubic', 'download', 'as it comes']) if Bench::short();

if (!MPTCP::Sandbox::inside()) {
    my $why = Bench::Wan::prepare(qw(cubic bbr));
    die "bench: $why\n" if $why;
}
my $bench = Bench->begin('long-' . Bench::kernel());
my ($file, undef, $md5) = Bench::random_file(Bench::short() ? 10e6 : BYTES);
my (@rows, @paths);

for my $plan (@PLAN) {
    my ($network, $congestion, $way, @settings) = @$plan;
    run($network, $congestion, $way, 'TCP', $_) for 1, 2;
    run($network, $congestion, $way, $_) for @settings;
}
$bench->write($bench->{part}, [qw(network congestion way setting path seconds rate)], @rows);
$bench->write('long-paths-' . Bench::kernel(),
    [qw(network congestion way setting seconds path rate inflight window buffer)], @paths);
$bench->end;
exit 0;

# $path is that of TCP, which has no second one; the sender is the server for a
# download, the client for an upload, the backend where the proxy fetches.
sub run {
    my ($network, $congestion, $way, $setting, $path) = @_;
    my ($proxied, $upload) = ($way eq 'proxied' && !$path, $way eq 'upload');
    my $client = $proxied ? 'proxy' : 'client';
    my $lab = Bench::Wan->lab($network, congestion => $congestion, ends => [$client, 'server']);
    my ($sender, $receiver) = $upload ? ($client, 'server') : ('server', $client);
    apply($lab, $sender, $receiver, $SETTING{$setting}->@*) if !$path;
    my %get = (lab => $lab, md5 => 1, timeout => 120, ns => $client, mptcp => $path ? 0 : 1, port => 80,
        host => $lab->address('server', $path // 1),
        $upload ? (path => '/sink', upload => $file, keep => 1) : (path => '/file'));
    if ($proxied) {
        $lab->add_host('user');
        $lab->add_path(9, ['user', 'u9'], ['proxy', 'p9']);
        Bench::Origin::start(lab => $lab, ns => 'server', port => 80, mptcp => 1, file => $file);
        @get{qw(ns mptcp host)} = ('user', 0, $lab->address('proxy', 9));
    }
    elsif ($upload) {
        Bench::Origin::start(lab => $lab, ns => 'server', port => 8080, md5 => 1);
    }
    my $server = Bench::Server->start($path ? 'httpd' : 'mod_mptcp', lab => $lab,
        ns => $proxied ? 'proxy' : 'server', port => 80, $proxied
        ? (backend => $lab->address('server', 1) . ':80')
        : (files => $file =~ s{/[^/]*$}{}r, sink => '127.0.0.1:8080'));

    my %row = (network => $network, congestion => $congestion, way => $way, setting => $setting);
    my $transfer = MPTCP::Client->start(%get);
    my $start = time;
    until ($transfer->done) {
        sleep EVERY;
        push @paths, map { { %row, seconds => sprintf('%.2f', time - $start), %$_ } }
            looked($lab, $sender) if !$path;
    }
    my $r = $transfer->wait;
    $r->{error} eq '' && ($upload ? $r->{body} =~ /"md5":"$md5"/ : $r->{md5} eq $md5)
        or die "bench: not intact: $r->{error}\n";
    push @rows, { %row, path => $path // 'both', seconds => sprintf('%.3f', $r->{seconds}),
        rate => sprintf('%.4f', (-s $file) / $r->{seconds} / 1e6) };
    $bench->say(sprintf '%-8s %-5s %-8s %-28s %-4s %.3f MB/s', $network, $congestion, $way, $setting,
        $path // 'both', $rows[-1]{rate});
    $server->stop;
    return;
}

sub apply {
    my ($lab, $sender, $receiver, $host, $key, $value) = @_;
    return if !defined $host;
    my $ns = $host eq 'sender' ? $sender : $receiver;
    return $lab->sysctl($ns, $key, $value) if $key ne 'initcwnd';
    for my $i (1, 2) {
        my $dev = $ns eq 'server' ? "s$i" : "c$i";
        $lab->run(undef, qw(ip -n), $ns, qw(route change), "10.91.$i.0/24", 'dev', $dev, 'src',
            $lab->address($ns, $i), 'initcwnd', $value);
    }
    return;
}

# Each path by its sender: Mbit/s that arrive, bytes under way, the window that
# the receiver offers, and the limit of the send buffer.
sub looked {
    my ($lab, $ns) = @_;
    my @seen;
    for my $socket ($lab->ss($ns, '-tim', 'state', 'established')) {
        my ($path) = "$socket->{recv_q} $socket->{send_q} $socket->{local} $socket->{peer}"
            =~ /10\.91\.([12])\.\d/ or next;
        my $info = join ' ', map { $_ // '' } %$socket;
        my ($mss) = $info =~ /\bmss:(\d+)/ or next;
        my ($unacked) = $info =~ /\bunacked:(\d+)/;
        my ($rate) = $info =~ /\bdelivery_rate (\d+)bps/;
        my ($window) = $info =~ /\bsnd_wnd:(\d+)/;
        my ($buffer) = $info =~ /\btb(\d+)/;
        next if !$unacked;
        push @seen, { path => $path, rate => sprintf('%.1f', ($rate // 0) / 1e6),
            inflight => $unacked * $mss, window => $window, buffer => $buffer };
    }
    return @seen;
}
