package Bench::Plot;

# Pictures of results, as SVG.
#
#   my $plot = Bench::Plot->new(width => 800, height => 400,
#       title => 'What it shows', note => 'What it was measured on');
#   my $panel = $plot->panel(left => 60, top => 60, width => 700, height => 280,
#       x => [0, 10], y => [0, 12], x_label => 'time (s)', y_label => 'rate (MB/s)');
#   $panel->line('#0072b2', [0, 1], [5, 7]);
#   $plot->legend(60, 380, ['a server', '#0072b2']);
#   $plot->write('results/some.svg');
#
# Sizes are in pixels from the upper left corner, of a panel's inner field;
# what is drawn into a panel is in the units of its axes.  An axis whose
# option is x_log or y_log is logarithmic; x_names or y_names gives it names at
# 1, 2, ... in place of numbers.

use strict;
use warnings;

use constant { TEXT => '#333333', SOFT => '#666666', GRID => '#e4e4e4', LINE => 15 };

sub new {
    my ($class, %o) = @_;
    my $self = bless { %o, out => [] }, $class;
    $self->text(16, 26, $o{title}, size => 16, weight => 'bold');
    my $lines = my @note = wrapped($o{note} // '', $o{width} / 6);
    $self->text(16, $o{height} - 10 - LINE * ($lines - 1 - $_), $note[$_], size => 11, color => SOFT)
        for 0 .. $#note;
    return $self;
}

sub wrapped {
    my ($text, $columns) = @_;
    my @lines = ('');
    for my $word (split ' ', $text) {
        if (length "$lines[-1] $word" > $columns) { push @lines, $word }
        else { $lines[-1] .= (length $lines[-1] ? ' ' : '') . $word }
    }
    return @lines;
}

sub add { my ($self, $element) = @_; push @{ $self->{out} }, $element; return }

sub escaped {
    my ($text) = @_;
    my %for = ('&' => '&amp;', '<' => '&lt;', '>' => '&gt;', '"' => '&quot;');
    return $text =~ s/([&<>"])/$for{$1}/gr;
}

# anchor => 'start' (or 'middle', 'end'), rotate => degrees.  A white border
# keeps it readable on lines.
sub text {
    my ($self, $x, $y, $text, %o) = @_;
    my $rotate = $o{rotate} ? sprintf ' transform="rotate(%d %.1f %.1f)"', $o{rotate}, $x, $y : '';
    $self->add(sprintf '<text x="%.1f" y="%.1f" font-size="%d" fill="%s" text-anchor="%s"'
        . ' font-weight="%s" stroke="white" stroke-width="3" paint-order="stroke"%s>%s</text>', $x, $y, $o{size} // 12, $o{color} // TEXT,
        $o{anchor} // 'start', $o{weight} // 'normal', $rotate, escaped($text));
    return;
}

sub rect {
    my ($self, $x, $y, $width, $height, $color) = @_;
    $self->add(sprintf '<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>',
        $x, $y, $width, $height, $color);
    return;
}

sub stroke {
    my ($self, $color, $width, $dash, @points) = @_;
    $self->add(sprintf '<polyline points="%s" fill="none" stroke="%s" stroke-width="%s"%s/>',
        join(' ', map { sprintf '%.1f,%.1f', @$_ } @points), $color, $width,
        $dash ? " stroke-dasharray=\"$dash\"" : '');
    return;
}

# [text, color] ... in one row
sub legend {
    my ($self, $x, $y, @entries) = @_;
    for (@entries) {
        my ($text, $color) = @$_;
        $self->rect($x, $y - 9, 12, 10, $color);
        $self->text($x + 17, $y, $text);
        $x += 17 + 6.6 * length($text) + 18;
    }
    return;
}

sub panel {
    my ($self, %o) = @_;
    return Bench::Plot::Panel->new($self, %o);
}

sub write {
    my ($self, $path) = @_;
    open my $file, '>:utf8', $path or die "$path: $!\n";
    print {$file} <<"END", map { "$_\n" } @{ $self->{out} };
<svg xmlns="http://www.w3.org/2000/svg" width="$self->{width}" height="$self->{height}" viewBox="0 0 $self->{width} $self->{height}" font-family="DejaVu Sans, Helvetica, Arial, sans-serif">
<rect width="100%" height="100%" fill="white"/>
END
    print {$file} "</svg>\n";
    close $file or die "$path: $!\n";
    return;
}

package Bench::Plot::Panel;

use List::Util qw(max min);
use POSIX ();

sub new {
    my ($class, $plot, %o) = @_;
    my $self = bless { plot => $plot, %o }, $class;
    my ($left, $top, $width, $height) = @o{qw(left top width height)};
    $plot->text($left, $top - 7, $o{title}, weight => 'bold') if defined $o{title};
    for my $tick ($self->ticks('y')) {
        my ($at, $name) = @$tick;
        my $y = $self->y($at);
        $plot->stroke(Bench::Plot::GRID, 1, undef, [$left, $y], [$left + $width, $y])
            if !$o{y_names};
        $plot->text($left - 6, $y + 4, $name, anchor => 'end', size => $o{y_names} ? 12 : 11)
            if !$o{y_hidden};
    }
    for my $tick ($self->ticks('x')) {
        my ($at, $name) = @$tick;
        my $x = $self->x($at);
        $plot->stroke(Bench::Plot::GRID, 1, undef, [$x, $top], [$x, $top + $height])
            if !$o{x_names};
        $plot->text($x, $top + $height + 15, $name, anchor => 'middle', size => 11)
            if !$o{x_hidden};
    }
    $plot->stroke('#999999', 1, undef, [$left, $top], [$left, $top + $height],
        [$left + $width, $top + $height]);
    $plot->text($left + $width / 2, $top + $height + 32, $o{x_label}, anchor => 'middle')
        if defined $o{x_label};
    $plot->text($left - ($o{y_space} // 42), $top + $height / 2, $o{y_label}, anchor => 'middle',
        rotate => -90) if defined $o{y_label};
    return $self;
}

# [where, what is written there] ...
sub ticks {
    my ($self, $axis) = @_;
    my ($from, $to) = $self->{$axis}->@*;
    if (my $names = $self->{"${axis}_names"}) {
        return map { [$_ + 1, $names->[$_]] } 0 .. $#$names;
    }
    if ($self->{"${axis}_log"}) {
        my @decades = map { 10 ** $_ } POSIX::ceil(log10($from) - 1e-9) .. POSIX::floor(log10($to) + 1e-9);
        return map { [$_, grouped($_)] } @decades;
    }
    my $size = $axis eq 'x' ? $self->{width} / 60 : $self->{height} / 30;
    my $step = 10 ** POSIX::floor(log10(($to - $from) / $size));
    for my $factor (1, 2, 5, 10) {
        $step *= $factor, last if ($to - $from) / ($step * $factor) <= $size;
    }
    return map { [$from + $_ * $step, grouped(sprintf '%.10g', $from + $_ * $step)] }
        0 .. int(($to - $from) / $step + 1e-6);
}

sub grouped {
    my ($number) = @_;
    1 while $number =~ s/^(\d+)(\d{3})/$1,$2/;
    return $number;
}

sub log10 { return log($_[0]) / log(10) }

sub x { my ($self, $value) = @_; return $self->{left} + $self->share('x', $value) * $self->{width} }

sub y {
    my ($self, $value) = @_;
    return $self->{top} + (1 - $self->share('y', $value)) * $self->{height};
}

# Where on an axis, from 0 to 1; what is beyond its end is at its end.
sub share {
    my ($self, $axis, $value) = @_;
    my ($from, $to) = $self->{$axis}->@*;
    ($from, $to, $value) = map { log10(max $_, 1e-12) } $from, $to, $value if $self->{"${axis}_log"};
    return min 1, max 0, ($value - $from) / ($to - $from);
}

sub line {
    my ($self, $color, @points) = @_;
    $self->{plot}->stroke($color, 2, undef, map { [$self->x($_->[0]), $self->y($_->[1])] } @points);
    return;
}

# Between two lines: [x, lower, upper] ...
sub area {
    my ($self, $color, @points) = @_;
    my @outline = ((map { [$_->[0], $_->[2]] } @points), (map { [$_->[0], $_->[1]] } reverse @points));
    $self->{plot}->add(sprintf '<polygon points="%s" fill="%s"/>', join(' ',
        map { sprintf '%.1f,%.1f', $self->x($_->[0]), $self->y($_->[1]) } @outline), $color);
    return;
}

sub dot {
    my ($self, $color, $x, $y, %o) = @_;
    $self->{plot}->add(sprintf '<circle cx="%.1f" cy="%.1f" r="%s" fill="%s" fill-opacity="%s"/>',
        $self->x($x), $self->y($y), $o{radius} // 4, $color, $o{opacity} // 1);
    return;
}

# A bar from the left to $x, around $y; thickness in pixels, moved by $shift.
sub bar {
    my ($self, $color, $x, $y, $thickness, $shift) = @_;
    $self->{plot}->rect($self->{left} + 0.5, $self->y($y) - $thickness / 2 + ($shift // 0),
        max(1, $self->x($x) - $self->{left}), $thickness, $color);
    return;
}

sub mark_x {
    my ($self, $x, $text, %o) = @_;
    my ($at, $top) = ($self->x($x), $self->{top});
    $self->{plot}->stroke($o{color} // '#555555', 1, '4 3', [$at, $top], [$at, $top + $self->{height}]);
    $self->{plot}->text($at + ($o{side} // 0), $top - 4, $text, size => 11, color => Bench::Plot::SOFT,
        anchor => $o{anchor} // 'middle') if defined $text;
    return;
}

sub mark_y {
    my ($self, $y, $text) = @_;
    my ($at, $left) = ($self->y($y), $self->{left});
    $self->{plot}->stroke('#555555', 1, '4 3', [$left, $at], [$left + $self->{width}, $at]);
    $self->{plot}->text($left + $self->{width} - 3, $at - 4, $text, size => 11,
        color => Bench::Plot::SOFT, anchor => 'end') if defined $text;
    return;
}

# Text within the field.
sub label {
    my ($self, $x, $y, $text, %o) = @_;
    $self->{plot}->text($self->x($x) + ($o{right} // 0), $self->y($y) + ($o{down} // 4), $text,
        size => $o{size} // 11, anchor => $o{anchor} // 'start', color => $o{color} // Bench::Plot::TEXT);
    return;
}

1;
