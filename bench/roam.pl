#!/usr/bin/perl

# Roam: hand-overs and cuts on paths with delay and loss.
#
#   roam-KERNEL.csv        a phone changes from Wi-Fi to LTE at a random moment
#                          of a download: is it whole, how long was nothing
#                          heard; a hundred each
#   roam-cuts-KERNEL.csv   one of two paths goes, or is silent for 3 s and
#                          comes back: the stall, and how soon it is used again
#
# For a guest in virtual time, which has netem: see docs/benchmarks.md.
#   ROAM_PARTS     'handovers cuts', or one of them
#   ROAM_SERVERS   'mod_mptcp nginx': whose hand-overs
#   ROAM_CHANGES   fewer than a hundred

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../t/lib";
use List::Util qw(max);
use Time::HiRes qw(sleep);
use Bench;
use Bench::Phone;
use Bench::Server;
use Bench::Wan;
use MPTCP::Client;

use constant {
    NETWORK => 'wifi+lte',
    BYTES   => 2.5e6,
    OVERLAP => 0.3,      # seconds with both networks, or with none
};

if (!MPTCP::Sandbox::inside()) {
    my $why = Bench::Wan::prepare('cubic');
    die "bench: $why\n" if $why;
}
my $bench = Bench->begin('roam-' . Bench::kernel());
my $short = Bench::short();
my @parts = split ' ', $ENV{ROAM_PARTS} // 'handovers cuts';
my @servers = $bench->kinds(split ' ', $ENV{ROAM_SERVERS} // 'mod_mptcp');
my $changes = $short ? 4 : $ENV{ROAM_CHANGES} // 100;
# What is left out now is as it was measured before.
my $cuts = 'roam-cuts-' . Bench::kernel();
my %now = map { $_ => 1 } @servers;
my @handovers = grep { !$now{ $_->{server} } } Bench::table($bench->{part});
my @cuts = Bench::table($cuts);
handovers() if grep { $_ eq 'handovers' } @parts;
cuts() if grep { $_ eq 'cuts' } @parts;
$bench->end(bytes => BYTES, overlap => OVERLAP);
exit 0;

# ---- Hand-overs -------------------------------------------------------------

sub handovers {
    my ($file, undef, $md5) = Bench::random_file(BYTES);
    my $lab = Bench::Phone->lab(congestion => 'cubic');
    Bench::Wan::forget($lab, 'phone', 'server');
    my @paths = Bench::Wan::network(NETWORK)->{paths}->@*;
    for my $i (1, 2) {
        Bench::Wan::shape($lab, 'phone', "c$i", $paths[ $i - 1 ], 'upload');
        Bench::Wan::shape($lab, 'router', "r$i", $paths[ $i - 1 ], 'download');
    }
    my $port = 8000;
    for my $kind (@servers) {
        my $server = Bench::Server->start($kind, lab => $lab, ns => 'server', port => ++$port,
            files => $file =~ s{/[^/]*$}{}r);
        for my $connection ('keep-alive', 'close') {
            srand 1;             # the same moments for all, and each time
            for my $n (1 .. ($connection eq 'close' ? $changes / 2 : $changes)) {
                one($lab, $kind, $port, $connection, $n % 2 ? 'make first' : 'break first',
                    rand, $md5);
            }
            summary($kind, $connection);
            # What there is so far: all of it takes long.
            $bench->write($bench->{part}, [qw(server connection order at stall seconds bytes intact)],
                @handovers);
        }
        $server->stop;
    }
    return;
}

# At that share of the bytes it leaves Wi-Fi: before them by OVERLAP, or after,
# it is in the other network.
sub one {
    my ($lab, $kind, $port, $connection, $order, $at, $md5) = @_;
    Bench::Phone::arrive($lab, 1);
    my $transfer = MPTCP::Client->start(lab => $lab, ns => 'phone', mptcp => 1, md5 => 1,
        timeout => 90, host => Bench::Phone::ADDRESS, port => $port, path => '/file',
        headers => ["Connection: $connection"]);
    $transfer->wait_bytes(max 1, int $at * BYTES);
    if ($order eq 'make first') {
        Bench::Phone::arrive($lab, 2);
        sleep OVERLAP;
        Bench::Phone::leave($lab, 1);
    }
    else {
        Bench::Phone::leave($lab, 1);
        sleep OVERLAP;
        Bench::Phone::arrive($lab, 2);
    }
    my $r = $transfer->wait;
    Bench::Phone::leave($lab, 2);
    push @handovers, { server => $kind, connection => $connection, order => $order,
        at => sprintf('%.3f', $at), stall => sprintf('%.3f', $r->{longest_stall}),
        seconds => sprintf('%.3f', $r->{seconds}), bytes => $r->{bytes},
        intact => $r->{error} eq '' && $r->{md5} eq $md5 ? 1 : 0 };
    $bench->say("$kind $connection $order at $at: $r->{bytes} bytes, $r->{error}")
        if !$handovers[-1]{intact};
    return;
}

sub summary {
    my ($kind, $connection) = @_;
    my @own = grep { $_->{server} eq $kind && $_->{connection} eq $connection } @handovers;
    my @stalls = sort { $a <=> $b } map { $_->{stall} } grep { $_->{intact} } @own;
    $bench->say(sprintf '%-9s %-10s %d hand-overs, %d whole, stall %.2f s (median), %.2f s at most',
        $kind, $connection, scalar @own, scalar @stalls, Bench::median(@stalls) // 0,
        $stalls[-1] // 0);
    return;
}

# ---- Cuts -------------------------------------------------------------------

sub cuts {
    @cuts = ();
    my ($file, undef, $md5) = Bench::random_file(12e6);
    my $lab = Bench::Wan->lab(NETWORK, congestion => 'cubic');
    my $port = 8000;
    for my $kind ($bench->kinds(qw(mod_mptcp))) {
        my $server = Bench::Server->start($kind, lab => $lab, ns => 'server', port => ++$port,
            files => $file =~ s{/[^/]*$}{}r);
        for my $path (1, 2) {
            for my $how ('link down', 'silent', 'silent 3 s') {
                for my $trial (1 .. ($short ? 1 : 2)) {
                    one_cut($lab, $kind, $port, $path, $how, $trial, $md5);
                }
            }
        }
        $server->stop;
    }
    $bench->write($cuts, [qw(server path how trial stall back intact)], @cuts);
    return;
}

sub one_cut {
    my ($lab, $kind, $port, $path, $how, $trial, $md5) = @_;
    my $transfer = MPTCP::Client->start(lab => $lab, ns => 'client', mptcp => 1, md5 => 1,
        timeout => 90, host => $lab->address('server', 1), port => $port, path => '/file');
    $transfer->wait_bytes($how =~ /3 s/ ? 1e6 : 4e6);
    $how eq 'link down' ? $lab->cut($path) : silence($lab, $path, 1);
    my $back = '';
    if ($how =~ /3 s/) {
        sleep 3;
        silence($lab, $path, 0);
        my $before = received($lab, $path);
        my $waited = 0;
        # In use: more than what is sent again now and then.
        while (!$transfer->done && received($lab, $path) - $before < 100_000) {
            sleep 0.05;
            $waited += 0.05;
        }
        $back = sprintf '%.2f', $waited if !$transfer->done;
    }
    my $r = $transfer->wait;
    if ($how eq 'link down') { $lab->restore($path) }
    elsif ($how eq 'silent') { silence($lab, $path, 0) }
    $lab->run(undef, 'ip', '-n', $_, 'neigh', 'flush', 'all') for 'client', 'server';
    sleep 1;
    my $intact = $r->{error} eq '' && $r->{md5} eq $md5 ? 1 : 0;
    push @cuts, { server => $kind, path => $path, how => $how, trial => $trial,
        stall => sprintf('%.3f', $r->{longest_stall}), back => $back, intact => $intact };
    $bench->say(sprintf '%-9s path %d %-10s %d stall %.3f s%s%s', $kind, $path, $how, $trial,
        $r->{longest_stall}, $back eq '' ? '' : ", used again after $back s",
        $intact ? '' : " NOT INTACT $r->{error}");
    return;
}

sub received { my ($lab, $path) = @_; return ($lab->device_bytes('client', "c$path"))[0] }

# Nothing that comes gets in, at either end.
sub silence {
    my ($lab, $path, $on) = @_;
    for (['client', "c$path"], ['server', "s$path"]) {
        my ($ns, $dev) = @$_;
        $lab->run($ns, qw(tc qdisc), $on ? 'add' : 'delete', 'dev', $dev, 'ingress');
        $lab->run($ns, qw(tc filter add dev), $dev, qw(ingress matchall action drop)) if $on;
    }
    return;
}
