#!/usr/bin/perl

# Tune: paths on which two are less than they could be, and what an administrator
# can write against it.
#
#   tune-KERNEL.csv        a row for each transfer, by the setting that was
#                          changed; TCP on either path alone beside it
#   tune-paths-KERNEL.csv  what `ss -ti` said of each path while it ran: rate,
#                          window and buffer
#
# For a guest in virtual time, which has netem: see docs/benchmarks.md.
#   TUNE_NETWORKS    'train': only this
#   TUNE_CONGESTION  'cubic'

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

use constant EVERY => 0.5;

my $LARGE = 32 << 20;
# name => [host that it is on, key, value] ...
my %SETTING = (
    'as it comes' => [],
    'sender: tcp_wmem to 32 MB' => [['sender', 'net.ipv4.tcp_wmem', "4096 16384 $LARGE"]],
    'receiver: tcp_rmem to 32 MB' => [['receiver', 'net.ipv4.tcp_rmem', "4096 131072 $LARGE"]],
    'receiver: tcp_rmem from 2 MB' => [['receiver', 'net.ipv4.tcp_rmem', '4096 2097152 6291456']],
    'receiver: tcp_rmem from 4 MB' => [['receiver', 'net.ipv4.tcp_rmem', "4096 4194304 $LARGE"]],
    'sender: initcwnd 40' => [['sender', 'initcwnd', 40]],
    'sender: stale_loss_cnt 1' => [['sender', 'net.mptcp.stale_loss_cnt', 1]],
    'sender: stale_loss_cnt 2' => [['sender', 'net.mptcp.stale_loss_cnt', 2]],
    'stale_loss_cnt 1 and tcp_rmem from 4 MB' => [['sender', 'net.mptcp.stale_loss_cnt', 1],
        ['receiver', 'net.ipv4.tcp_rmem', "4096 4194304 $LARGE"]],
    'stale_loss_cnt 1 and rto_min 50 ms' => [['sender', 'net.mptcp.stale_loss_cnt', 1],
        ['sender', 'rto_min', '50ms']],
);
my @ALL = ('as it comes', 'sender: tcp_wmem to 32 MB', 'receiver: tcp_rmem to 32 MB',
    'receiver: tcp_rmem from 2 MB', 'sender: initcwnd 40', 'sender: stale_loss_cnt 1');
my @RECEIVER = ('as it comes', 'receiver: tcp_rmem from 2 MB');
my @GAPS = ('as it comes', 'sender: stale_loss_cnt 1', 'stale_loss_cnt 1 and tcp_rmem from 4 MB',
    'sender: stale_loss_cnt 2', 'receiver: tcp_rmem from 4 MB', 'stale_loss_cnt 1 and rto_min 50 ms');
# network, congestion control, way, settings
my @PLAN = (
    ['far', 'cubic', 'download', @ALL], ['far', 'bbr', 'download', @RECEIVER],
    ['far', 'cubic', 'upload', @RECEIVER], ['far', 'bbr', 'proxied', @RECEIVER],
    ['farther', 'cubic', 'download', @ALL[0 .. 2]],
    ['train', 'cubic', 'download', @GAPS], ['train', 'bbr', 'download', @GAPS[0 .. 2]],
    # that what is good for these harms no others
    (map { [$_, 'cubic', 'download', @GAPS[0, 1]] } 'dsl+dsl', 'wifi+lte'),
);
# What is sent in each transfer, how often, and when it begins: with gaps it matters,
# so these are several moments of the time after which all gaps begin again.
my %BYTES = (far => 24e6, farther => 24e6, train => 18.75e6, 'dsl+dsl' => 15e6, 'wifi+lte' => 9e6);
my %STARTS = (far => [0 .. 2], farther => [0], train => [0, 1, 7, 8, 14], 'dsl+dsl' => [0],
    'wifi+lte' => [0 .. 9]);

for my $only ([0, $ENV{TUNE_NETWORKS}], [1, $ENV{TUNE_CONGESTION}]) {
    my ($column, $names) = @$only;
    my %wanted = map { $_ => 1 } split ' ', $names // '' or next;
    @PLAN = grep { $wanted{ $_->[$column] } } @PLAN;
}
@PLAN = (['far', 'cubic', 'download', 'as it comes']) if Bench::short();

if (!MPTCP::Sandbox::inside()) {
    my $why = Bench::Wan::prepare(qw(cubic bbr));
    die "bench: $why\n" if $why;
}
my $bench = Bench->begin('tune-' . Bench::kernel());
# What is left out now is as it was measured before.
my %now = map { ("$_->[0] $_->[1]" => 1) } @PLAN;
my ($rows, $paths) = map { [grep { !$now{"$_->{network} $_->{congestion}"} } Bench::table("$_-" . Bench::kernel())] }
    'tune', 'tune-paths';

for my $plan (@PLAN) {
    my ($network, $congestion, $way, @settings) = @$plan;
    my @tcp = $way eq 'download' ? (['TCP', 1], ['TCP', 2]) : ();
    for my $one (@tcp, map { [$_, 'both'] } @settings) {
        my ($setting, $path) = @$one;
        run({ network => $network, congestion => $congestion, way => $way, setting => $setting,
            path => $path }, $STARTS{$network});
        # What there is so far: all of it takes long.
        $bench->write($bench->{part}, [qw(network congestion way setting path start seconds rate
            path1 path2 stall)], @$rows);
    }
}
$bench->write('tune-paths-' . Bench::kernel(), [qw(network congestion way setting start seconds
    path rate inflight window buffer)], @$paths);
$bench->end;
exit 0;

# TCP has no second path; the sender is the server for a download, the client for
# an upload, the backend where the proxy fetches.
sub run {
    my ($row, $starts) = @_;
    my ($network, $way) = @$row{qw(network way)};
    my $tcp = $row->{path} ne 'both' && $row->{path};
    my ($proxied, $upload) = ($way eq 'proxied' && !$tcp, $way eq 'upload');
    my ($file, undef, $md5) = Bench::random_file(Bench::short() ? 10e6 : $BYTES{$network});
    my $client = $proxied ? 'proxy' : 'client';
    my $lab = Bench::Wan->lab($network, congestion => $row->{congestion}, ends => [$client, 'server']);
    my ($sender, $receiver) = $upload ? ($client, 'server') : ('server', $client);
    apply($lab, $sender, $receiver, @$_) for $tcp ? () : $SETTING{ $row->{setting} }->@*;
    my %get = (lab => $lab, md5 => 1, timeout => 120, ns => $client, mptcp => $tcp ? 0 : 1, port => 80,
        host => $lab->address('server', $tcp || 1),
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
    my $server = Bench::Server->start($tcp ? 'httpd' : 'mod_mptcp', lab => $lab,
        ns => $proxied ? 'proxy' : 'server', port => 80, $proxied
        ? (backend => $lab->address('server', 1) . ':80')
        : (files => $file =~ s{/[^/]*$}{}r, sink => '127.0.0.1:8080'));

    my @rates;
    for my $start (@$starts) {
        $row->{start} = $start;
        Bench::Wan::wait_for_gaps($lab, $start);
        my @before = map { ($lab->device_bytes($client, "c$_"))[$upload] } 1, 2;
        my $transfer = MPTCP::Client->start(%get);
        my $begun = time;
        until ($transfer->done) {
            sleep EVERY;
            push @$paths, map { { %$row, seconds => sprintf('%.2f', time - $begun), %$_ } }
                looked($lab, $sender) if !$tcp;
        }
        my $r = $transfer->wait;
        $r->{error} eq '' && ($upload ? $r->{body} =~ /"md5":"$md5"/ : $r->{md5} eq $md5)
            or die "bench: not intact: $r->{error}\n";
        my @path = map { ($lab->device_bytes($client, "c$_"))[$upload] - $before[ $_ - 1 ] } 1, 2;
        push @rates, (-s $file) / $r->{seconds} / 1e6;
        push @$rows, { %$row, seconds => sprintf('%.3f', $r->{seconds}), rate => sprintf('%.4f', $rates[-1]),
            path1 => $path[0], path2 => $path[1], stall => sprintf('%.3f', $r->{longest_stall}) };
    }
    $bench->say(sprintf '%-8s %-5s %-8s %-28s %-4s %.3f MB/s%s', @$row{qw(network congestion way setting
        path)}, Bench::mean(@rates), @rates > 1 ? join ' ', ' of', map { sprintf '%.2f', $_ } @rates : '');
    $server->stop;
    return;
}

sub apply {
    my ($lab, $sender, $receiver, $host, $key, $value) = @_;
    my $ns = $host eq 'sender' ? $sender : $receiver;
    return $lab->sysctl($ns, $key, $value) if $key =~ /^net\./;
    # a route's
    for my $i (1, 2) {
        my $dev = $ns eq 'server' ? "s$i" : "c$i";
        $lab->run(undef, qw(ip -n), $ns, qw(route change), "10.91.$i.0/24", 'dev', $dev, 'src',
            $lab->address($ns, $i), $key, $value);
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
