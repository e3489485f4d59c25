#!/usr/bin/perl

# What tools/demo shows, once the module is built.  It prints what it measures
# and exits with 0 only if, by the kernel's own counters, two paths really were
# used, and used well.
#
#   --svg FILE   draws the direct download whose second path is cut

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../t/lib";
use Digest::SHA ();
use Getopt::Long qw(GetOptions);
use POSIX ();
use Time::HiRes qw(time);
use MPTCP::Lab;
use MPTCP::Httpd;
use MPTCP::Client;
use MPTCP::RatePicture;

use constant {
    MEGABYTE   => 1e6,
    SIZE       => 30e6,       # bytes of the file; 5 s over one path
    CUT_AFTER  => 12e6,       # bytes
    RATE       => '50mbit',   # of each path
    DOWNLOADS  => 3,          # by MPTCP; the median counts
    RATIO      => 1.85,       # of two paths to one, at least
    STALL      => 1.0,        # seconds, at most, when a path is cut
};

MPTCP::Lab->enter;
GetOptions('svg=s' => \my $svg) && !@ARGV or die "usage: tools/demo [--svg FILE]\n";
$| = 1;
my $tty = -t STDOUT;
my @failures;
my $checksum;

if (my $why = MPTCP::Lab::no_mptcp()) {
    print STDERR "tools/demo: $why\n";
    exit 1;
}

introduce();
direct();
proxied();

if (@failures) {
    print "\nFAILED:\n", map { "  $_\n" } @failures;
    exit 1;
}
print "\nBoth paths were used, by the kernel's counters, and no byte was lost.\n";
exit 0;

# ---- The two parts ----------------------------------------------------------

sub introduce {
    my ($system, undef, $release, undef, $machine) = POSIX::uname();
    my $mpm = $ENV{MPTCP_MPM} // 'event';
    print <<"END";
mod_mptcp: one server, two paths
Measured on $system $release $machine, ${\ MPTCP::Httpd::version() }, MPM $mpm.
Hosts are network namespaces; between two of them are two paths of 50 Mbit/s each.
END
    return;
}

sub direct {
    my $lab = MPTCP::Lab->two_paths(rate => RATE);
    $lab->limits('client', subflows => 2, add_addr_accepted => 2);
    $lab->limits('server', subflows => 2);
    $lab->endpoint('server', $lab->address('server', 2), dev => 's2', 'signal');

    my $httpd = serve($lab, 'server', conf => "MPTCPListen 80\n");
    make_file($httpd);

    heading("A download from httpd, which has 'MPTCPListen 80' for 'Listen 80'");
    my %part = (
        name => 'direct', lab => $lab, connects => 'client', accepts => 'server',
        request => { lab => $lab, ns => 'client', host => $lab->address('server', 1) },
    );
    my $tcp = measure(\%part, 'plain TCP', mptcp => 0, times => 1);
    measure(\%part, 'MPTCP', mptcp => 1, times => DOWNLOADS, to => $tcp);
    my $picture = $svg && { samples => [] };
    my $run = cut(\%part, mptcp => 1, picture => $picture);
    draw($picture, $run, $tcp) if $picture;
    return;
}

# A third host, the user, has one fast link to the proxy, and knows only plain
# TCP; the two paths are between the proxy and its backend.
sub proxied {
    my $lab = MPTCP::Lab->two_paths(rate => RATE, client => 'proxy', server => 'backend');
    $lab->add_host('user');
    $lab->add_path(3, ['user', 'u3'], ['proxy', 'p3']);
    $lab->limits('proxy', subflows => 2, add_addr_accepted => 2);
    $lab->limits('backend', subflows => 2);
    $lab->endpoint('backend', $lab->address('backend', 2), dev => 's2', 'signal');

    my $backend = serve($lab, 'backend', conf => "MPTCPListen 80\n");
    make_file($backend);
    my $address = $lab->address('backend', 1);
    my $conf = "Listen 80\nProxyPass / http://$address/";
    my $proxy = serve($lab, 'proxy', conf => "$conf\n", load => ['proxy', 'proxy_http']);
    # No connection to the backend is left from one download to the next, so
    # that each one's joins can be counted.
    my $restart = sub { $proxy->restart or give_up('the proxy did not restart', $proxy) };

    heading("The same through mod_proxy: 'ProxyPass / http://$address/ multipathtcp=On'");
    my %part = (
        name => 'proxied', lab => $lab, before => $restart, connects => 'proxy', accepts => 'backend',
        request => { lab => $lab, ns => 'user', host => $lab->address('proxy', 3) },
    );
    my $tcp = measure(\%part, 'plain TCP', mptcp => 0, times => 1);
    $proxy->set_conf("$conf multipathtcp=On\n");
    measure(\%part, 'MPTCP', mptcp => 0, times => DOWNLOADS, to => $tcp);
    cut(\%part, mptcp => 0);
    return;
}

sub serve {
    my ($lab, $ns, %o) = @_;
    my $httpd = MPTCP::Httpd->new(lab => $lab, ns => $ns, %o);
    $httpd->start or give_up("httpd in '$ns' did not start", $httpd);
    return $httpd;
}

# Random, because the checksum is to find any two pieces exchanged.
sub make_file {
    my ($httpd) = @_;
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    my $contents = '';
    while (length $contents < SIZE) {
        read $random, $contents, SIZE - length $contents, length $contents
            or die "/dev/urandom: $!\n";
    }
    $httpd->write_file('file', $contents);
    $checksum = Digest::SHA::sha256_hex($contents);
    return;
}

# The one download of which each path's bytes were noted.
sub draw {
    my ($picture, $run, $tcp) = @_;
    my ($system, undef, $release) = POSIX::uname();
    my $rate = RATE =~ s/mbit/ Mbit\/s/r;
    MPTCP::RatePicture::write($svg,
        samples  => $picture->{samples},
        names    => ['path 1', 'path 2'],
        mark     => [$picture->{cut} - $picture->{samples}[0][0], 'path 2 is cut'],
        line     => [$tcp->{path}[0] / $tcp->{bytes} * $tcp->{rate}, 'plain TCP over one path'],
        title    => 'One download from httpd with MPTCPListen, over two paths',
        subtitle => sprintf('What the server sent on each path of %s. No byte was lost; the longest'
            . ' pause was %.2f s.', $rate, $run->{longest_stall}),
        note     => "Drawn by tools/demo --svg: $system @{[$release =~ /^(\d+\.\d+)/]}, " . MPTCP::Httpd::version() . '.');
    return;
}

# ---- Measuring --------------------------------------------------------------

sub heading {
    my ($title) = @_;
    print "\n$title\n\n";
    printf "  %-26s %7s %7s %9s %10s %10s\n", '', 'MB/s', 'ratio', 'subflows', 'path 1', 'path 2';
    return;
}

# One line of the table, of the median of some downloads.  Returns that one.
#   to     the one that the ratio refers to; then two paths are expected
sub measure {
    my ($part, $what, %o) = @_;
    my @runs;
    for my $n (1 .. $o{times}) {
        my $label = $o{times} > 1 ? "$what ($n of $o{times})" : $what;
        push @runs, watched($part, $label, sub { download($part, $label, %o) });
    }
    my $run = (sort { $a->{rate} <=> $b->{rate} } @runs)[ $#runs / 2 ];
    my $ratio = $o{to} ? $run->{rate} / $o{to}{rate} : 1;
    line($what, $run, $ratio);

    my $name = "$part->{name}, $what";
    check($_->{error} eq '' && $_->{sha256} eq $checksum, "$name: not intact $_->{error}") for @runs;
    return $run if !$o{to};
    for (@runs) {
        check($_->{joins_sent} > 0, "$name: no join was answered (MPJoinSynAckRx)");
        check($_->{joins_accepted} > 0, "$name: no join was completed (MPJoinAckRx)");
        check($_->{path}[1] > SIZE / 4, "$name: the second path carried little");
    }
    check($ratio >= RATIO, sprintf '%s: ratio %.2f, less than %.2f', $name, $ratio, RATIO);
    return $run;
}

# One more line: what it is like when the second path goes while in use.
sub cut {
    my ($part, %o) = @_;
    my $lab = $part->{lab};
    my $what = sprintf 'path 2 cut after %d MB', CUT_AFTER / MEGABYTE;
    my $run = watched($part, $what, sub {
        sample($part, $o{picture});
        my $download = begin($part, $what, %o);
        $download->wait_bytes(CUT_AFTER);
        $lab->cut(2);
        $o{picture}{cut} = time if $o{picture};
        return $download->wait;
    });
    $lab->restore(2);
    line($what, $run);

    my $intact = $run->{error} eq '' && $run->{sha256} eq $checksum;
    printf "  %-26s longest stall %.2f s; finished, SHA-256 %s\n", '', $run->{longest_stall},
        $intact ? 'as it should be' : "WRONG: $run->{bytes} bytes, $run->{error}";
    my $name = "$part->{name}, $what";
    check($intact, "$name: not intact $run->{error}");
    check($run->{path}[1] > MEGABYTE, "$name: the second path was not in use");
    check($run->{longest_stall} < STALL, sprintf '%s: stalled for %.2f s', $name, $run->{longest_stall});
    return $run;
}

# Notes what the paths have carried so far, seven times a second at most.
sub sample {
    my ($part, $picture) = @_;
    my $now = time;
    return if !$picture || @{ $picture->{samples} } && $now - $picture->{samples}[-1][0] < 0.15;
    my $bytes = path_bytes($part);
    # they were read somewhen meanwhile
    push @{ $picture->{samples} }, [($now + time) / 2, @$bytes];
    return;
}

sub path_bytes {
    my ($part) = @_;
    my $devices = $part->{lab}->capture($part->{accepts}, 'cat', '/proc/net/dev');
    return [map { $devices =~ /^ *s$_:(?: +\d+){8} +(\d+)/m } 1, 2];
}

sub download { return begin(@_)->wait }

sub begin {
    my ($part, $what, %o) = @_;
    return MPTCP::Client->start(%{ $part->{request} }, port => 80, path => '/file',
        mptcp => $o{mptcp}, on_progress => sub {
            progress($what, $_[0]);
            sample($part, $o{picture});
        });
}

# Runs something that returns a client's result, and adds to that what the
# kernel counted meanwhile: joins at either end, bytes sent on either path.
sub watched {
    my ($part, $what, $code) = @_;
    $part->{before}->() if $part->{before};
    my $before = observe($part);
    my $run = $code->();
    my $after = observe($part);
    progress();
    $run->{$_} = $after->{$_} - $before->{$_} for qw(joins_sent joins_accepted);
    $run->{path} = [map { $after->{path}[$_] - $before->{path}[$_] } 0, 1];
    return $run;
}

sub observe {
    my ($part) = @_;
    my $lab = $part->{lab};
    return {
        joins_sent     => $lab->counter($part->{connects}, 'MPTcpExtMPJoinSynAckRx'),
        joins_accepted => $lab->counter($part->{accepts}, 'MPTcpExtMPJoinAckRx'),
        path => path_bytes($part),
    };
}

# ---- Printing ---------------------------------------------------------------

sub line {
    my ($what, $run, $ratio) = @_;
    printf "  %-26s %7.2f %7s %9d %7.1f MB %7.1f MB\n", $what, $run->{rate} / MEGABYTE,
        defined $ratio ? sprintf('%.2f', $ratio) : '', 1 + $run->{joins_accepted},
        map { $_ / MEGABYTE } @{ $run->{path} };
    return;
}

# A line that is written over, on a terminal only; without arguments: removes it.
sub progress {
    my ($what, $bytes) = @_;
    return if !$tty;
    print "\r\e[K";
    printf '  %s: %.1f of %d MB', $what, $bytes / MEGABYTE, SIZE / MEGABYTE if defined $what;
    return;
}

sub check {
    my ($holds, $message) = @_;
    push @failures, $message if !$holds && !grep { $_ eq $message } @failures;
    return;
}

sub give_up {
    my ($message, $httpd) = @_;
    print STDERR "tools/demo: $message:\n", $httpd->error_log;
    exit 1;
}
