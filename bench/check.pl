#!/usr/bin/perl

# Check: a short set of figures which are the same each time, compared with
# those of bench/expected.txt.
#
#   rate ...     MB/s of a download or upload over two paths
#   stall        seconds that nothing comes when one of them goes, the middle of
#                24 times
#   time ...     nanoseconds that httpd takes for a request, in user space and in
#                the kernel: in virtual time these are instructions
#   calls ...    system calls of httpd for a request
#
# For a guest in virtual time: see docs/benchmarks.md.  What it found is in
# check.txt, in the form of expected.txt; the exit status is 1 if a figure
# differs from the expected one by more than 2 %, or is in one list only.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../t/lib";
use List::Util qw(min);
use Time::HiRes qw(sleep time);
use Bench;
use Bench::Cost;
use Bench::Origin;
use Bench::Requests;
use Bench::Server;
use Bench::Wan;
use MPTCP::Client;

use constant TOLERANCE => 0.02;

if (!MPTCP::Sandbox::inside()) {
    my $why = Bench::Wan::prepare('cubic');
    die "bench: $why\n" if $why;
}
my $bench = Bench->begin('check');
my (@names, %value);

paths();
proxied_path();
listeners();
prefork();
workers();
write_all();
exit($ENV{UPDATE} ? 0 : compare());

sub note {
    my ($name, $format, $value) = @_;
    push @names, $name;
    $value{$name} = show($name, $format, $value);
    return;
}

sub show {
    my ($name, $format, $value) = @_;
    my $text = sprintf $format, $value;
    $bench->say("$name $text");
    return $text;
}

# ---- Paths ------------------------------------------------------------------

sub paths {
    my ($file, undef, $md5) = Bench::random_file(12e6);
    my $lab = Bench::Wan->lab('dsl+dsl');
    my %more = (files => $file =~ s{/[^/]*$}{}r, sink => '127.0.0.1:8080');
    Bench::Origin::start(lab => $lab, ns => 'server', port => 8080, md5 => 1);
    my $server = Bench::Server->start('mod_mptcp', lab => $lab, ns => 'server', port => 80, %more);
    my %client = (lab => $lab, ns => 'client', mptcp => 1, md5 => 1,
        host => $lab->address('server', 1), port => 80);

    rate('download', sub {
        my $r = MPTCP::Client::get(%client, path => '/file');
        return intact($r, $r->{md5}, $md5) / $r->{seconds} / 1e6;
    });
    rate('upload', sub {
        my $r = MPTCP::Client::get(%client, path => '/sink', upload => $file, keep => 1);
        return intact($r, $r->{body} =~ /"md5":"(\w+)"/, $md5, 12e6) / $r->{seconds} / 1e6;
    });
    # A stall is made of the kernel's timers: 0.22 s, 0.26, 0.41 or more, as they
    # happen to stand; most are 0.26.
    my @stalls;
    for my $path ((1, 2) x 12) {
        my $transfer = MPTCP::Client->start(%client, path => '/file');
        $transfer->wait_bytes(4e6);
        $lab->cut($path);
        my $r = $transfer->wait;
        intact($r, $r->{md5}, $md5);
        push @stalls, $r->{longest_stall};
        $lab->restore($path);
        sleep 1;
    }
    $bench->say('stalls ' . join ' ', map { sprintf '%.3f', $_ } sort { $a <=> $b } @stalls);
    note('stall', '%.3f', Bench::median(@stalls));
    return;
}

sub proxied_path {
    my ($file, undef, $md5) = Bench::random_file(12e6);
    my $lab = Bench::Wan->lab('dsl+dsl', ends => ['proxy', 'backend']);
    $lab->add_host('user');
    $lab->add_path(9, ['user', 'u9'], ['proxy', 'p9']);
    Bench::Origin::start(lab => $lab, ns => 'backend', port => 80, mptcp => 1, file => $file);
    my $proxy = Bench::Server->start('mod_mptcp', lab => $lab, ns => 'proxy', port => 80,
        backend => $lab->address('backend', 1) . ':80');
    rate('proxied', sub {
        my $r = MPTCP::Client::get(lab => $lab, ns => 'user', md5 => 1, path => '/file',
            host => $lab->address('proxy', 9), port => 80);
        return intact($r, $r->{md5}, $md5) / $r->{seconds} / 1e6;
    });
    return;
}

# The middle of five transfers: one of ten is some percent slower.
sub rate {
    my ($name, $transfer) = @_;
    return note("rate $name", '%.3f', Bench::median(map { $transfer->() } 1 .. 5));
}

# The bytes, if they are those.
sub intact {
    my ($r, $got, $want, $bytes) = @_;
    die "bench: not intact: $r->{error}\n" if $r->{error} ne '' || $got ne $want;
    return $bytes // $r->{bytes};
}

# ---- Requests ---------------------------------------------------------------

sub listeners {
    my $lab = MPTCP::Lab->new;
    for my $case (Bench::Cost::cases('absent', 'unused', 'listen tcp', 'listen mptcp', 'log mptcp')) {
        my $name = $case->{name};
        # one thread, so that none wakes another; see timed(). Twice: where its
        # memory happens to lie is some percent, too, now and then
        my @times;
        for (1, 2) {
            my $httpd = Bench::Cost::httpd($lab, $case, mpm => 'prefork');
            $httpd->start or die $httpd->error_log;
            push @{ $times[$_] }, timed($httpd->pid, protocol => $case->{protocol}, kept => $_)
                for 1, 0;
            $httpd->stop;
        }
        note("time $name kept", '%.0f', min($times[1]->@*));
        note("time $name new", '%.0f', min($times[0]->@*));
        for my $kept (1, 0) {
            my $calls = Bench::Cost::system_calls($lab, $case, $kept, 50, 250, mpm => 'prefork');
            note("calls $name " . ($kept ? 'kept' : 'new'), '%.2f', $calls->{all});
        }
    }
    return;
}

# What a new connection costs prefork, which waits once more for its first bytes
# where they are not awaited in the kernel (TCP_DEFER_ACCEPT, cleared on MPTCP
# listeners). Over a path, so that what is sent takes time to arrive.
sub prefork {
    my $lab = Bench::Wan->lab('dsl+dsl');
    my ($plain) = Bench::Cost::cases('absent');
    my ($listen) = Bench::Cost::cases('listen tcp');
    for my $case (['deferred', $plain], ['not deferred', { %$plain, conf => 'AcceptFilter http none' }],
        ['listen', $listen], ['mptcpize', $plain, before => [qw(mptcpize run)]])
    {
        my ($name, $what, @more) = @$case;
        my $httpd = Bench::Cost::httpd($lab, $what, mpm => 'prefork', ns => 'server',
            address => $lab->address('server', 1), @more);
        $httpd->start or die $httpd->error_log;
        note("time prefork $name new", '%.0f', timed($httpd->pid, in => [$lab, 'client'],
            host => $lab->address('server', 1), protocol => 'tcp', kept => 0));
        $httpd->stop;
    }
    return;
}

# A proxy by each way, with a connection to its backend for each request and
# with a pooled one; both on one host.
sub workers {
    my $lab = MPTCP::Lab->new;
    $lab->add_host('host');
    my $one = "StartServers 1\nServerLimit 1\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60";
    my ($file) = Bench::random_file(0);
    open my $out, '>', $file or die "$file: $!\n";
    print {$out} 'x' x 1000;
    close $out or die "$file: $!\n";
    my $backend = Bench::Server->start('mod_mptcp', lab => $lab, ns => 'host', port => 7000,
        files => $file =~ s{/[^/]*$}{}r, conf => $one);
    my %kind = (off => 'httpd', loaded => 'mod_mptcp', on => 'mod_mptcp', mptcpize => 'mptcpize', trunk => 'trunk');
    my $port = 8000;
    for my $way (grep { defined Bench::Server::version($kind{$_}) } qw(off loaded on mptcpize trunk)) {
        for my $pool ('new', 'pooled') {
            my $proxy = Bench::Server->start($kind{$way}, lab => $lab, ns => 'host',
                port => ++$port, backend => '127.0.0.1:7000', conf => $one, mptcp => $way !~ /off|loaded/,
                worker => $pool eq 'new' ? 'disablereuse=On' : '');
            my $before = $lab->counter('host', 'MPTcpExtMPCapableSYNTX');
            # trunk's, which not everybody has, is only said.
            ($way eq 'trunk' ? \&show : \&note)->("time proxied $way $pool", '%.0f',
                timed($proxy->pid, in => [$lab, 'host'], port => $port, protocol => 'tcp', kept => 1));
            my $made = $lab->counter('host', 'MPTcpExtMPCapableSYNTX') - $before;
            die "bench: $way, $pool: $made MPTCP connections\n"
                if $way =~ /off|loaded/ ? $made : !$made;
            $proxy->stop;
        }
    }
    return;
}

# Nanoseconds a request, the least of twelve times: how often event's threads wake each
# other is chance, and takes up to 8 %.
sub timed {
    my ($pid, %o) = @_;
    my $in = delete $o{in};
    my $make = sub {
        my ($count) = @_;
        return Bench::Requests::make(%o, count => $count) if !$in;
        my ($lab, $ns) = @$in;
        my @arguments = (%o, count => $count);
        $lab->run($ns, $^X, (map {"-I$_"} @INC), '-MBench::Requests', '-e',
            'Bench::Requests::make(@ARGV)', @arguments);
        return;
    };
    $make->(100);
    my @times;
    for (1 .. 12) {
        my $before = Bench::Requests::processor_time($pid);
        $make->(200);
        push @times, (Bench::Requests::processor_time($pid) - $before) / 200;
    }
    return min(@times);
}

# ---- Comparing --------------------------------------------------------------

sub write_all {
    my $name = Bench::results() . '/check.txt';
    open my $file, '>', $name or die "$name: $!\n";
    print {$file} "# make bench-check UPDATE=1, Linux ", Bench::kernel(), "\n",
        map { "$_ $value{$_}\n" } @names;
    close $file or die "$name: $!\n";
    return;
}

sub compare {
    my $name = "$FindBin::Bin/expected.txt";
    open my $file, '<', $name or die "$name: $!\n";
    my %expected = map { /^([^#].*) (\S+)$/ ? ($1 => $2) : () } <$file>;
    my $differ = 0;
    for my $name (@names, grep { !exists $value{$_} } sort keys %expected) {
        my ($now, $then) = ($value{$name}, delete $expected{$name});
        next if defined $now && defined $then && abs($now - $then) <= TOLERANCE * $then;
        $differ++;
        $bench->say("differs: $name is " . ($now // 'missing') . ', expected '
            . ($then // 'nothing') . (defined $now && $then
            ? sprintf ', %+.1f %%', 100 * ($now / $then - 1) : ''));
    }
    $bench->say(@names . " figures, $differ of them not as expected");
    return $differ ? 1 : 0;
}
