#!/usr/bin/perl

# Cut: what a transfer is like when a path goes.
#
#   cut.csv          one of two paths goes down, or drops everything silently;
#                    how long nothing arrives
#   cut-back.csv     the path comes back after a while: how soon it is used
#   cut-handover.csv a phone's way from one network to the other, ten times
#   cut-rates.csv    the rate of each path over time, for the plots

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../t/lib";
use List::Util qw(first);
use Time::HiRes qw(sleep time);
use Bench;
use Bench::Origin;
use Bench::Phone;
use Bench::Rates;
use Bench::Server;
use MPTCP::Client;

use constant {
    RATE     => '50mbit',
    DOWN     => 10,      # seconds that a path stays away, unless all has come
    AWAY     => 3,       # seconds, for the one that comes back
    BACK     => 3,       # MB/s: about half of its rate, then it is in use
    CHANGES  => 10,      # hand-overs
    EVERY    => 1.0,     # seconds, from one to the next
    OVERLAP  => 0.3,     # seconds with both networks, or with none
};

my $bench = Bench->begin('cut');
my $short = Bench::short();
my (@cuts, @backs, @handovers, @rates);
my $failures = 0;

cuts();
backs();
handovers();

$bench->write('cut', [qw(server direction path how trial stall intact)], @cuts);
$bench->write('cut-back', [qw(server how trial back stall intact)], @backs);
$bench->write('cut-handover', [qw(server direction order trial changes stall seconds intact)],
    @handovers);
$bench->write('cut-rates', [qw(plot server seconds path1 path2)], @rates);
$bench->end(down => DOWN, away => AWAY, changes => CHANGES, every => EVERY, overlap => OVERLAP);
exit($failures ? 1 : 0);

# ---- A path goes ------------------------------------------------------------

sub cuts {
    my ($file, $sha256) = Bench::random_file($short ? 4e6 : 20e6);
    my $lab = $bench->paths([RATE, RATE]);
    my $servers = servers($lab, 'server', $file, Bench::Server::kinds(), 'mod_mptcp_buffer');
    # Those whose second path is not used have nowhere to go to: once is enough.
    my %alone = map { $_ => 1 } qw(mptcpize trunk);
    my @trials = $short ? 1 : 1 .. 5;
    for my $trial (@trials) {
        for my $direction ('download', 'upload') {
            for my $path (1, 2) {
                for my $how ('link down', 'silent') {
                    for my $kind (sort keys %$servers) {
                        next if $short && ($kind !~ /^(?:mod_mptcp|nginx)$/ || $path == 1);
                        next if $alone{$kind} && ($trial > 1 || $direction eq 'upload' || $path == 2);
                        next if $direction eq 'upload' && ($trial > 3 || $path == 2);
                        one_cut($lab, $servers, $kind, $direction, $path, $how, $trial, $file,
                            $sha256);
                    }
                }
            }
        }
    }
    $_->{server}->stop for values %$servers;
    return;
}

sub one_cut {
    my ($lab, $servers, $kind, $direction, $path, $how, $trial, $file, $sha256) = @_;
    my $transfer = begin($lab, $servers->{$kind}, $direction, $file, 'client');
    $transfer->wait_bytes(0.4 * -s $file);
    gone($lab, $path, $how);
    my $away = time;
    until ($transfer->done) {
        sleep 0.05;
        next if !defined $away || time - $away < DOWN;
        back($lab, $path, $how);
        undef $away;
    }
    back($lab, $path, $how) if defined $away;
    my $r = $transfer->wait;
    ready($lab);
    my $intact = intact($r, $direction, $sha256);
    push @cuts, { server => $kind, direction => $direction, path => $path, how => $how,
        trial => $trial, stall => sprintf('%.3f', $r->{longest_stall}), intact => $intact };
    $bench->say(sprintf '%-8s path %d %-9s %d %-9s stall %6.3f s%s', $direction, $path, $how, $trial,
        $kind, $r->{longest_stall}, $intact ? '' : " NOT INTACT $r->{error}");
    return;
}

sub gone {
    my ($lab, $path, $how) = @_;
    return $how eq 'silent' ? $lab->blackhole($path) : $lab->cut($path);
}

sub back {
    my ($lab, $path, $how) = @_;
    return $how eq 'silent' ? $lab->unblackhole($path) : $lab->restore($path);
}

# For the next one: no host is remembered as one that does not answer.
sub ready {
    my ($lab) = @_;
    $lab->run(undef, 'ip', '-n', $_, 'neigh', 'flush', 'all') for 'client', 'server';
    for my $path (1, 2) {
        $lab->wait_until(5, sub {
            my ($status) = $lab->try('client', $^X, '-MIO::Socket::INET', '-e',
                'exit(IO::Socket::INET->new(PeerAddr => shift, Timeout => 1) ? 0 : 1)',
                $lab->address('server', $path) . ':8080');
            return $status == 0;
        }) or die "bench: path $path does not come back\n";
    }
    return;
}

# ---- A path that comes back -------------------------------------------------

sub backs {
    my ($file, $sha256) = Bench::random_file($short ? 15e6 : 100e6);
    my $lab = $bench->paths([RATE, RATE]);
    my $servers = servers($lab, 'server', $file, qw(mod_mptcp trunk nginx));
    my $away = $short ? 0.5 : AWAY;
    for my $trial (1 .. ($short ? 1 : 2)) {
        for my $how ('link down', 'silent') {
            for my $kind (sort keys %$servers) {
                next if $short && ($kind eq 'trunk' || $how eq 'silent');
                next if $kind eq 'trunk' && $trial > 1;
                my $rates = Bench::Rates->start($lab, 'client', 'c1', 'c2');
                my $transfer = begin($lab, $servers->{$kind}, 'download', $file, 'client');
                $rates->zero;
                sleep 1;
                gone($lab, 2, $how);
                sleep $away;
                back($lab, 2, $how);
                my $returned = $rates->now;
                my $r = $transfer->wait;
                ready($lab);
                my @series = $rates->stop('received');
                my $use = first { $_->[0] > $returned && $_->[2] >= BACK } @series;
                my $intact = intact($r, 'download', $sha256);
                push @backs, { server => $kind, how => $how, trial => $trial,
                    back => $use ? sprintf('%.2f', $use->[0] - $returned) : '',
                    stall => sprintf('%.3f', $r->{longest_stall}), intact => $intact };
                $bench->say(sprintf 'back after %.1f s, %-9s %d %-9s %s', $away, $how, $trial, $kind,
                    $use ? sprintf('in use %.2f s later', $use->[0] - $returned) : 'not used again');
                keep("back $how", $kind, @series) if $trial == 1;
            }
        }
    }
    $_->{server}->stop for values %$servers;
    return;
}

# ---- Hand-over --------------------------------------------------------------

sub handovers {
    # Enough for all of them, some of the time by both networks.
    my ($file, $sha256) = Bench::random_file($short ? 12e6 : 1.4 * CHANGES * EVERY * 6e6);
    my $lab = Bench::Phone->lab(rate => RATE, Bench::congestion());
    my $servers = servers($lab, 'server', $file, qw(mod_mptcp trunk nginx));

    for my $trial (1 .. ($short ? 1 : 2)) {
        for my $direction ('download', 'upload') {
            for my $order ('make first', 'break first') {
                for my $kind (sort keys %$servers) {
                    next if $short && ($kind ne 'mod_mptcp' || $order eq 'make first');
                    # It takes a minute to wait for the joins that it drops.
                    next if $kind eq 'trunk' && ($short || $trial > 1 || $direction eq 'upload');
                    one_handover($lab, $servers, $kind, $direction, $order, $trial, $file, $sha256);
                }
            }
        }
    }
    $_->{server}->stop for values %$servers;
    return;
}

sub one_handover {
    my ($lab, $servers, $kind, $direction, $order, $trial, $file, $sha256) = @_;
    my $in = 1;
    Bench::Phone::arrive($lab, $in);
    my $rates = Bench::Rates->start($lab, 'phone', 'c1', 'c2');
    # As a browser asks.  Once a server has closed its side, its kernel refuses
    # further paths, while much of the response may still be on its way.
    my $transfer = begin($lab, $servers->{$kind}, $direction, $file, 'phone', Bench::Phone::ADDRESS,
        headers => ['Connection: keep-alive']);
    $rates->zero;
    my $changes = 0;
    my $next = EVERY;
    while ($changes < CHANGES) {
        sleep 0.01 while $rates->now < $next && !$transfer->done;
        last if $transfer->done;
        my $other = 3 - $in;
        if ($order eq 'make first') {
            Bench::Phone::arrive($lab, $other);
            sleep OVERLAP;
            Bench::Phone::leave($lab, $in);
        }
        else {
            Bench::Phone::leave($lab, $in);
            sleep OVERLAP;
            Bench::Phone::arrive($lab, $other);
        }
        $in = $other;
        $changes++;
        $next += EVERY;
    }
    my $r = $transfer->wait;
    my @series = $rates->stop($direction eq 'upload' ? 'sent' : 'received');
    Bench::Phone::leave($lab, $in);
    my $intact = intact($r, $direction, $sha256);
    push @handovers, { server => $kind, direction => $direction, order => $order,
        trial => $trial, changes => $changes, stall => sprintf('%.3f', $r->{longest_stall}),
        seconds => sprintf('%.2f', $r->{seconds}), intact => $intact };
    $bench->say(sprintf '%-8s %-11s %d %-9s %2d hand-overs, stall %6.3f s, %.1f s%s', $direction,
        $order, $trial, $kind, $changes, $r->{longest_stall}, $r->{seconds},
        $intact ? '' : " NOT INTACT $r->{error}");
    keep("handover $direction $order", $kind, @series) if $trial == 1;
    return;
}

# ---- Transfers --------------------------------------------------------------

# Each kind on a port of its own: { server, port }.
sub servers {
    my ($lab, $ns, $file, @kinds) = @_;
    Bench::Origin::start(lab => $lab, ns => $ns, port => 8080, file => $file);
    my ($port, %servers) = (8000);
    for my $kind (grep { $_ ne 'httpd' } $bench->kinds(@kinds)) {
        $servers{$kind} = { port => ++$port, server => Bench::Server->start($kind, lab => $lab,
            ns => $ns, port => $port, files => $file =~ s{/[^/]*$}{}r, sink => '127.0.0.1:8080') };
    }
    return \%servers;
}

sub begin {
    my ($lab, $server, $direction, $file, $ns, $address, @more) = @_;
    return MPTCP::Client->start(lab => $lab, ns => $ns, mptcp => 1, timeout => 120, @more,
        host => $address // $lab->address('server', 1), port => $server->{port},
        $direction eq 'upload' ? (path => '/sink', upload => $file, keep => 1)
        : (path => '/file'));
}

sub intact {
    my ($r, $direction, $sha256) = @_;
    my $intact = $r->{error} eq '' && ($direction eq 'upload'
        ? $r->{body} =~ /"sha256":"$sha256"/ : $r->{sha256} eq $sha256) ? 1 : 0;
    $failures++ if !$intact;
    return $intact;
}

sub keep {
    my ($plot, $kind, @series) = @_;
    push @rates, map { { plot => $plot, server => $kind, seconds => sprintf('%.2f', $_->[0]),
        path1 => sprintf('%.3f', $_->[1]), path2 => sprintf('%.3f', $_->[2]) } } @series;
    return;
}
