package Bench::Wan;

# Paths as people have them: delay, loss, gaps, and queues of their own.
#
#   my $lab = Bench::Wan->lab('wifi+lte', congestion => 'cubic');
#
# A network is two paths between a host near the user ("client") and one far
# from it ("server"); `down` is what the server sends.  Needs netem, so it is
# for a guest with a distribution's kernel: see docs/benchmarks.md.

use strict;
use warnings;
use Carp qw(croak);
use List::Util qw(max);
use Time::HiRes qw(sleep time);
use MPTCP::Lab;

use constant GAPS => 20;    # seconds, a multiple of all periods

# Mbit/s down and up; ms both ways together; percent of the packets that are
# lost, each by itself; gap: seconds that nothing gets through, of how many.
# A file to be measured with is what both carry in so many seconds.
my @NETWORKS = (
    { name => 'dsl+dsl', seconds => 1.2, title => 'two lines of 50 Mbit/s, 20 ms',
        paths => [{ down => 50, rtt => 20 }, { down => 50, rtt => 20 }] },
    { name => 'wifi+lte', seconds => 1.2, title => 'Wi-Fi 40 Mbit/s, 20 ms, 0.5 % lost; LTE 20 Mbit/s, 60 ms, 0.1 %',
        paths => [{ down => 40, rtt => 20, loss => 0.5 }, { down => 20, rtt => 60, loss => 0.1 }] },
    { name => 'far', seconds => 2.6, title => '60 Mbit/s each, 80 and 120 ms',
        paths => [{ down => 60, rtt => 80 }, { down => 60, rtt => 120 }] },
    { name => 'unlike', seconds => 1.2, title => '50 Mbit/s, 20 ms; 10 Mbit/s, 100 ms',
        paths => [{ down => 50, rtt => 20 }, { down => 10, rtt => 100 }] },
    { name => 'train', seconds => 3, title => 'LTE 30 Mbit/s, 50 ms, and 20 Mbit/s, 70 ms; one silent for 1 s of 4, the other for 1 s of 5',
        paths => [{ down => 30, up => 10, rtt => 50, gap => [1, 4] },
            { down => 20, up => 10, rtt => 70, gap => [1, 5] }] },
    { name => 'dsl+5g', seconds => 1.2, title => 'DSL 40/10 Mbit/s, 20 ms; 5G 60/20 Mbit/s, 40 ms, 0.05 %',
        paths => [{ down => 40, up => 10, rtt => 20 },
            { down => 60, up => 20, rtt => 40, loss => 0.05 }] },
    { name => 'satellite', seconds => 3, title => 'DSL 10/2 Mbit/s, 30 ms; satellite 25/5 Mbit/s, 600 ms',
        paths => [{ down => 10, up => 2, rtt => 30 }, { down => 25, up => 5, rtt => 600 }] },
    # for bench/tune.pl alone
    { name => 'farther', only => 'tune', title => '60 Mbit/s each, 200 and 300 ms',
        paths => [{ down => 60, rtt => 200 }, { down => 60, rtt => 300 }] },
);

sub names { return map { $_->{name} } grep { !$_->{only} } @NETWORKS }

sub network {
    my ($name) = @_;
    my ($network) = grep { $_->{name} eq $name } @NETWORKS;
    return $network // croak "Bench::Wan: no network '$name'";
}

# Mbit/s of both paths together.
sub rate {
    my ($name, $direction) = @_;
    my $sum = 0;
    $sum += _rate($_, $direction) for network($name)->{paths}->@*;
    return $sum;
}

sub _rate {
    my ($path, $direction) = @_;
    return $direction eq 'upload' ? $path->{up} // $path->{down} : $path->{down};
}

# '' where this kernel can do all that is needed, else what it cannot.  In the
# first network namespace, what others may choose is settled for all of them.
sub prepare {
    my (@congestion) = @_;
    system 'modprobe', '-q', '-a', 'sch_netem', map { "tcp_$_" } @congestion;
    open my $allowed, '>', '/proc/sys/net/ipv4/tcp_allowed_congestion_control' or return "$!";
    print {$allowed} "reno @congestion\n";
    close $allowed or return "this kernel does not have all of: @congestion";
    return '';
}

# Two hosts and a network's paths between them; `ends` names them otherwise
# than client and server.
sub lab {
    my ($class, $name, %o) = @_;
    my @ends = @{ $o{ends} // ['client', 'server'] };
    my $lab = MPTCP::Lab->two_paths(client => $ends[0], server => $ends[1],
        congestion => $o{congestion} // 'cubic');
    $lab->limits($_, subflows => 8, add_addr_accepted => 8) for @ends;
    forget($lab, @ends);
    $lab->endpoint($ends[1], $lab->address($ends[1], 2), dev => 's2', 'signal');
    my @paths = network($name)->{paths}->@*;
    for my $i (1, 2) {
        shape($lab, $ends[0], "c$i", $paths[ $i - 1 ], 'upload');
        shape($lab, $ends[1], "s$i", $paths[ $i - 1 ], 'download');
        gaps($lab, $i, \@ends, $paths[ $i - 1 ]{gap}) if $paths[ $i - 1 ]{gap};
    }
    return $lab;
}

# Hosts that begin each connection as if it were their first.
sub forget {
    my ($lab, @hosts) = @_;
    $lab->sysctl($_, 'net.ipv4.tcp_no_metrics_save', 1) for @hosts;
    return;
}

# What one end of a path sends.  Its queue holds 50 ms, or as much as the path
# carries in one round, if that is more.  tbf gives the rate, and cuts up what
# the stack hands down in one piece (GSO), so that netem, below it, delays and
# loses packets as they are on the wire; what is on its way counts in netem's
# limit, too.
sub shape {
    my ($lab, $ns, $dev, $path, $direction) = @_;
    my $rate = _rate($path, $direction);
    my $queue = max(50, $path->{rtt}) + $path->{rtt} / 2;
    my $limit = max(20, int($rate * 1e6 / 8 / 1514 * $queue / 1000));
    $lab->run($ns, qw(tc qdisc replace dev), $dev, qw(root handle 1: tbf burst 1600 limit 100mb rate),
        "${rate}mbit");
    $lab->run($ns, qw(tc qdisc replace dev), $dev, qw(parent 1:1 netem limit), $limit,
        'delay', $path->{rtt} / 2 . 'ms', $path->{loss} ? ('loss', "$path->{loss}%") : ());
    return;
}

# Nothing gets through, either way, for the last part of each period.
sub gaps {
    my ($lab, $i, $ends, $gap) = @_;
    my ($client, $server) = @$ends;
    my $from = $lab->{gaps_from} //= time;
    # A filter that drops what comes in: what is on its way stays there.
    my $script = <<'END';
use Time::HiRes qw(sleep time);
my ($dev, $from, $away, $every) = @ARGV;
sub at { sleep $_[0] - time if $_[0] > time }
while (1) {
    $from += $every;
    at($from - $away);
    system "tc filter add dev $dev ingress matchall action drop";
    at($from);
    system "tc filter delete dev $dev ingress";
}
END
    for my $end ([$client, "c$i"], [$server, "s$i"]) {
        $lab->run($end->[0], qw(tc qdisc add dev), $end->[1], 'ingress');
        $lab->spawn($end->[0], $^X, '-e', $script, $end->[1], $from, @$gap);
    }
    return;
}

# Waits until it is so many seconds of those after which the gaps of all paths
# begin again, as they are in the table above; where there are gaps.
sub wait_for_gaps {
    my ($lab, $at) = @_;
    my $from = $lab->{gaps_from} or return;
    my $now = time - $from;
    my $wait = $at - ($now - GAPS * int($now / GAPS));
    sleep($wait < 0 ? $wait + GAPS : $wait);
    return;
}

1;
