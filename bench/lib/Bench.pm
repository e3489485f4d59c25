package Bench;

# What every benchmark needs: namespaces, servers to compare, results.
#
#   my $bench = Bench->begin('paths');       # first of all
#   $bench->kinds                            # the servers that are here
#   $bench->write('paths', [qw(server rate)], @rows);
#   $bench->end;
#
# Environment:
#   SHORT=1               a smoke test: little of everything, into
#                         bench/results.short
#   CONGESTION=system     the congestion control that this system prefers
#                         instead of reno, see MPTCP::Lab
#   MPTCP_BENCH_SERVERS   only these: 'mod_mptcp nginx'
# and those that name the binaries, see Bench::Server.

use strict;
use warnings;
use Cwd ();
use Digest::MD5 ();
use Digest::SHA ();
use File::Basename qw(dirname);
use JSON::PP ();
use List::Util qw(max sum);
use POSIX ();
use Bench::Server;
use MPTCP::Httpd;
use MPTCP::Lab;

my $TOP = dirname(dirname(Cwd::abs_path(__FILE__)));

sub short   { return ($ENV{SHORT} // '') =~ /^(?:|0|no)$/ ? 0 : 1 }
sub results { return "$TOP/results" . (short() ? '.short' : '') }

# Goes on inside namespaces of its own.
sub begin {
    my ($class, $part) = @_;
    MPTCP::Lab->enter;
    $| = 1;
    my $why = MPTCP::Lab::no_mptcp();
    die "bench: $why\n" if $why;
    -e MPTCP::Httpd::module_file() or die "bench: no module built; make it first\n";
    mkdir results();
    my $self = bless { part => $part, started => time, load => load() }, $class;
    $self->say("== $part" . (short() ? ' (short)' : '') . ", load $self->{load}");
    for my $kind (Bench::Server::kinds()) {
        $self->say(Bench::Server::title($kind) . ': '
            . (Bench::Server::version($kind) // 'absent, ' . Bench::Server::hint($kind)));
    }
    return $self;
}

sub say { my ($self, $text) = @_; print "$text\n"; return }

# Those of the wanted kinds that are here; all of them if none is named.
sub kinds {
    my ($self, @wanted) = @_;
    my %only = map { $_ => 1 } split ' ', $ENV{MPTCP_BENCH_SERVERS} // '';
    return grep { defined Bench::Server::version($_) && (!%only || $only{$_}) }
        @wanted ? @wanted : Bench::Server::kinds();
}

# new() of a laboratory, with the congestion control that is asked for.
sub congestion {
    return ($ENV{CONGESTION} // '') eq 'system' ? (congestion => undef) : ();
}

# Two hosts, announcements and limits such that each path is used.
sub paths {
    my ($self, $rates, %o) = @_;
    my $lab = MPTCP::Lab->two_paths(paths => scalar @$rates, rate => $rates, congestion(), %o);
    my ($client, $server) = ($o{client} // 'client', $o{server} // 'server');
    $lab->limits($_, subflows => 8, add_addr_accepted => 8) for $client, $server;
    $lab->endpoint($server, $lab->address($server, $_), dev => "s$_", 'signal')
        for 2 .. @$rates;
    return $lab;
}

# A file of random bytes, because a checksum is to find pieces exchanged:
# (name, SHA-256, MD5).
sub random_file {
    my ($bytes) = @_;
    my $dir = File::Temp->newdir('bench-XXXXXX', TMPDIR => 1, CLEANUP => 0);
    chmod 0755, $dir;
    my $name = "$dir/file";
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    open my $file, '>:raw', $name or die "$name: $!\n";
    my ($sha256, $md5) = (Digest::SHA->new(256), Digest::MD5->new);
    while ($bytes > 0) {
        my $count = read $random, my $block, $bytes < 1e6 ? $bytes : 1e6;
        $count or die "/dev/urandom: $!\n";
        $_->add($block) for $sha256, $md5;
        print {$file} $block;
        $bytes -= $count;
    }
    close $file or die "$name: $!\n";
    return ($name, $sha256->hexdigest, $md5->hexdigest);
}

# ---- Results ----------------------------------------------------------------

# Writes NAME.csv: the names of the columns, and a hash for each row.
sub write {
    my ($self, $name, $columns, @rows) = @_;
    my $path = results() . "/$name.csv";
    open my $file, '>', $path or die "$path: $!\n";
    print {$file} join(',', @$columns), "\n";
    for my $row (@rows) {
        my @values = map { $_ // '' } @$row{@$columns};
        /[,"\n]/ and die "bench: '$_' does not fit into $name.csv\n" for @values;
        print {$file} join(',', @values), "\n";
    }
    close $file or die "$path: $!\n";
    return;
}

# Reads one; an empty list where there is none.
sub table {
    my ($name) = @_;
    open my $file, '<', results() . "/$name.csv" or return;
    chomp(my ($head, @lines) = <$file>);
    my @columns = split /,/, $head;
    return map { my %row; @row{@columns} = split /,/, $_, -1; \%row } @lines;
}

# Writes PART.json, on what and how the part was measured.
sub end {
    my ($self, %more) = @_;
    my ($system, undef, $release, undef, $machine) = POSIX::uname();
    my $congestion = ($ENV{CONGESTION} // '') eq 'system' ? read_line(
        '/proc/sys/net/ipv4/tcp_congestion_control') : 'reno';
    my %meta = (
        part => $self->{part}, seconds => time - $self->{started},
        date => POSIX::strftime('%Y-%m-%d', gmtime),
        system => "$system $release $machine", processor => processor(),
        congestion => $congestion, load_before => $self->{load}, load_after => load(),
        servers => { map { $_ => Bench::Server::version($_) } Bench::Server::kinds() },
        %more,
    );
    my $path = results() . "/$self->{part}.json";
    open my $file, '>', $path or die "$path: $!\n";
    print {$file} JSON::PP->new->ascii->canonical->pretty->encode(\%meta);
    close $file or die "$path: $!\n";
    return;
}

sub meta {
    my ($part) = @_;
    open my $file, '<', results() . "/$part.json" or return;
    local $/;
    return JSON::PP->new->decode(<$file>);
}

# '6.12' of this kernel's release.
sub kernel {
    my ($release) = (POSIX::uname())[2] =~ /^(\d+\.\d+)/;
    return $release;
}

sub load { return (split ' ', read_line('/proc/loadavg'))[0] }

sub processor {
    open my $file, '<', '/proc/cpuinfo' or return 'unknown';
    my @names = map { /^model name\s*:\s*(.*?)\s*$/ ? $1 : () } <$file>;
    return @names ? @names . ' x ' . $names[0] : 'unknown';
}

sub read_line {
    my ($name) = @_;
    open my $file, '<', $name or return '';
    chomp(my $line = <$file> // '');
    return $line;
}

sub mean { return sum(@_) / @_ }

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return if !@sorted;
    return ($sorted[ $#sorted / 2 ] + $sorted[ @sorted / 2 ]) / 2;
}

1;
