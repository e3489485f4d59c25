# The picture that tools/demo draws shows the rates that were measured.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use MPTCP::RatePicture;
use Test::More;

# 2 and 1 MB/s for a second, then 3 and 0 for another
my $svg = MPTCP::RatePicture::svg(
    samples => [map { [10 + $_->[0], map { $_ * 1e6 } @$_[1, 2]] } [0, 5, 5], [1, 7, 6], [2, 10, 6]],
    names   => ['a & b', 'c'], mark => [1, 'now'], line => [2e6, 'one'],
    title   => 'T', subtitle => 'S', note => 'N',
);

# What the axes say where a number is.
my ($left, $bottom) = $svg =~ /class="rule" d="M ([\d.]+),([\d.]+) L/;
my ($x1)   = $svg =~ /<text x="([\d.]+)"[^>]*>1</;
my ($y2)   = ($svg =~ /class="rule" d="M [\d.]+,([\d.]+) L/g)[1];
my $value  = sub { my ($x, $y) = @_; [map { sprintf '%.1f', $_ } ($x - $left) / ($x1 - $left), 2 * ($bottom - $y) / ($bottom - $y2)] };
my @points = map { [map { $value->(split /,/) } /([\d.]+,[\d.]+)/g] } $svg =~ /class="p\d" d="M (.*?) Z/g;

is_deeply([@{ $points[0] }[0 .. 2]], [['0.0', '0.0'], ['0.5', '2.0'], ['1.5', '3.0']],
    'the first path, from below');
is_deeply([@{ $points[1] }[0 .. 2]], [['0.0', '0.0'], ['0.5', '3.0'], ['1.5', '3.0']],
    'the second on it');
is_deeply([reverse @{ $points[1] }[3 .. 5]], [@{ $points[0] }[0 .. 2]], '... where the first one ends');
my ($mark) = map { $value->(@$_)->[0] } [$svg =~ /class="now" d="M ([\d.]+),([\d.]+)/];
is($mark, '1.0', 'the mark');
like($svg, qr/>a &amp; b</, 'names are escaped');
done_testing();
