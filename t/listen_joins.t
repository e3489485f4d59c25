# A connection that lives through a reload which makes its listener plain TCP
# can still take a further path: a phone that changes network keeps its
# download.  The kernel is asked for joins, by IPv4 and IPv6, and whatever
# options stand before the one that tells of a join.

use strict;
use warnings;

use Test::More;
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->two_paths(rate => '40mbit');
my @families = $lab->has_ipv6 ? (4, 6) : (4);

# The second path leads to the server's first address.
for my $f (@families) {
    my ($from, $via) = $f == 4 ? ($lab->address('client', 2), $lab->address('server', 2))
        : ($lab->address6('client', 2), $lab->address6('server', 2));
    $lab->run('client', 'ip', "-$f", qw(rule add from), $from, qw(table 100));
    $lab->run('client', 'ip', "-$f", qw(route add default via), $via, qw(dev c2 table 100));
}
$lab->limits($_, subflows => 2) for qw(client server);

for my $f (@families) {
    for my $address ($f == 4 ? ('', $lab->address('server', 1) . ':') : ('', '[' . $lab->address6('server', 1) . ']:')) {
        my $host = $f == 4 ? $lab->address('server', 1) : $lab->address6('server', 1);
        my $name = "IPv$f, listener ${address}80";
        my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => "MPTCPListen ${address}80\n");
        $httpd->write_file('large', 'x' x 24_000_000);
        $httpd->start or die $httpd->error_log;

        my $download = MPTCP::Client->start(lab => $lab, ns => 'client', host => $host, port => 80,
            path => '/large', mptcp => 1, timeout => 20);
        ok($download->wait_bytes(1_000_000), "$name: a download by MPTCP has begun");
        $httpd->set_conf("Listen ${address}80\n");
        ok($httpd->graceful, '... a reload makes the listener TCP') or diag $httpd->error_log;
        is(kind($host), 'tcp', '... which new connections find') for 1 .. 3;

        my $joins = $lab->counter('server', 'MPTcpExtMPJoinAckRx');
        my $local = $f == 4 ? $lab->address('client', 2) : $lab->address6('client', 2);
        $lab->endpoint('client', $local, dev => 'c2', 'subflow');
        ok($lab->wait_until(3, sub { $lab->counter('server', 'MPTcpExtMPJoinAckRx') > $joins }),
            '... a second path joins');
        $lab->blackhole(1);
        my $r = $download->wait;
        is("$r->{error}$r->{bytes}", '24000000', '... and ends the download when the first is gone');
        $lab->unblackhole(1);
        $lab->run(undef, qw(ip -n client mptcp endpoint flush));

        # Back again, and joins still find their way.
        $httpd->set_conf("MPTCPListen ${address}80\n");
        ok($httpd->graceful, '... a reload makes it MPTCP');
        is(kind($host), 'mptcp', '... which new connections find') for 1 .. 3;
        $httpd->stop;
        unlike($httpd->error_log, qr/:(?:warn|error|crit)\] .*(?:SO_ATTACH|stay)/, '... without a complaint');
    }
}

# --- Whatever stands before it: a SYN that joins what nobody has is counted by
# the socket that is MPTCP, and by no other.

{
    my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => "MPTCPListen 80\n");
    $httpd->start or die $httpd->error_log;
    $httpd->set_conf("Listen 80\n");
    $httpd->graceful or die $httpd->error_log;

    my $join = pack 'CCCCNN', 30, 12, 0x10, 1, 0xDEADBEEF, 1;
    my $mss = pack 'CCn', 2, 4, 1460;
    my $stamp = pack 'CCNN', 8, 10, 1, 0;
    my %joins = (
        'nothing'             => $join,
        'what Linux sends'    => $mss . "\4\2" . $stamp . "\1\3\3\7" . $join,
        'what Apple sends'    => $mss . "\1\3\3\6\1\1" . $stamp . "\4\2" . "\1\1" . $join,
        '20 times nothing'    => "\1" x 20 . $join,
        'an unknown option'   => "\375\6abcd" . "\1\1" . $join,
        'and options behind'  => "\4\2\1\1" . $join . $mss . "\0\0\0\0",
    );
    my %others = (
        'no option'           => '',
        'a new connection'    => $mss . "\4\2" . $stamp . "\1\3\3\7" . pack('CCCC', 30, 4, 0x01, 0),
        'its data elsewhere'  => pack('CC a10', 253, 12, substr $join, 0, 10),
        'an endless option'   => $mss . "\375\0" . "\1\1" . $join,
        'one beyond the end'  => $mss . "\375\50" . "\1\1",
        'one cut off'         => "\1\1\1" . "\36",
    );
    for my $f (@families) {
        my $to = $f == 4 ? $lab->address('server', 1) : $lab->address6('server', 1);
        my $from = $f == 4 ? $lab->address('client', 1) : $lab->address6('client', 1);
        my $count = sub {
            my ($options) = @_;
            my $before = $lab->counter('server', 'MPTcpExtMPJoinNoTokenFound');
            syn($from, $to, $options);
            return $lab->counter('server', 'MPTcpExtMPJoinNoTokenFound') - $before;
        };
        is($count->($joins{$_}), 1, "IPv$f: a join behind $_") for sort keys %joins;
        is($count->($others{$_}), 0, "IPv$f: none: $_") for sort keys %others;
        is(kind($to), 'tcp', '... and it serves on');
    }
}
done_testing();

# Sends a SYN with these options from the client to port 80, and waits for the
# answer, a SYN with ACK or a RST.
sub syn {
    my ($from, $to, $options) = @_;
    my $length = 20 + length $options;
    die 'options' if $length % 4 || $length > 60;
    my $script = q{
        use Socket qw(:all);
        my ($from, $to, $options) = (inet_pton_any($ARGV[0]), inet_pton_any($ARGV[1]), pack 'H*', $ARGV[2]);
        sub inet_pton_any { $_[0] =~ /:/ ? inet_pton(AF_INET6, $_[0]) : inet_aton($_[0]) }
        my $v6 = length $to == 16;
        socket my $raw, $v6 ? AF_INET6 : AF_INET, SOCK_RAW, IPPROTO_TCP or die "socket: $!";
        my $length = 20 + length $options;
        my $port = 20000 + int rand 20000;
        my $syn = pack 'nnNNCCnnn', $port, 80, 1, 0, $length << 2, 2, 65535, 0, 0;
        my $pseudo = $from . $to . ($v6 ? pack 'NN', $length, 6 : pack 'nn', 6, $length);
        my $sum = 0;
        $sum += $_ for unpack 'n*', $pseudo . $syn . $options;
        $sum = ($sum & 0xffff) + ($sum >> 16) for 1 .. 2;
        substr $syn, 16, 2, pack 'n', ~$sum & 0xffff;
        my $peer = $v6 ? pack_sockaddr_in6(0, $to) : pack_sockaddr_in(0, $to);
        bind $raw, $v6 ? pack_sockaddr_in6(0, $from) : pack_sockaddr_in(0, $from) or die "bind: $!";
        send $raw, $syn . $options, 0, $peer or die "send: $!";
        alarm 3;
        while (recv $raw, my $answer, 65536, 0) {
            my $tcp = $v6 ? $answer : substr $answer, 4 * (15 & ord $answer);
            last if unpack('x2 n', $tcp) == $port;
        }
    };
    # (Without an answer it is ended by SIGALRM.)
    $lab->try('client', $^X, '-e', $script, $from, $to, unpack 'H*', $options);
    return;
}

sub kind {
    my ($host) = @_;
    my $r = MPTCP::Client::get(lab => $lab, ns => 'client', host => $host, port => 80,
        path => '/none', mptcp => 1);
    return $r->{error} || ($r->{is_mptcp} ? 'mptcp' : 'tcp');
}
