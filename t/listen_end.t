# The end of a response: all of it is in the kernel's send buffer, and the
# client's network changes.  On a connection that is kept alive the rest comes by
# the new path.  With Connection: close httpd has shut its side down by
# then, and the kernel takes no further path: what docs/listeners.md says.

use strict;
use warnings;

use Test::More;
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->two_paths(rate => '20mbit');
$lab->run('client', qw(ip rule add from), $lab->address('client', 2), qw(table 100));
$lab->run('client', qw(ip route add default via), $lab->address('server', 2), qw(dev c2 table 100));
$lab->limits($_, subflows => 2) for qw(client server);

my $size = 8_000_000;
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => "MPTCPListen 80\n");
$httpd->write_file('large', 'x' x $size);
$httpd->start or die $httpd->error_log;

my $kept = change_near_the_end('Connection: keep-alive');
is("$kept->{error}$kept->{bytes}", $size, 'kept alive: a change of network at the end of a download loses nothing');
my $closed = change_near_the_end('Connection: close');
cmp_ok($closed->{bytes}, '<', $size, 'Connection: close: the kernel takes no further path any more');
done_testing();

# The path goes when httpd has nothing left to write, and the client has not
# got all of it. On a busy host it has by then, now and then: once more.
sub change_near_the_end {
    my ($header) = @_;
    my $r;
    for (1 .. 5) {
        ($r, my $in_time) = change($header);
        last if $in_time;
        note 'the download was over before the path was cut';
    }
    return $r;
}

sub change {
    my ($header) = @_;
    my $download = MPTCP::Client->start(lab => $lab, ns => 'client', host => $lab->address('server', 1),
        port => 80, path => '/large', mptcp => 1, headers => [$header], timeout => 6);
    $download->wait_bytes($size / 2) or die;
    my $queued;
    $lab->wait_until(10, sub {
        my ($socket) = sort { $b->{send_q} <=> $a->{send_q} } $lab->ss('server', '-tn', 'sport = :80');
        $queued = $socket ? $socket->{send_q} : 0;
        return $download->bytes + $queued + 100_000 > $size || $download->done;
    });
    note "$header: ", $download->bytes, " bytes are there, $queued are queued";
    $lab->blackhole(1);
    my $in_time = !$download->done;
    $lab->endpoint('client', $lab->address('client', 2), dev => 'c2', 'subflow');
    my $r = $download->wait;
    $lab->unblackhole(1);
    $lab->run(undef, qw(ip -n client mptcp endpoint flush));
    return ($r, $in_time);
}
