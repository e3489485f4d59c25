# No reload, start or stop of a server ends a path that a running transfer
# needs: downloads that have no other one go on whatever happens to the
# endpoint of their address. What is left in place for them goes later, and the
# log says so.

use strict;
use warnings;

use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use MPTCP::Session;
use Test::More;

MPTCP::Lab->enter;

my $lab  = MPTCP::Lab->two_paths(rate => '40mbit');
my $size = 9_000_000;

sub server {
    my (%o) = @_;
    my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', %o);
    # of the file, most is still to be read when something happens
    $httpd->set_conf("SendBufferSize 131072\n$o{conf}");
    open my $file, '>', $httpd->docroot . '/big' or die "big: $!";
    truncate $file, $size or die "big: $!";
    close $file;
    return $httpd;
}

sub configure {
    my ($httpd, @lines) = @_;
    return $httpd->set_conf(join "\n", 'SendBufferSize 131072', @lines);
}

sub starts {
    my ($httpd) = @_;
    return $httpd->start || BAIL_OUT($httpd->error_log);
}

# How many paths clients may have.
sub paths {
    my ($extra) = @_;
    return $lab->limits('client', subflows => $extra, add_addr_accepted => $extra);
}

# A download during which something happens: all of it arrives, with as many
# paths at that moment as are named.
sub arrives {
    my ($name, $what, %client) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $download = MPTCP::Client->start(lab => $lab, ns => 'client', path => '/big',
        host => '10.91.1.2', port => 80, mptcp => 1, timeout => 20, %client);
    $download->wait_bytes(500_000) or BAIL_OUT("$name: no download");
    $what->($download);
    ok(!$download->done, "$name: during a download");
    my $result = $download->wait;
    is($result->{error}, '', '    which goes on');
    is($result->{bytes}, $size, '    to its end');
    return $result;
}

sub gone {
    my ($ns, $address) = @_;
    return $lab->wait_until(25, sub { !grep {/^\Q$address\E /} $lab->endpoints($ns) });
}

my ($first, $second) = map {"MPTCPEndpoint 10.91.$_.2 dev s$_ signal"} 1, 2;

# --- The address that clients come to, at a reload

my $httpd = server(conf => "MPTCPListen 80\n$first\n$second\n");
starts($httpd);
paths(0);

# Each of these would have the kernel delete the endpoint.
for my $case (
    ['the line is dropped',           []],
    ['only dev is dropped',           ['MPTCPEndpoint 10.91.1.2 signal']],
    ['signal becomes subflow',        ['MPTCPEndpoint 10.91.1.2 dev s1 subflow']],
    ['a port is put behind it',       ['MPTCPEndpoint 10.91.1.2 dev s1 port 7080 signal']],
    ['it becomes backup, in place',   ["$first backup"]],
    )
{
    my ($name, $lines) = @$case;
    arrives($name, sub {
        configure($httpd, 'MPTCPListen 80', $second, @$lines);
        ok($httpd->graceful, "$name: a graceful reload");
    });
    configure($httpd, 'MPTCPListen 80', $first, $second);
    $httpd->graceful or BAIL_OUT($httpd->error_log);
}
my ($kept) = grep {/endpoint .*10\.91\.1\.2 .*stays/} split /\n/, $httpd->error_log;
like($kept // '', qr/1 connection\b.*ip mptcp endpoint delete id \d+/,
    'the log has said how many live by it, and how to remove it all the same');

# What is left for one goes when that has ended.
my $last = arrives('the line is dropped for good', sub {
    configure($httpd, 'MPTCPListen 80', $second);
    $httpd->graceful or BAIL_OUT($httpd->error_log);
    like(join("\n", $lab->endpoints('server')), qr/^10\.91\.1\.2 /m, '    the endpoint stays');
});
ok(gone('server', '10.91.1.2'), '    and goes when the download has ended');
like($httpd->error_log, qr/endpoint 10\.91\.1\.2 .*is removed now/, '    which the log says');
like(join("\n", $lab->endpoints('server')), qr/^10\.91\.2\.2 /m, '    alone');

# A path that is not the only one goes at once: the transfer goes on by the
# other one.
paths(2);
my $result = arrives('a second path', sub {
    my ($download) = @_;
    ok($lab->wait_until(10, sub { $lab->ss('server', '-tn', 'src', '10.91.2.2') }), '    is there');
    configure($httpd, 'MPTCPListen 80');
    $httpd->graceful or BAIL_OUT($httpd->error_log);
    is(join("\n", $lab->endpoints('server')), '', '    its endpoint goes at once');
});
is($result->{subflows_seen}, 2, '    which was used');

# But one that has fallen silent is no other path, though the server, which sends
# nothing that could go unanswered, sees it as whole: an upload goes on by the
# second path, after its client has left the first network.
configure($httpd, 'MPTCPListen 80', $second);
$httpd->graceful or BAIL_OUT($httpd->error_log);
$httpd->write_file('small', "ok\n");
my $body = $httpd->write_file('body', undef);
truncate $body, 24_000_000 or die "body: $!";
my $upload = MPTCP::Client->start(lab => $lab, ns => 'client', host => '10.91.1.2', port => 80,
    method => 'POST', path => '/small', upload => $body, mptcp => 1, timeout => 30);
ok($upload->wait_bytes(1_000_000), 'an upload');
ok($lab->wait_until(10, sub { $lab->ss('server', '-tn', 'src', '10.91.2.2') }), '    with a second path');
$lab->blackhole(1);
sleep 1;
configure($httpd, 'MPTCPListen 80');
$httpd->graceful or BAIL_OUT($httpd->error_log);
ok(!$upload->done, '    the first one is silent, and a reload drops the line of the second');
like(join("\n", $lab->endpoints('server')), qr/^10\.91\.2\.2 /m, '    whose endpoint stays');
$result = $upload->wait;
is("$result->{error}$result->{status} $result->{sent}", '200 24000000', '    it goes on to its end');
$lab->unblackhole(1);
ok(gone('server', '10.91.2.2'), '    and then the endpoint goes');
paths(0);

# --- The server ends for a mistake in its configuration; its children do not

configure($httpd, 'MPTCPListen 80', $first);
$httpd->graceful or BAIL_OUT($httpd->error_log);
my $length = length $httpd->error_log;
arrives('a mistake in the file, and a graceful reload', sub {
    configure($httpd, 'MPTCPListen 80', $first, 'NoSuchDirective');
    my $pid = $httpd->pid;
    kill 'USR1', $pid;
    # (alive() would end the children with it)
    ok($lab->wait_until(10, sub {
        open my $status, '<', "/proc/$pid/status" or return 1;
        return grep {/^State:\s+Z/} <$status>;
    }), '    the parent ends');
});
like(substr($httpd->error_log, $length), qr/10\.91\.1\.2 .*1 connection\b.*ip mptcp endpoint delete id/,
    '    the log names what is left, and the command');
is(scalar(() = $lab->endpoints('server')), 1, '    it is left');
$httpd->stop;
configure($httpd, 'MPTCPListen 80', $first);
starts($httpd);
like(substr($httpd->error_log, $length), qr/recognised 1 endpoint/, '    the next start knows it');
$httpd->stop;
is(join("\n", $lab->endpoints('server')), '', '    its stop removes it');

# --- A stop while the end of an answer is in the kernel's hands alone

configure($httpd, 'MPTCPListen 80', $first);
open my $small, '>', $httpd->docroot . '/small' or die "small: $!";
truncate $small, 150_000 or die "small: $!";
close $small;
my @slow = map { [qw(tc qdisc replace dev s1 root tbf burst 16kb latency 1s rate), $_] } '1mbit', '40mbit';
$lab->run('server', @{ $slow[0] });
starts($httpd);
my $download = MPTCP::Client->start(lab => $lab, ns => 'client', path => '/small',
    host => '10.91.1.2', port => 80, mptcp => 1, timeout => 20);
$download->wait_bytes(20_000);
$httpd->stop;
ok(!$download->done, 'a stop in the middle of an answer that httpd has written');
is($download->wait->{bytes}, 150_000, '    all of it arrives');
$lab->run('server', @{ $slow[1] });
starts($httpd);
$httpd->stop;
is(join("\n", $lab->endpoints('server')), '', '    another start and stop leave nothing');

# --- Two servers with the same line: the one that made it stops

my @pair = map { server(conf => "MPTCPListen $_\n$first\n") } 90, 80;
starts($_) for @pair;
arrives('another server stops', sub { $pair[0]->stop });
is(scalar(() = $lab->endpoints('server')), 1, '    the endpoint stays');
$pair[1]->stop;
$lab->run(undef, qw(ip -n server mptcp endpoint flush));

# The same without a connection: it is taken away with its server, and the
# other one, whose line it is too, adds it, which is looked at below.
starts($_) for @pair;
$pair[0]->stop;

# --- A proxy: to its backend by one path, to its client by TCP

my $proxy = server(ns => 'client', load => [qw(proxy proxy_http)], conf => '');
my @proxied = ('Listen 127.0.0.1:8080', 'ProxyPass / http://10.91.1.2:80/ multipathtcp=On',
    'MPTCPLimits subflows=2');
configure($proxy, @proxied, 'MPTCPEndpoint 10.91.1.1 dev c1 subflow');
starts($proxy);
arrives('subflow becomes fullmesh', sub {
    configure($proxy, @proxied, 'MPTCPEndpoint 10.91.1.1 dev c1 subflow fullmesh');
    ok($proxy->graceful, '    at a reload');
}, ns => 'client', host => '127.0.0.1', port => 8080, mptcp => 0);
ok($lab->wait_until(25, sub { grep {/fullmesh/} $lab->endpoints('client') }),
    '    and is, when the download has ended');
$proxy->stop;

ok($lab->wait_until(25, sub { $lab->endpoints('server') }),
    'another server stopped, and nothing lived by the endpoint: this one has it again');
$pair[1]->stop;
is(join("\n", $lab->endpoints('server')), '', '    and removes it');

# --- Old ones that have to stay, and new ones: together more than httpd remembers,
# whatever the kernel takes (eight, and more since Linux 7.3)

$lab->run('server', qw(ip address add), "10.92.0.$_/32", qw(dev lo)) for 1 .. 12;
my ($old, $new) = map { join "\n", 'MPTCPListen 80', map {"MPTCPEndpoint 10.92.0.$_ signal"} @$_ }
    [1 .. 6], [7 .. 12];
$httpd = server(conf => $old);
starts($httpd);
my @held = map {
    MPTCP::Session->open(lab => $lab, ns => 'server', host => "10.92.0.$_", port => 80, mptcp => 1)
} 1 .. 6;
$_->get('/') for @held;
configure($httpd, $new);
ok($httpd->graceful, 'six lines more, while six have to stay');
is(scalar(grep {/^10\.92\.0\.[1-6] /} $lab->endpoints('server')), 6, '    these stay');
is(scalar(() = $lab->endpoints('server')), 8, '    there is room for two');
like($httpd->error_log, qr/MPTCPEndpoint 10\.92\.0\.12 signal is not in force: there are 8 endpoints/,
    '    which is said');
$_->close for @held;
ok($lab->wait_until(45, sub {
        my @now = $lab->endpoints('server');
        @now == 6 && !grep {/^10\.92\.0\.[1-6] /} @now;
    }), '    the others follow') or diag explain [$lab->endpoints('server')];
$httpd->stop;
is(join("\n", $lab->endpoints('server')), '', '    and a stop removes all');

done_testing();
