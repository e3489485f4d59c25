#!/usr/bin/perl

# Paths: downloads and uploads over several paths at once, to the server
# itself and through it as a proxy, beside one TCP path.
#
#   paths.csv        every run
#   paths-rates.csv  the rate of each path over time, of the first round with
#                    two equal paths
#
# In a round each server has its turn, so that what the machine does meanwhile
# meets all of them.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../t/lib";
use List::Util qw(max);
use Bench;
use Bench::Origin;
use Bench::Rates;
use Bench::Server;
use MPTCP::Client;

my $bench  = Bench->begin($ENV{CONGESTION} ? "paths-$ENV{CONGESTION}" : 'paths');
my $short  = Bench::short();
my $rounds = $short ? 1 : 3;
my $size   = $short ? 2e6 : 20e6;
# name => rates in Mbit/s; the first path is the one that TCP is given
my @shapes = (['50+50', 50, 50], ['50+10', 50, 10], ['30+30+30', 30, 30, 30]);
@shapes = $shapes[0] if $short || $ENV{CONGESTION};
my @vias = $ENV{CONGESTION} ? ('direct') : ('direct', 'proxied');

my ($file, $sha256) = Bench::random_file($size);
my (@runs, @rates);
for my $shape (@shapes) {
    for my $via (@vias) {
        my $setting = $via eq 'direct' ? direct($shape) : proxied($shape);
        for my $round (1 .. ($shape->[0] eq '50+50' ? $rounds : max(1, $rounds - 1))) {
            for my $direction ('download', 'upload') {
                run($setting, $shape, $via, $direction, $round, $_) for $setting->{kinds}->@*;
            }
        }
        $_->stop for values $setting->{servers}->%*;
    }
}
$bench->write($bench->{part},
    [qw(shape via direction server round rate subflows path1 path2 path3 intact)], @runs);
$bench->write("$bench->{part}-rates", [qw(via direction server seconds path1 path2)], @rates);
$bench->end(size => $size, rounds => $rounds);
exit(grep({ !$_->{intact} } @runs) ? 1 : 0);

# ---- Who is where -----------------------------------------------------------

# client ==paths== server, origin
sub direct {
    my ($shape) = @_;
    my (undef, @rate) = @$shape;
    my $lab = $bench->paths([map { "${_}mbit" } @rate]);
    Bench::Origin::start(lab => $lab, ns => 'server', port => 8080, file => $file);
    my %setting = (lab => $lab, client => 'client', watch => ['client', map { "c$_" } 1 .. @rate],
        address => $lab->address('server', 1), kinds => [$bench->kinds], mptcp => 1,
        accepts => 'server');
    my $port = 8000;
    for my $kind ($bench->kinds) {
        $setting{port}{$kind} = ++$port;
        $setting{servers}{$kind} = Bench::Server->start($kind, lab => $lab, ns => 'server',
            port => $port, files => $file =~ s{/[^/]*$}{}r, sink => '127.0.0.1:8080');
    }
    return \%setting;
}

# user --fast-- proxy ==paths== backend, which is the origin, with MPTCP
sub proxied {
    my ($shape) = @_;
    my (undef, @rate) = @$shape;
    my $lab = $bench->paths([map { "${_}mbit" } @rate], client => 'proxy', server => 'backend');
    $lab->add_host('user');
    $lab->add_path(9, ['user', 'u9'], ['proxy', 'p9']);
    Bench::Origin::start(lab => $lab, ns => 'backend', port => 80, mptcp => 1, file => $file);
    my %setting = (lab => $lab, client => 'user', watch => ['proxy', map { "c$_" } 1 .. @rate],
        address => $lab->address('proxy', 9), kinds => [$bench->kinds], mptcp => 0,
        accepts => 'backend');
    my $port = 8000;
    for my $kind ($bench->kinds) {
        $setting{port}{$kind} = ++$port;
        $setting{servers}{$kind} = Bench::Server->start($kind, lab => $lab, ns => 'proxy',
            port => $port, backend => $lab->address('backend', 1) . ':80');
    }
    return \%setting;
}

# ---- One run ----------------------------------------------------------------

sub run {
    my ($s, $shape, $via, $direction, $round, $kind) = @_;
    my $lab = $s->{lab};
    my ($ns, @devices) = $s->{watch}->@*;
    # The baseline is a plain TCP client with plain httpd.
    my $mptcp = $kind eq 'httpd' ? 0 : $s->{mptcp};
    my $upload = $direction eq 'upload';
    my $column = $upload ? 1 : 0;
    my $sampler = Bench::Rates->start($lab, $ns, @devices);
    my @before = map { ($lab->device_bytes($ns, $_))[$column] } @devices;
    my $joins = $lab->counter($s->{accepts}, 'MPTcpExtMPJoinAckRx');
    $sampler->zero;
    my $r = MPTCP::Client::get(lab => $lab, ns => $s->{client}, host => $s->{address},
        port => $s->{port}{$kind}, mptcp => $mptcp, timeout => 120,
        $upload ? (path => '/sink', upload => $file, keep => 1) : (path => '/file'));
    my @series = $sampler->stop($upload ? 'sent' : 'received');
    my @path = map { ($lab->device_bytes($ns, $devices[$_]))[$column] - $before[$_] } 0 .. $#devices;
    $joins = $lab->counter($s->{accepts}, 'MPTcpExtMPJoinAckRx') - $joins;

    my $intact = $r->{error} eq '' && ($upload
        ? $r->{sent_sha256} eq $sha256 && $r->{body} =~ /"sha256":"$sha256"/
        : $r->{sha256} eq $sha256);
    # A proxy may read all of it before it passes anything on; then what the
    # user sees between the first and the last byte is not what the paths did.
    my $rate = $via eq 'proxied' ? $size / $r->{seconds} : $r->{rate};
    push @runs, { shape => $shape->[0], via => $via, direction => $direction, server => $kind,
        round => $round, rate => sprintf('%.4f', $rate / 1e6), subflows => 1 + $joins,
        (map { ("path" . ($_ + 1) => $path[$_]) } 0 .. $#path), intact => $intact ? 1 : 0 };
    $bench->say(sprintf '%-8s %-7s %-8s %d %-9s %6.2f MB/s, %d subflows, %s%s', $shape->[0], $via,
        $direction, $round, $kind, $rate / 1e6, 1 + $joins,
        join(' + ', map { sprintf '%.1f', $_ / 1e6 } @path), $intact ? '' : " NOT INTACT $r->{error}");
    push @rates, map { { via => $via, direction => $direction, server => $kind,
        seconds => sprintf('%.2f', $_->[0]), path1 => sprintf('%.3f', $_->[1]),
        path2 => sprintf('%.3f', $_->[2]) } } @series
        if $round == 1 && $shape->[0] eq '50+50';
    return;
}
