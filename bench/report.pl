#!/usr/bin/perl

# Report: report.md and its plots, of what the other parts have left in the
# directory of results; parts that were not run are named as missing.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../t/lib";
use List::Util qw(max min sum uniq);
use Bench;
use Bench::Plot;
use Bench::Server;
use Bench::Wan;

my %COLOR = (
    httpd => '#999999', mod_mptcp => '#0072b2', mod_mptcp_buffer => '#6fb1e0', mptcpize => '#e69f00', trunk => '#d55e00',
    nginx => '#009e73', haproxy => '#cc79a7', lighttpd => '#4d4d4d',
);
my ($PATH1, $PATH2) = ('#0072b2', '#f0a830');    # of one transfer
my @KINDS = Bench::Server::kinds();
my @ORDER = map { $_ eq 'mod_mptcp' ? ($_, 'mod_mptcp_buffer') : $_ } @KINDS;

my $results = Bench::results();
my @text;
introduce();
wan();
tune();
roam();
paths();
cut();
reload();
cost();
proxy();
scale();
open my $report, '>:utf8', "$results/report.md" or die "$results/report.md: $!\n";
print {$report} map { "$_\n" } @text;
close $report or die "$results/report.md: $!\n";
print "$results/report.md\n";
exit 0;

# ---- Words ------------------------------------------------------------------

sub para { push @text, @_, ''; return }

sub table {
    my ($head, @rows) = @_;
    my @align = ('---', ('---:') x (@$head - 1));
    para(map { '| ' . join(' | ', @$_) . ' |' } $head, \@align, @rows);
    return;
}

sub picture { my ($name, $what) = @_; para("![$what]($name.svg)"); return }

# Heading of a part, and how it was measured; false if it was not.
sub part {
    my ($title, $part, @say) = @_;
    para("## $title");
    my $meta = Bench::meta($part);
    if (!$meta) {
        para("Not measured here (`make bench-$part`).");
        return;
    }
    para(@say) if @say;
    para("Run again: `make bench-$part`. Measured in " . minutes($meta->{seconds})
        . ", load average before $meta->{load_before}, after $meta->{load_after}.");
    return $meta;
}

sub minutes { my ($s) = @_; return $s < 90 ? "$s s" : sprintf '%.0f minutes', $s / 60 }

# For figures.
sub measured_on {
    my ($meta, $more) = @_;
    my $short = Bench::short() ? 'SHORT RUN. ' : '';
    return ucfirst $short . join ', ', grep { defined && length } $more,
        "hosts are namespaces of one machine", $meta->{system} =~ s/ x86_64//r,
        $meta->{processor}, "congestion control $meta->{congestion}", $meta->{date};
}

sub title { my ($kind) = @_; return Bench::Server::title($kind) }
sub ordered { my %here = map { $_ => 1 } @_; return grep { $here{$_} } @ORDER }
sub select_rows { my ($rows, %want) = @_;
    return grep { my $row = $_; !grep { $row->{$_} ne $want{$_} } keys %want } @$rows }
sub median_of { my ($column, @rows) = @_; return Bench::median(map { $_->{$column} } @rows) }
sub formatted { my ($format, $value) = @_; return defined $value && $value ne '' ? sprintf $format, $value : '-' }
sub grouped { return Bench::Plot::Panel::grouped(@_) }

sub introduce {
    my ($meta) = grep { $_ } map { Bench::meta($_) } qw(paths cut reload cost proxy scale),
        map { "wan-$_" } kernels('wan');
    $meta or die "bench: nothing in $results\n";
    para('# mod_mptcp beside other servers');
    para('Written by `make bench-report` from the numbers beside it; how to run all of it,',
        'and what the parts are, is in [docs/benchmarks.md](../../docs/benchmarks.md).');
    para('**This was a short run: it shows that the benchmarks work, and nothing else.**')
        if Bench::short();
    table(['', 'measured on'],
        ['system', $meta->{system}], ['processor', $meta->{processor}],
        ['congestion control', "$meta->{congestion}, of every host and every server"],
        ['date', $meta->{date}],
        map { [title($_), $meta->{servers}{$_} // 'absent'] } @KINDS);
    my @busy = grep { my $m = Bench::meta($_); $m && $m->{load_before} > 0.5 }
        qw(paths cut reload cost proxy scale);
    para('The machine was not idle before these parts, so that absolute numbers, and the longest of'
        . ' times, are worse than they could be: ' . join(', ', @busy) . '. (What a part itself',
        'does counts in the load average after it, and before the next one.)') if @busy;
    return;
}

# ---- Wan --------------------------------------------------------------------

# Kernels that a part in virtual time was run on, the one that has most first.
sub kernels {
    my ($part) = @_;
    my @kernels = map { m{/\w+-([\d.]+)\.json$} ? $1 : () } glob "$results/$part-[0-9]*.json";
    my %rows = map { $_ => scalar(() = Bench::table("$part-$_")) } @kernels;
    return sort { $rows{$b} <=> $rows{$a} || $a cmp $b } @kernels;
}

sub wan {
    my @kernels = kernels('wan');
    para('## Paths with delay, loss and gaps');
    return para('Not measured here (`make bench-wan`).') if !@kernels;
    para(<<"END" =~ s/\n$//r);
In guests in virtual time (`make bench-wan`), which makes figures repeat: two runs
differ by 0.3 % at most where nothing is lost by chance. TCP is plain httpd
with a TCP client on either path alone; MPTCP is mod_mptcp over both. MB/s from the
client's connect() to the last byte. Sum: of both TCP rates; a larger file than
these has less of the beginning in it, and a better ratio. Share: of what both TCP
transfers, each alone, had carried after the same time; so it is free of the
beginning that each path has anyway. Queues hold 50 ms, or a path's round trip if
that is more. In brackets: seconds that both paths together need for the file.
END
    my @all = map { my $kernel = $_; map { { %$_, kernel => $kernel } } Bench::table("wan-$kernel") }
        @kernels;
    my @networks = grep { my $n = $_; grep { $_->{network} eq $n } @all } Bench::Wan::names();
    para(map { my $n = Bench::Wan::network($_); "- **$_**: $n->{title} ($n->{seconds} s)" } @networks);
    for my $kernel (@kernels) {
        my @rows = select_rows(\@all, kernel => $kernel);
        for my $congestion (uniq map { $_->{congestion} } @rows) {
            para("### Linux $kernel, $congestion");
            my @own = select_rows(\@rows, congestion => $congestion);
            wan_table($_, \@own, \@networks)
                for grep { my $d = $_; grep { $_->{direction} eq $d } @own } 'download', 'upload';
        }
        wan_others(\@rows, \@networks);
    }
    my @broken = grep { !$_->{intact} } @all;
    para(@broken ? 'Not intact: ' . join ', ', map { "$_->{network} $_->{direction} $_->{server}" } @broken
        : 'All of ' . @all . ' transfers were intact (MD5 at both ends).');
    wan_plot(\@all, $kernels[0], \@networks);
    picture('wan', 'Two paths, each alone by TCP and both by MPTCP');
    return;
}

sub wan_table {
    my ($direction, $rows, $networks) = @_;
    my $proxied = grep { $_->{via} eq 'proxied' } @$rows;
    my @heads = ('mod_mptcp', 'of the sum', 'share');
    table([$direction, 'TCP, path 1', 'TCP, path 2', @heads,
            $proxied ? map { "proxied: $_" } @heads : ()],
        map { my $network = $_;
            my %at = map { ("$_->{via} $_->{server} $_->{path}" => $_) }
                select_rows($rows, network => $network, direction => $direction);
            my @tcp = map { $at{"direct httpd $_"} // {} } 1, 2;
            !$tcp[0]{rate} ? () : [$network, (map { formatted('%.2f', $_->{rate}) } @tcp),
                map { wan_cells($at{"$_ mod_mptcp both"}, @tcp) } 'direct', $proxied ? 'proxied' : ()]
        } @$networks);
    return;
}

sub wan_cells {
    my ($row, @tcp) = @_;
    return ('-') x 3 if !$row;
    return (formatted('%.2f', $row->{rate}), sprintf('**%.2f**', $row->{rate} / ($tcp[0]{rate} + $tcp[1]{rate})),
        formatted('%.2f', $row->{share}));
}

# Others beside it: downloads.
sub wan_others {
    my ($rows, $networks) = @_;
    my @own = grep { $_->{via} eq 'direct' && $_->{direction} eq 'download' && $_->{path} eq 'both' }
        select_rows($rows, congestion => 'cubic');
    my @servers = ordered(map { $_->{server} } @own);
    return if @servers < 2;
    my @here = grep { my $n = $_; 1 < grep { $_->{network} eq $n } @own } @$networks;
    para('Beside other servers, cubic: download in MB/s, and how much of it came by the second path.',
        'nginx, HAProxy and lighttpd of Debian 12 are run by mptcpize.');
    table(['', @here], map { my $server = $_; [title($server), map {
        my ($row) = select_rows(\@own, network => $_, server => $server);
        $row ? sprintf('%.2f, %.0f %%', $row->{rate},
            100 * $row->{path2} / ($row->{path1} + $row->{path2})) : '-' } @here] } @servers);
    return;
}

sub wan_plot {
    my ($all, $kernel, $networks) = @_;
    my @rows = grep { $_->{via} eq 'direct' && $_->{direction} eq 'download' }
        select_rows($all, kernel => $kernel, congestion => 'cubic');
    my @bars = (['httpd', 1, '#999999', 'TCP, first path'], ['httpd', 2, '#bbbbbb', 'TCP, second path'],
        ['mod_mptcp', 'both', $COLOR{mod_mptcp}, 'MPTCP, both']);
    my $height = 78 * @$networks;
    my $plot = Bench::Plot->new(width => 900, height => 92 + $height + 72,
        title => 'A download over two networks at once',
        note => "Linux $kernel in virtual time, cubic, httpd 2.4 with mod_mptcp; make bench-wan");
    my $most = max map { $_->{rate} } @rows;
    my $panel = $plot->panel(left => 110, top => 76, width => 740, height => $height,
        x => [0, 1.12 * $most], y => [@$networks + 0.5, 0.5], y_names => $networks, x_label => 'MB/s');
    for my $n (0 .. $#$networks) {
        $panel->label(0, $n + 1, Bench::Wan::network($networks->[$n])->{title}, right => 5, down => -20,
            size => 10);
        for my $b (0 .. $#bars) {
            my ($server, $path, $color) = $bars[$b]->@*;
            my ($row) = select_rows(\@rows, network => $networks->[$n], server => $server, path => $path)
                or next;
            my $shift = 17 * ($b - 1) + 9;
            $panel->bar($color, $row->{rate}, $n + 1, 14, $shift);
            $panel->label($row->{rate}, $n + 1, sprintf('%.1f', $row->{rate}), right => 4,
                down => $shift + 4, size => 10);
        }
    }
    $plot->legend(16, 54, map { [@$_[3, 2]] } @bars);
    $plot->write("$results/wan.svg");
    return;
}

# ---- Tune -------------------------------------------------------------------

sub tune {
    my @kernels = kernels('tune') or return;
    para('## What can be set');
    para(<<"END" =~ s/\n$//r);
Paths on which two are less than they could be (`bench/tune.pl`, as in `make bench-wan`;
far and train are those above, farther has 200 and 300 ms): MB/s of a transfer, or the
mean of five that begin at different moments of the gaps, and the slowest and fastest
of them.
END
    for my $kernel (@kernels) {
        my @rows = Bench::table("tune-$kernel");
        for my $network (uniq map { $_->{network} } @rows) {
            my @own = select_rows(\@rows, network => $network);
            my @ways = uniq map { "$_->{congestion} $_->{way}" } @own;
            table(["$network, Linux $kernel", map { s/ /, /r } @ways], map {
                my ($setting, $path) = split / *\| */;
                [$path eq 'both' ? $setting : "TCP, path $path", map {
                    my ($congestion, $way) = split ' ';
                    tune_cell(select_rows(\@own, setting => $setting, path => $path,
                        congestion => $congestion, way => $way)) } @ways]
            } uniq map { "$_->{setting} | $_->{path}" } @own);
        }
    }
    return;
}

sub tune_cell {
    my @rates = map { $_->{rate} } @_ or return '-';
    return sprintf '%.2f', $rates[0] if @rates == 1;
    return sprintf '**%.2f** (%.2f to %.2f)', Bench::mean(@rates), min(@rates), max(@rates);
}

# ---- Roam -------------------------------------------------------------------

sub roam {
    my @kernels = kernels('roam');
    para('## Hand-overs at random moments, and cuts, on Wi-Fi and LTE');
    return para('Not measured here (`make bench-wan`).') if !@kernels;
    para(<<"END" =~ s/\n$//r);
The network is wifi+lte above. A phone downloads 2.5 MB by Wi-Fi and changes to LTE
when a random share of them has come; every second time it has both for 0.3 s, the
others neither. Stall: the longest time without a byte, of the whole ones.
END
    for my $kernel (@kernels) {
        my @rows = Bench::table("roam-$kernel");
        my %seen;
        my @groups = grep { !$seen{"@$_"}++ } map { [@$_{qw(server connection order)}] } @rows;
        table(["Linux $kernel", 'hand-overs', 'whole', 'stall, median (s)', 'longest (s)'],
            map { my ($server, $connection, $order) = @$_;
                my @own = select_rows(\@rows, server => $server, connection => $connection,
                    order => $order);
                my @whole = map { $_->{stall} } grep { $_->{intact} } @own;
                [title($server) . ", $connection, $order", scalar @own, scalar @whole,
                    formatted('%.2f', Bench::median(@whole)), formatted('%.2f', max @whole)]
            } @groups) if @rows;
        my @cuts = Bench::table("roam-cuts-$kernel");
        my @kinds = uniq map { "$_->{path} $_->{how}" } @cuts;
        table(["Linux $kernel: 12 MB, path", 'how it goes', 'whole', 'stall (s)', 'used again after (s)'],
            map { my ($path, $how) = split / /, $_, 2;
                my @own = select_rows(\@cuts, path => $path, how => $how);
                [$path == 1 ? 'Wi-Fi' : 'LTE', $how, scalar(grep { $_->{intact} } @own) . ' of ' . @own,
                    join(', ', map { formatted('%.2f', $_->{stall}) } @own),
                    join(', ', map { $_->{back} eq '' ? '-' : $_->{back} } @own)]
            } @kinds) if @cuts;
    }
    return;
}

# ---- Paths ------------------------------------------------------------------

sub paths {
    my $meta = part('Paths: several at once', 'paths', <<"END" =~ s/\n$//r) or return;
Ratio to one TCP path (plain httpd and a TCP client on the first path, in the
same rounds), median of the rounds. Each server as its documentation says to set
it up for MPTCP, otherwise as it comes. Direct: an MPTCP client, and the server
itself. Proxied: a TCP client with a fast link to the server, which is a proxy;
the paths are between it and an MPTCP backend, the same for all. An upload ends
when the receiving kernel has all of it. Every transfer was intact (SHA-256 at
both ends) unless it says otherwise. Goal: 1.95 or more of two equal paths;
MPTCP's headers leave 1.96.
END
    my @runs = Bench::table('paths');
    my @shapes = uniq map { $_->{shape} } @runs;
    my %short = ('50+50' => '2 x 50 Mbit/s', '50+10' => '50 and 10', '30+30+30' => '3 x 30');
    for my $via ('direct', 'proxied') {
        my @servers = ordered(map { $_->{server} } select_rows(\@runs, via => $via));
        table([$via, map { my $shape = $_; map { "$short{$shape}, $_" } 'down', 'up' } @shapes],
            map { my $server = $_; [title($server), map { my $shape = $_;
                map { ratio_cell(\@runs, $shape, $via, $_, $server) } 'download', 'upload' } @shapes]
            } @servers);
    }
    my @broken = grep { !$_->{intact} } @runs;
    para('Not intact: ' . join ', ', map { "$_->{server} $_->{shape} $_->{via} $_->{direction}" } @broken)
        if @broken;
    my @best = select_rows(\@runs, shape => '50+50', via => 'direct', direction => 'download',
        server => 'mod_mptcp');
    para(sprintf 'In MB/s, downloads over two paths of 50 Mbit/s: one TCP path %.2f, mod_mptcp %.2f'
        . ' (%.2f to %.2f).', median_of('rate', select_rows(\@runs, shape => '50+50', via => 'direct',
        direction => 'download', server => 'httpd')), median_of('rate', @best),
        min(map { $_->{rate} } @best), max(map { $_->{rate} } @best)) if @best;
    ratio_plot($meta, \@runs, \@shapes, \%short);
    picture('paths-ratio', 'Ratio to one TCP path');
    my @rates = Bench::table('paths-rates');
    for (['direct', 'download'], ['direct', 'upload'], ['proxied', 'download'], ['proxied', 'upload']) {
        my ($via, $direction) = @$_;
        my $name = "paths-rates-$via-$direction";
        rates_plot($name, "Two paths of 50 Mbit/s: $direction, $via", $meta,
            'first round', [select_rows(\@rates, via => $via, direction => $direction)],
            [ordered(map { $_->{server} } @rates)]) or next;
        picture($name, "Rate of each path over time, $direction, $via");
    }
    system_congestion();
    return;
}

sub ratio {
    my ($runs, $shape, $via, $direction, $server) = @_;
    my @own  = select_rows($runs, shape => $shape, via => $via, direction => $direction, server => $server);
    my @base = select_rows($runs, shape => $shape, via => $via, direction => $direction, server => 'httpd');
    return if !@own || !@base;
    return median_of('rate', @own) / median_of('rate', @base);
}

sub ratio_cell {
    my ($runs, $shape, $via, $direction, $server) = @_;
    my $ratio = ratio(@_);
    my $text = formatted('%.2f', $ratio);
    return $server eq 'mod_mptcp' ? "**$text**" : $text;
}

# The same with what the system prefers, if that was run.
sub system_congestion {
    my $meta = Bench::meta('paths-system') or return;
    my @runs = Bench::table('paths-system');
    para("### With this system's own congestion control, $meta->{congestion}");
    para("Two paths of 50 Mbit/s, direct; `make bench-paths CONGESTION=system`. It varies: the",
        'lowest and the highest round beside the median.');
    table(['', 'download', 'lowest', 'highest', 'upload', 'lowest', 'highest'],
        map { my $server = $_; [title($server), map {
            my @own = select_rows(\@runs, direction => $_, server => $server);
            my $base = median_of('rate', select_rows(\@runs, direction => $_, server => 'httpd'));
            my @ratio = map { $_->{rate} / $base } @own;
            map { formatted('%.2f', $_) } Bench::median(@ratio), min(@ratio), max(@ratio)
        } 'download', 'upload'] } ordered(map { $_->{server} } @runs));
    return;
}

sub ratio_plot {
    my ($meta, $runs, $shapes, $short) = @_;
    my @servers = grep { $_ ne 'httpd' } ordered(map { $_->{server} } @$runs);
    my $rows = 14 * @servers + 16;
    my $height = 92 + 2 * (@$shapes * $rows + 56) + 20;
    my $plot = Bench::Plot->new(width => 900, height => $height,
        title => 'Several paths at once, as a ratio to one TCP path', note => measured_on($meta,
            'median of ' . $meta->{rounds} . ' rounds'));
    my ($i, %top) = (0, direct => 92, proxied => 92 + @$shapes * $rows + 60);
    my $most = max 2.2, map { my $shape = $_; 0.1 + split /\+/, $shape } @$shapes;
    for my $via ('direct', 'proxied') {
        for my $direction ('download', 'upload') {
            my $panel = $plot->panel(left => 120 + ($direction eq 'upload' ? 395 : 0),
                top => $top{$via}, width => 360, height => @$shapes * $rows, title => "$direction, $via",
                x => [0, $most], y => [@$shapes + 0.5, 0.5], y_names => [map { $short->{$_} } @$shapes],
                y_hidden => $direction eq 'upload', x_label => 'ratio to one TCP path');
            $panel->mark_x(1);
            for my $n (0 .. $#$shapes) {
                for my $k (0 .. $#servers) {
                    my $ratio = ratio($runs, $shapes->[$n], $via, $direction, $servers[$k]) // next;
                    my $shift = 14 * ($k - $#servers / 2);
                    $panel->bar($COLOR{ $servers[$k] }, $ratio, $n + 1, 11, $shift);
                    $panel->label($ratio, $n + 1, sprintf('%.2f', $ratio), right => 4,
                        down => $shift + 4, size => 10);
                }
            }
        }
    }
    $plot->legend(16, 54, map { [title($_), $COLOR{$_}] } @servers);
    $plot->write("$results/paths-ratio.svg");
    return;
}

# A panel for each server: the rates of two paths, one on the other.
#   marks => [seconds ...]
sub rates_plot {
    my ($name, $title, $meta, $more, $rows, $servers, %o) = @_;
    my @servers = grep { my $s = $_; grep { $_->{server} eq $s } @$rows } @$servers;
    return 0 if !@servers;
    my $columns = $o{columns} // (@servers > 4 ? 3 : 2);
    $columns = @servers if @servers < $columns;
    my $lines = POSIX::ceil(@servers / $columns);
    my $wide = (900 - 60 - 20) / $columns;
    my $plot = Bench::Plot->new(width => 900, height => 92 + 175 * $lines + 18, title => $title,
        note => measured_on($meta, $more));
    my $last = max map { $_->{seconds} } @$rows;
    for my $i (0 .. $#servers) {
        my ($column, $line) = ($i % $columns, int $i / $columns);
        my @own = grep { $_->{server} eq $servers[$i] } @$rows;
        my $below = $i + $columns > $#servers;
        my $panel = $plot->panel(left => 60 + $column * $wide, top => 88 + 175 * $line,
            width => $wide - 20, height => 118, title => title($servers[$i]), x => [0, POSIX::ceil($last)],
            y => [0, 13], $below ? (x_label => 'time (s)') : (),
            $column ? (y_hidden => 1) : (y_label => 'MB/s'), y_space => 34);
        $panel->area($PATH1, map { [$_->{seconds}, 0, $_->{path1}] } @own);
        $panel->area($PATH2, map { [$_->{seconds}, $_->{path1}, $_->{path1} + $_->{path2}] } @own);
        $panel->mark_x($_) for ($o{marks} // [])->@*;
    }
    $plot->legend(16, 54, ['path 1', $PATH1], ['path 2, on top of it', $PATH2]);
    $plot->text(300, 54, "bytes on the wire, each 0.1 s$o{mark_text}", color => Bench::Plot::SOFT)
        if $o{mark_text};
    $plot->write("$results/$name.svg");
    return 1;
}

# ---- Cut --------------------------------------------------------------------

sub cut {
    my $meta = part('Cut: a path goes', 'cut', <<"END" =~ s/\n$//r) or return;
Two paths of 50 Mbit/s in use; one goes after 40 % of a transfer, because its
link goes down, or by dropping everything silently. It stays away for 10 s, or
until the transfer has ended. The longest time in which nothing arrived, in
seconds: median, and the worst after it. All transfers were intact unless it
says otherwise. Goal: 0.2 s.
END
    my @cuts = Bench::table('cut');
    my @cases = map { my $direction = $_; map { my $path = $_; map { [$direction, $path, $_] }
        'link down', 'silent' } 1, 2 } 'download', 'upload';
    @cases = grep { my ($d, $p, $h) = @$_; select_rows(\@cuts, direction => $d, path => $p, how => $h) } @cases;
    my @servers = ordered(map { $_->{server} } @cuts);
    table(['longest stall, s', map { "$_->[0], path $_->[1], $_->[2]" } @cases], map {
        my $server = $_;
        [title($server), map { my ($d, $p, $h) = @$_;
            my @own = select_rows(\@cuts, server => $server, direction => $d, path => $p, how => $h);
            @own ? sprintf '%.2f (%.2f)', median_of('stall', @own), max(map { $_->{stall} } @own) : '-'
        } @cases] } @servers);
    say_broken(@cuts);
    stall_plot($meta, \@cuts, \@cases, \@servers);
    picture('cut-stall', 'Longest stall when a path is cut');

    para('### A path that comes back');
    para("Path 2 goes for $meta->{away} s in the middle of a download, and comes back. Seconds from",
        'then until it carries half of its rate again: median, and the slowest.');
    my @backs = Bench::table('cut-back');
    table(['', 'link down', 'silent'], map { my $server = $_;
        [title($server), map { my @own = select_rows(\@backs, server => $server, how => $_);
            my @in_use = grep { $_->{back} ne '' } @own;
            !@own ? '-' : @in_use < @own ? sprintf '%d of %d times not in use', @own - @in_use, scalar @own
            : sprintf '%.2f (%.2f)', median_of('back', @own), max(map { $_->{back} } @own)
        } 'link down', 'silent'] } ordered(map { $_->{server} } @backs));
    say_broken(@backs);
    my @rates = Bench::table('cut-rates');
    for my $how ('link down', 'silent') {
        my $name = 'cut-back-' . $how =~ s/ /-/r;
        rates_plot($name, "A path that goes and comes back: $how", $meta,
            'two paths of 50 Mbit/s, first trial', [select_rows(\@rates, plot => "back $how")], \@ORDER,
            columns => 3, marks => [1, 1 + $meta->{away}],
            mark_text => '; dashed: path 2 goes, and comes back') or next;
        picture($name, "Rates while a path goes and comes back, $how");
    }

    para('### Hand-over, as a phone does it');
    para('A phone in one network of 50 Mbit/s at a time, and a server with one address beyond a',
        "router. $meta->{changes} times, once a second, the phone changes network: *make first*",
        "has both for $meta->{overlap} s, *break first* has none for that time. As a network manager",
        'does it, the address goes away, its route and its path-manager endpoint with it.',
        'Longest stall in seconds, of the worst trial, and the seconds that the whole took.');
    my @handovers = Bench::table('cut-handover');
    my @hcases = map { my $d = $_; map { [$d, $_] } 'make first', 'break first' } 'download', 'upload';
    table(['', map { "$_->[0], $_->[1]" } @hcases], map { my $server = $_;
        [title($server), map { my ($d, $o) = @$_;
            my @own = select_rows(\@handovers, server => $server, direction => $d, order => $o);
            @own ? sprintf '%.2f (%.1f in all, %d changes)', max(map { $_->{stall} } @own),
                max(map { $_->{seconds} } @own), min(map { $_->{changes} } @own) : '-'
        } @hcases] } ordered(map { $_->{server} } @handovers));
    say_broken(@handovers);
    for my $order ('make first', 'break first') {
        my $name = 'cut-handover-' . $order =~ s/ /-/r;
        my @own = select_rows(\@rates, plot => "handover download $order");
        # The wait for joins that are dropped would make the rest too narrow.
        rates_plot($name, "Ten hand-overs in one download: $order", $meta,
            'networks of 50 Mbit/s, first trial', [grep { $_->{seconds} <= 15 } @own], \@ORDER,
            columns => 1, marks => [1 .. $meta->{changes}],
            mark_text => '; dashed: a hand-over begins; path: network') or next;
        picture($name, "Rates during hand-overs, $order");
    }
    return;
}

sub say_broken {
    my @broken = grep { !$_->{intact} } @_;
    para('Failed or not intact: ' . join('; ', map { my $r = $_; join ', ', map { $r->{$_} }
        grep { defined $r->{$_} } qw(server direction path how order trial) } @broken) . '.') if @broken;
    return;
}

sub stall_plot {
    my ($meta, $cuts, $cases, $servers) = @_;
    my $columns = 2;
    my $lines = POSIX::ceil(@$cases / $columns);
    my $tall = 22 * @$servers + 8;
    my $plot = Bench::Plot->new(width => 900, height => 80 + $lines * ($tall + 70) + 10,
        title => 'When a path is cut: the longest time in which nothing arrives',
        note => measured_on($meta, 'dashed: the goal, 0.2 s; a dot for each trial; two paths of 50 Mbit/s'));
    for my $i (0 .. $#$cases) {
        my ($direction, $path, $how) = $cases->[$i]->@*;
        my ($column, $line) = ($i % $columns, int $i / $columns);
        my $panel = $plot->panel(left => 185 + 355 * $column, top => 72 + $line * ($tall + 70),
            width => 330, height => $tall, title => "$direction, path $path, $how",
            x => [0.05, 20], x_log => 1, y => [@$servers + 0.5, 0.5], y_names => [map { title($_) } @$servers],
            y_hidden => $column, x_label => 'longest stall (s)');
        $panel->mark_x(0.2);
        for my $n (0 .. $#$servers) {
            my @own = select_rows($cuts, server => $servers->[$n], direction => $direction, path => $path,
                how => $how);
            $panel->dot($COLOR{ $servers->[$n] }, $_->{stall}, $n + 1, opacity => 0.7) for @own;
            $panel->label(0.05, $n + 1, 'not measured: it uses one path only', right => 8,
                color => '#999999') if !@own;
        }
    }
    $plot->write("$results/cut-stall.svg");
    return;
}

# ---- Reload -----------------------------------------------------------------

sub reload {
    my $meta = part('Reload: connections that fail', 'reload', <<"END" =~ s/\n$//r) or return;
wrk with 32 connections, none kept alive, as fast as it goes, while the server
reloads its configuration gracefully: unchanged, or with the listener's protocol
changed between TCP and MPTCP each time. After each reload the kernel is asked
whether a new connection is what the configuration says. Goal: no error.
END
    my @rows = Bench::table('reload');
    my %failed = map { ($_ => sum(@$_{qw(connect read write timeout status)})) } @rows;
    my @groups;
    for my $server (ordered(map { $_->{server} } @rows)) {
        for my $change ('none', 'protocol') {
            my @own = select_rows(\@rows, server => $server, change => $change) or next;
            my $reloads = sum map { $_->{reloads} } @own;
            my $errors = sum map { $failed{$_} } @own;
            my $changed = sum map { $_->{changed} } @own;
            push @groups, [title($server), $change eq 'none' ? 'nothing' : 'protocol', $reloads,
                $change eq 'none' ? '-' : $changed == $reloads ? 'yes' : "$changed of $reloads",
                grouped(sum map { $_->{requests} } @own), grouped(sprintf '%.0f', median_of('rate', @own)),
                $errors, sprintf '%.2f', $errors / $reloads];
        }
    }
    table(['', 'changed', 'reloads', 'took effect', 'requests', 'requests/s', 'errors',
        'errors a reload'], @groups);
    return;
}

# ---- Cost -------------------------------------------------------------------

sub cost {
    part('Cost: what a request takes', 'cost', <<"END" =~ s/\n$//r) or return;
Instructions in user space (valgrind's callgrind) and system calls (strace) of
`httpd -X`, MPM event, for a request for a file of 1000 bytes: on a connection
that is kept, and with a connection of its own. What depends on chance (futex
calls, by which threads wake each other) is left out. Goal: loaded and unused is
like absent, and nothing is added to a request that asks for nothing. How much is
chance is to be seen between the runs without the module.
END
    my %name = (
        'absent' => 'module absent, TCP', 'unused' => 'loaded, not used, TCP',
        'listen tcp' => 'MPTCPListen, a TCP client', 'listen mptcp' => 'MPTCPListen, an MPTCP client',
        'absent log' => 'module absent, TCP, access log',
        'log tcp' => 'MPTCPListen, TCP client, log with 3 variables',
        'log mptcp' => 'MPTCPListen, MPTCP client, log with 3 variables',
        'absent again' => 'module absent, once more', 'absent third' => 'module absent, a third time',
        'env mptcp' => 'MPTCPListen, MPTCP client, MPTCPEnvVars On',
    );
    my @rows = sort { ($b->{case} =~ /^absent(?! log)/) <=> ($a->{case} =~ /^absent(?! log)/) }
        Bench::table('cost');
    my %base = map { $_->{case} => $_ } @rows;
    table(['', 'instructions, kept', 'new', 'more than absent, kept', 'new', 'system calls, kept', 'new'],
        map { my $row = $_;
            my $base = $base{ $row->{case} =~ /log/ ? 'absent log' : 'absent' } // $row;
            [$name{ $row->{case} }, (map { grouped($row->{"instructions_$_"}) } 'kept', 'new'),
            (map { sprintf '%+d', $row->{"instructions_$_"} - $base->{"instructions_$_"} } 'kept', 'new'),
            (map { sprintf '%.1f', $row->{"syscalls_$_"} } 'kept', 'new')] } @rows);
    my @calls = Bench::table('cost-syscalls');
    my @named = ('accept4', 'getsockopt', 'setsockopt', 'getsockname', 'write', 'writev', 'sendmsg');
    my %count;
    $count{"$_->{case} $_->{connection} $_->{call}"} = $_->{count} for @calls;
    para('Of those, the ones that concern sockets and logs, on a connection that is kept / new:');
    my @seen = grep { my $call = $_; grep { $_->{call} eq $call } @calls } @named;
    table(['', @seen], map { my $case = $_->{case}; [$name{$case}, map { my $call = $_;
        join ' / ', map { formatted('%.1f', $count{"$case $_ $call"} // 0) } 'kept', 'new' } @seen] } @rows);
    return;
}

# ---- Proxy ------------------------------------------------------------------

sub proxy {
    my $meta = part('Proxy: requests a second', 'proxy', <<"END" =~ s/\n$//r) or return;
wrk with 32 connections that are kept, through a proxy to an MPTCP backend, 1000
bytes each; the two processors are the limit, and everything shares them. New: a
connection to the backend for each request (`disablereuse=On`). Pooled: as
mod_proxy comes. Medians; ratio to stock httpd's TCP in the same rounds; microseconds each:
processor time of the proxy's own processes for a request.
END
    my @rows = Bench::table('proxy');
    my %name = (off => 'httpd 2.4, TCP', loaded => 'mod_mptcp loaded, TCP',
        on => 'mod_mptcp, multipathtcp=On', trunk_off => 'httpd trunk, TCP',
        trunk => 'httpd trunk, multipathtcp=On', mptcpize => 'httpd 2.4 by mptcpize');
    my @ways = grep { my $way = $_; grep { $_->{way} eq $way } @rows }
        qw(off loaded on trunk_off trunk mptcpize);
    my %rounds;
    my %off = map { ("$_->{pool} $_->{round}" => $_->{rate}) } select_rows(\@rows, way => 'off');
    table(['', map { ("$_: requests/s", 'ratio', 'lowest', 'highest', 'microseconds each', 'errors') }
        'new', 'pooled'],
        map { my $way = $_; [$name{$way}, map {
            my @own = select_rows(\@rows, pool => $_, way => $way);
            my @ratio = map { $_->{rate} / $off{"$_->{pool} $_->{round}"} } @own;
            (grouped(sprintf '%.0f', median_of('rate', @own)),
            (map { sprintf '%.2f', $_ } Bench::median(@ratio), min(@ratio), max(@ratio)),
            formatted('%.0f', median_of('cost',
                grep { defined $_->{cost} } @own)), sum(map { $_->{errors} } @own)) } 'new', 'pooled'] } @ways);
    para('Errors are those of wrk: connections that a server closed, answers other than 200; stock',
        'TCP has them as well.') if grep { $_->{errors} } @rows;
    para('An MPTCP connection costs the kernel more to open and close than a TCP one; beside',
        'others that open MPTCP connections (trunk, mptcpize) is where to look for what the',
        "module adds. All connections of the ones with MPTCP were MPTCP in the kernel's counters.")
        if !grep { $_->{way} =~ /^(?:on|trunk|mptcpize)$/ && $_->{mptcp} < $_->{opened} } @rows;
    my $plot = Bench::Plot->new(width => 900, height => 96 + 24 * @ways + 68,
        title => 'Requests a second through mod_proxy, as a ratio to stock TCP',
        note => measured_on($meta, "a dot for each of $meta->{rounds} rounds of $meta->{run} s, and the median"));
    my %color = (off => '#999999', loaded => '#777777', on => $COLOR{mod_mptcp}, trunk_off => '#e8a77a',
        trunk => $COLOR{trunk}, mptcpize => $COLOR{mptcpize});
    for my $pool ('new', 'pooled') {
        my $panel = $plot->panel(left => 215 + ($pool eq 'pooled' ? 340 : 0), top => 72, width => 310,
            height => 24 * @ways, title => $pool eq 'new' ? 'a new connection for each' : 'pooled connections',
            x => [0, 1.4], y => [@ways + 0.5, 0.5], y_names => [map { $name{$_} } @ways],
            y_hidden => $pool eq 'pooled', x_label => 'ratio to httpd 2.4, TCP');
        for my $n (0 .. $#ways) {
            my @ratio = map { $_->{rate} / $off{"$_->{pool} $_->{round}"} }
                select_rows(\@rows, pool => $pool, way => $ways[$n]);
            $panel->bar($color{ $ways[$n] }, Bench::median(@ratio), $n + 1, 16);
            $panel->dot('#222222', $_, $n + 1, radius => 2.2, opacity => 0.6) for @ratio;
        }
    }
    $plot->write("$results/proxy.svg");
    picture('proxy', 'Requests a second through mod_proxy');
    return;
}

# ---- Scale ------------------------------------------------------------------

sub scale {
    my $meta = part('Scale: live connections', 'scale', <<"END" =~ s/\n$//r) or return;
httpd with mod_mptcp (MPM event) and a client that holds so many connections, each
of which has had one request; those of MPTCP have two subflows. New connections
a second are what wrk gets meanwhile, 32 at a time. Memory is what the connections added to
httpd's processes (shared pages in shares) and to the kernel's slab (which has
both ends of each), divided by their number. Page: the status page as it comes
(100 connections shown), and all connections in JSON; medians of 5. Beside it
`ss -tniM`, which reads the same and prints it.
END
    my @rows = Bench::table('scale');
    table(['', 'connections', 'new connections/s', 'httpd, bytes each', 'kernel, bytes each', 'page, s',
        'all in JSON, s', 'connections in it', 'ss, s'],
        map { [uc $_->{protocol}, grouped($_->{connections}), grouped(sprintf '%.0f', $_->{accept}),
            (map { formatted('%.0f', $_) } @$_{qw(httpd_bytes kernel_bytes)}),
            (map { formatted('%.3f', $_) } @$_{qw(page_default page_all)}),
            formatted('%d', $_->{page_connections}), formatted('%.3f', $_->{ss})] } @rows);
    my @mptcp = select_rows(\@rows, protocol => 'mptcp');
    return if @mptcp < 2 || !grep { $_->{page_all} ne '' } @mptcp;
    my $plot = Bench::Plot->new(width => 720, height => 404, title => 'Time to look at live MPTCP connections',
        note => measured_on($meta, 'each connection has two subflows'));
    my @times = map { my $row = $_; grep { $_ ne '' } @$row{qw(page_default page_all ss)} } @mptcp;
    my $panel = $plot->panel(left => 80, top => 76, width => 610, height => 240, x_log => 1, y_log => 1,
        x => [$mptcp[0]{connections}, $mptcp[-1]{connections}],
        y => [10 ** POSIX::floor(log(min @times) / log 10), 10 ** POSIX::ceil(log(max @times) / log 10)],
        x_label => 'live MPTCP connections', y_label => 'seconds', y_space => 50);
    my @lines = (['the status page as it comes', 'page_default', $COLOR{mod_mptcp}],
        ['all connections in JSON', 'page_all', $COLOR{trunk}], ['ss -tniM', 'ss', '#555555']);
    for (@lines) {
        my ($what, $column, $color) = @$_;
        my @points = map { [$_->{connections}, $_->{$column}] } grep { $_->{$column} ne '' } @mptcp;
        $panel->line($color, @points);
        $panel->dot($color, @$_) for @points;
    }
    $plot->legend(16, 54, map { [$_->[0], $_->[2]] } @lines);
    $plot->write("$results/scale.svg");
    picture('scale', 'Time to look at live MPTCP connections');
    return;
}
