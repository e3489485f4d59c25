#!/usr/bin/perl

# Wan: two paths as people have them, with delay, loss and gaps.
#
#   wan-KERNEL.csv   a row for each transfer: TCP on either path alone, and
#                    MPTCP over both; direct and proxied, down and up, with
#                    cubic and with bbr, and beside other servers.  share: of
#                    what TCP on either path, alone, carries in the same time
#
# For a guest in virtual time, which has netem: see docs/benchmarks.md.
#   WAN_NETWORKS     'far unlike': only these
#   WAN_CONGESTION   'cubic', WAN_VIAS 'direct'

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../t/lib";
use List::Util qw(max min sum);
use Bench;
use Bench::Origin;
use Bench::Server;
use Bench::Wan;
use MPTCP::Client;

use constant {
    CONGESTION => ['cubic', 'bbr'],
    STARTS     => [0, 7, 14],    # seconds, of Bench::Wan::wait_for_gaps()
};

if (!MPTCP::Sandbox::inside()) {
    my $why = Bench::Wan::prepare(CONGESTION->@*);
    die "bench: $why\n" if $why;
}
my $bench = Bench->begin('wan-' . Bench::kernel());
my $short = Bench::short();
my @networks = split(' ', $ENV{WAN_NETWORKS} // '') ;
@networks = $short ? 'dsl+dsl' : Bench::Wan::names() if !@networks;
my @congestion = split ' ', $ENV{WAN_CONGESTION} // '';
@congestion = $short ? 'cubic' : CONGESTION->@* if !@congestion;
my @vias = split ' ', $ENV{WAN_VIAS} // 'direct proxied';
my %others = map { $_ => 1 } qw(dsl+dsl wifi+lte far);
# Networks that are left out now are as they were measured before.
my %now = map { $_ => 1 } @networks;
my @rows = grep { !$now{ $_->{network} } } Bench::table($bench->{part});
my %curve;    # of TCP: "network direction congestion start path" => [[bytes, seconds] ...]

for my $network (@networks) {
    for my $congestion (@congestion) {
        direct($network, $congestion) if grep { $_ eq 'direct' } @vias;
        proxied($network, $congestion) if grep { $_ eq 'proxied' } @vias;
        # What there is so far: all of it takes long.
        $bench->write($bench->{part}, [qw(network via direction congestion server path seconds
            rate share path1 path2 subflows intact)], @rows);
    }
}
$bench->end;
exit 0;

# As much as both paths carry in some seconds.
sub file {
    my ($network, $direction) = @_;
    my $seconds = $short ? 1 : Bench::Wan::network($network)->{seconds};
    return Bench::random_file(int(Bench::Wan::rate($network, $direction) / 8 * 1e6 * $seconds));
}

# What is left out for a congestion control that is not the first: uploads, and
# servers that differ from ours in all but the kernel's part.
sub directions {
    my ($congestion) = @_;
    return $congestion eq $congestion[0] ? ('download', 'upload') : 'download';
}

sub direct {
    my ($network, $congestion) = @_;
    my $lab = Bench::Wan->lab($network, congestion => $congestion);
    my %file = map { $_ => [file($network, $_)] } 'download', 'upload';
    Bench::Origin::start(lab => $lab, ns => 'server', port => 8080, md5 => 1,
        file => $file{download}[0]);
    my $port = 8000;
    for my $kind ($bench->kinds) {
        # Of the others a few are enough: they have the kernel in common.
        next if $kind !~ /^(?:httpd|mod_mptcp)$/
            && ($congestion ne $congestion[0] || !$others{$network});
        my $server = Bench::Server->start($kind, lab => $lab, ns => 'server', port => ++$port,
            files => $file{download}[0] =~ s{/[^/]*$}{}r, sink => '127.0.0.1:8080');
        for my $direction (directions($congestion)) {
            next if $kind !~ /^(?:httpd|mod_mptcp)$/ && $direction eq 'upload';
            for my $path ($kind eq 'httpd' ? (1, 2) : 'both') {
                run($lab, 'client', ['client', 'c1', 'c2'],
                    { network => $network, via => 'direct', direction => $direction,
                        congestion => $congestion, server => $kind, path => $path },
                    $file{$direction}, port => $port, mptcp => $kind ne 'httpd',
                    host => $lab->address('server', $path eq 'both' ? 1 : $path));
            }
        }
        $server->stop;
    }
    return;
}

# user --fast-- proxy ==paths== backend, an MPTCP server
sub proxied {
    my ($network, $congestion) = @_;
    my $lab = Bench::Wan->lab($network, congestion => $congestion, ends => ['proxy', 'backend']);
    $lab->add_host('user');
    $lab->add_path(9, ['user', 'u9'], ['proxy', 'p9']);
    my %file = map { $_ => [file($network, $_)] } 'download', 'upload';
    Bench::Origin::start(lab => $lab, ns => 'backend', port => 80, mptcp => 1, md5 => 1,
        file => $file{download}[0]);
    my $port = 8000;
    for my $kind ($bench->kinds(qw(mod_mptcp))) {
        my $server = Bench::Server->start($kind, lab => $lab, ns => 'proxy', port => ++$port,
            backend => $lab->address('backend', 1) . ':80');
        for my $direction (directions($congestion)) {
            run($lab, 'user', ['proxy', 'c1', 'c2'],
                { network => $network, via => 'proxied', direction => $direction,
                    congestion => $congestion, server => $kind, path => 'both' },
                $file{$direction}, port => $port, mptcp => 0, host => $lab->address('proxy', 9));
        }
        $server->stop;
    }
    return;
}

# Where paths fall silent it matters when a transfer begins: it is done at some
# moments that are the same for all, and what is written is the mean.
sub run {
    my ($lab, $client, $watch, $row, $file, %o) = @_;
    my @runs = map { one($lab, $client, $watch, $row, $file, $_, %o) } $lab->{gaps_from} ? STARTS->@* : 0;
    my %mean = map { my $column = $_; $column => Bench::mean(map { $_->{$column} } @runs) }
        qw(seconds path1 path2);
    my $size = -s $file->[0];
    my $rate = $size / $mean{seconds} / 1e6;
    my $share = $row->{path} eq 'both'
        ? sprintf '%.3f', $size * @runs / sum(map { $_->{carried} } @runs) : '';
    my $intact = min(map { $_->{intact} } @runs);
    push @rows, { %$row, share => $share, seconds => sprintf('%.3f', $mean{seconds}),
        rate => sprintf('%.4f', $rate), path1 => int $mean{path1}, path2 => int $mean{path2},
        subflows => max(map { $_->{subflows} } @runs), intact => $intact };
    $bench->say(sprintf '%-9s %-7s %-8s %-5s %-9s %-4s %7.3f MB/s of %.1f MB, %5s, %s%s%s',
        @$row{qw(network via direction congestion server path)}, $rate, $size / 1e6, $share,
        join(' + ', map { sprintf '%.2f', $_ / 1e6 } @mean{qw(path1 path2)}),
        @runs > 1 ? ' at ' . join(' ', map { sprintf '%.2f', $size / $_->{seconds} / 1e6 } @runs) : '',
        $intact ? '' : ' NOT INTACT');
    return;
}

sub one {
    my ($lab, $client, $watch, $row, $file, $start, %o) = @_;
    my ($name, undef, $md5) = @$file;
    my ($ns, @devices) = @$watch;
    my $upload = $row->{direction} eq 'upload';
    Bench::Wan::wait_for_gaps($lab, $start);
    my @before = map { ($lab->device_bytes($ns, $_))[$upload] } @devices;
    my @curve = [0, 0];
    my $r = MPTCP::Client::get(lab => $lab, ns => $client, timeout => 120, md5 => 1, %o,
        on_progress => sub { push @curve, [@_] },
        $upload ? (path => '/sink', upload => $name, keep => 1) : (path => '/file'));
    my $key = "@$row{qw(network direction congestion)} $start";
    $curve{"$key $row->{path}"} = \@curve if $row->{server} eq 'httpd';
    my @path = map { ($lab->device_bytes($ns, $devices[$_]))[$upload] - $before[$_] } 0, 1;
    my $intact = $r->{error} eq '' && ($upload ? $r->{body} =~ /"md5":"$md5"/
        : $r->{md5} eq $md5) ? 1 : 0;
    $bench->say("not intact: $r->{error}") if !$intact;
    return { seconds => $r->{seconds}, path1 => $path[0], path2 => $path[1],
        subflows => $r->{subflows_seen}, intact => $intact, $row->{path} ne 'both' ? ()
        : (carried => carried("$key 1", $r->{seconds}) + carried("$key 2", $r->{seconds})) };
}

# What TCP has carried over one path after so many seconds, by its rate at the end
# where it was done before.
sub carried {
    my ($key, $seconds) = @_;
    my @curve = $curve{$key}->@*;
    my $i = 1;
    $i++ while $i < $#curve && $curve[$i][1] < $seconds;
    my ($before, $after) = @curve[ $i - 1, $i ];
    ($before, $after) = @curve[ -11, -1 ] if $curve[-1][1] < $seconds && @curve > 11;
    return $before->[0] + ($after->[0] - $before->[0])
        * ($seconds - $before->[1]) / ($after->[1] - $before->[1]);
}
