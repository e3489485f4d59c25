package MPTCP::RatePicture;

# An SVG of what a download's paths carried over time, one area on the other.
#
#   MPTCP::RatePicture::write('demo.svg',
#       samples  => [[0, 0, 0], [0.1, 620_000, 610_000], ...],
#                                   # seconds, bytes so far of each path
#       names    => ['path 1', 'path 2'],
#       mark     => [1.2, 'path 2 is cut'],
#       line     => [6e6, 'plain TCP'],       # bytes a second
#       title    => '...', subtitle => '...', note => '...');

use strict;
use warnings;
use List::Util qw(max sum0);

use constant {
    WIDTH => 760, HEIGHT => 340,
    LEFT => 56, RIGHT => 18, TOP => 92, BOTTOM => 62,
};

# Readable on light and on dark, whatever the page around it is.
my $STYLE = <<'END';
  .paper { fill: #ffffff; } .p0 { fill: #2f6fb5; } .p1 { fill: #d98324; }
  path.rule, path.now, path.line { fill: none; stroke: #d8dee4; }
  path.now, path.line { stroke: #1f2328; stroke-width: 1.5; } path.line { stroke-dasharray: 5 4; }
  text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #59636e; }
  .title { font-size: 17px; font-weight: 600; } .title, .mark { fill: #1f2328; }
  .mark, .name { font-weight: 600; } .name { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; } path.rule { stroke: #30363d; }
    path.now, path.line { stroke: #e6edf3; }
    text { fill: #9198a1; } .title, .mark { fill: #e6edf3; } .name { fill: #ffffff; }
  }
END

sub write {
    my ($file, %o) = @_;
    open my $out, '>:encoding(UTF-8)', $file or die "$file: $!\n";
    print {$out} svg(%o);
    close $out or die "$file: $!\n";
    return;
}

sub svg {
    my (%o) = @_;
    my ($times, @rates) = _rates($o{samples});
    my $end = $times->[-1];
    my $top = 2 * (1 + int(0.05 + max(map { my $i = $_; sum0(map { $_->[$i] } @rates) } 0 .. $#$times) / 2e6));
    my $x   = sub { sprintf '%.1f', LEFT + $_[0] / $end * (WIDTH - LEFT - RIGHT) };
    my $y   = sub { sprintf '%.1f', HEIGHT - BOTTOM - $_[0] / ($top * 1e6) * (HEIGHT - TOP - BOTTOM) };
    my ($bottom, $right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);

    my @parts = map { chomp; $_ } sprintf(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">',
        WIDTH, HEIGHT, WIDTH, HEIGHT),
        '<title>' . _escape("$o{title}. $o{subtitle}") . '</title>',
        "<style>\n$STYLE</style>",
        sprintf('<rect width="%d" height="%d" rx="8" class="paper"/>', WIDTH, HEIGHT),
        _text(16, 30, $o{title}, 'title'), _text(16, 52, $o{subtitle});

    # rules, and what they stand for
    for (my $mb = 0; $mb <= $top; $mb += 2) {
        push @parts, _line(LEFT, $y->($mb * 1e6), $right, $y->($mb * 1e6), 'rule'),
            _text(LEFT - 8, $y->($mb * 1e6) + 4, $mb, '', 'end');
    }
    push @parts, _text(16, TOP - 12, 'MB/s, headers included');
    push @parts, _text($x->($_), $bottom + 18, $_ ? $_ : '0 s', '', 'middle') for 0 .. int $end;

    # the areas, each on those before it
    my @below = map {0} @$times;
    for my $path (0 .. $#rates) {
        my @above = map { $below[$_] + $rates[$path][$_] } 0 .. $#$times;
        push @parts, sprintf '<path class="p%d" d="M %s L %s Z"/>', $path,
            join(' L ', map { $x->($times->[$_]) . ',' . $y->($above[$_]) } 0 .. $#$times),
            join(' L ', map { $x->($times->[$_]) . ',' . $y->($below[$_]) } reverse 0 .. $#$times);
        my $at = int($#$times / 5);
        push @parts, _text($x->($times->[$at]), $y->(($above[$at] + $below[$at]) / 2) + 4,
            $o{names}[$path], 'name', 'middle');
        @below = @above;
    }

    if ($o{line}) {
        my $height = $y->($o{line}[0]);
        push @parts, _line(LEFT, $height, $right, $height, 'line'),
            _text($right, $height - 14, $o{line}[1], 'mark', 'end');
    }
    if ($o{mark}) {
        my $at = $x->($o{mark}[0]);
        push @parts, _line($at, TOP - 6, $at, $bottom, 'now'),
            _text($at + 7, TOP + 8, $o{mark}[1], 'mark');
    }
    push @parts, _text(16, HEIGHT - 14, $o{note});
    return join "\n", @parts, "</svg>\n";
}

# From bytes so far to bytes a second: ([seconds], [rate of path 1], ...).
sub _rates {
    my ($samples) = @_;
    my @times = (0);
    my @rates = map { [0] } 1 .. $#{ $samples->[0] };
    for my $i (1 .. $#$samples) {
        my ($before, $now) = @$samples[ $i - 1, $i ];
        push @times, ($before->[0] + $now->[0]) / 2 - $samples->[0][0];
        push @{ $rates[ $_ - 1 ] }, ($now->[$_] - $before->[$_]) / ($now->[0] - $before->[0])
            for 1 .. @rates;
    }
    return (\@times, @rates);
}

sub _text {
    my ($x, $y, $text, $class, $anchor) = @_;
    return sprintf '<text x="%s" y="%s"%s%s>%s</text>', $x, $y,
        $class  ? qq{ class="$class"}        : '',
        $anchor ? qq{ text-anchor="$anchor"} : '', _escape($text);
}

sub _line {
    my ($x1, $y1, $x2, $y2, $class) = @_;
    return qq{<path class="$class" d="M $x1,$y1 L $x2,$y2"/>};
}

sub _escape {
    my ($text) = @_;
    my %as = ('&' => '&amp;', '<' => '&lt;', '>' => '&gt;');
    return $text =~ s/([&<>])/$as{$1}/gr;
}

1;
