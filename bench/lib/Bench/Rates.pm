package Bench::Rates;

# What the kernel counts on some devices of a host, over time.
#
#   my $rates = Bench::Rates->start($lab, 'client', 'c1', 'c2');
#   ...
#   my @series = $rates->stop('received');    # or 'sent'
#
# The series: [seconds from the start of the clock, MB/s of each device ...],
# each over the time since the one before.

use strict;
use warnings;
use Cwd ();
use File::Basename qw(dirname);
use File::Temp ();
use Time::HiRes qw(sleep time);

use constant EVERY => 0.1;    # seconds

sub start {
    my ($class, $lab, $ns, @devices) = @_;
    my $lib = dirname(dirname(Cwd::abs_path(__FILE__)));
    my $out = File::Temp->new(TMPDIR => 1);
    my $pid = $lab->spawn($ns, { out => "$out" }, $^X, "-I$lib", '-MBench::Rates', '-e',
        'Bench::Rates::run(@ARGV)', '--', @devices);
    $lab->wait_until(5, sub { -s $out });
    return bless { lab => $lab, pid => $pid, out => $out, zero => time }, $class;
}

# Where the time is to be counted from.
sub zero { my ($self) = @_; $self->{zero} = time; return }
sub now  { my ($self) = @_; return time - $self->{zero} }

sub run {
    my (@devices) = @_;
    $| = 1;
    my $next = time;
    while (1) {
        open my $file, '<', '/proc/net/dev' or die "/proc/net/dev: $!\n";
        my %counted = map { /^\s*(\S+):\s*(\d+)(?:\s+\d+){7}\s+(\d+)/ ? ($1 => "$2 $3") : () }
            <$file>;
        printf "%.6f %s\n", time, join ' ', map { $counted{$_} // '0 0' } @devices;
        $next += EVERY;
        # Late ones are not made up for.
        my $now = time;
        $next = $now + EVERY / 2 if $next < $now + EVERY / 2;
        sleep $next - $now;
    }
}

sub stop {
    my ($self, $direction) = @_;
    $self->{lab}->reap($self->{pid});
    open my $file, '<', "$self->{out}" or die "$self->{out}: $!\n";
    my ($before, @series);
    while (my $line = <$file>) {
        last if $line !~ /\n/;
        my ($at, @counts) = split ' ', $line;
        my @bytes = @counts[ map { 2 * $_ + ($direction eq 'sent') } 0 .. $#counts / 2 ];
        my $now = [$at, @bytes];
        push @series, [$at - $self->{zero},
            map { ($now->[$_] - $before->[$_]) / 1e6 / ($at - $before->[0]) } 1 .. $#$now]
            if $before;
        $before = $now;
    }
    return grep { $_->[0] >= 0 } @series;
}

1;
