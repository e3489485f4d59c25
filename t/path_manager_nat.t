# Behind a router that translates addresses one to one, as in most clouds: the
# server announces an address that it does not have, and clients join there.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->new;
$lab->add_host($_) for qw(client router server);

# A link; each end: [namespace, device, address].
sub link_up {
    my ($rate, @ends) = @_;
    my @words = map { ($_->[1], 'netns', $_->[0]) } @ends;
    $lab->run(undef, qw(ip link add), @words[0 .. 2], qw(type veth peer name), @words[3 .. 5]);
    for my $end (@ends) {
        my ($ns, $dev, $address) = @$end;
        $lab->run(undef, qw(ip -n), $ns, qw(address add), "$address/24", 'dev', $dev);
        $lab->run(undef, qw(ip -n), $ns, qw(link set), $dev, 'up');
        $lab->run($ns, qw(tc qdisc replace dev), $dev,
            qw(root tbf rate), $rate, qw(burst 64kb latency 50ms));
    }
    return;
}

# The client has one uplink, which is faster than each of the server's two.
link_up('100mbit', [qw(client c0 203.0.113.9)], [qw(router r0 203.0.113.1)]);
link_up('20mbit', ['router', "r$_", "10.92.$_.1"], ['server', "s$_", "10.92.$_.2"]) for 1, 2;
$lab->sysctl('router', 'net.ipv4.ip_forward', 1);
$lab->run('router', 'nft', join "\n", 'table ip cloud {',
    'chain in { type nat hook prerouting priority dstnat;',
    (map {"ip daddr 198.51.100.$_ dnat to 10.92.$_.2"} 1, 2), '}', '}');
$lab->run(undef, qw(ip -n client route add 198.51.100.0/24 via 203.0.113.1));
# answers leave by the network whose address they bear
for my $i (1, 2) {
    $lab->run(undef, qw(ip -n server rule add from), "10.92.$i.2", 'table', $i);
    $lab->run(undef, qw(ip -n server route add default via), "10.92.$i.1", 'table', $i);
}
$lab->run(undef, qw(ip -n server route add default via 10.92.1.1));
$lab->limits('client', subflows => 2, add_addr_accepted => 2);

# the example, whose addresses these are
my $example = dirname(dirname(abs_path(__FILE__))) . '/conf/examples/cloud.conf';
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => <<"END");
SendBufferSize 262144
Listen 80
Include $example
<Location /mptcp>
    SetHandler mptcp-status
</Location>
END
open my $file, '>', $httpd->docroot . '/big' or die "big: $!";
truncate $file, 8_000_000 or die "big: $!";
close $file;
$httpd->start or BAIL_OUT($httpd->error_log);

like(join("\n", $lab->endpoints('server')), qr/^198\.51\.100\.2 id \d+ signal$/,
    'an address that a router translates is announced as written');
my @said = $httpd->error_log =~ /\[mptcp:(\w+)\].* (MPTCPEndpoint .*)/g;
is(scalar @said / 2, 1, '    one message') or diag "@said";
like("@said", qr/^notice .*198\.51\.100\.2 signal: the address is not on this host, and is announced as written/,
    '    a notice says so');
unlike($httpd->error_log, qr/MPTCPEndpoint 10\.92|\[mptcp:warn\]/,
    '    and no private address is offered beside it');

my @before = map { ($lab->device_bytes('server', "s$_"))[1] } 1, 2;
my $result = MPTCP::Client::get(lab => $lab, ns => 'client', host => '198.51.100.1', port => 80,
    path => '/big', mptcp => 1, timeout => 30);
is($result->{error}, '', 'a download by the translated address');
is($result->{bytes}, 8_000_000, '    every byte');
is($result->{subflows_seen}, 2, '    over two subflows');
my @used = map { ($lab->device_bytes('server', "s$_"))[1] - $before[ $_ - 1 ] } 1, 2;
cmp_ok($used[0], '>', 1_500_000, '    the first is used');
cmp_ok($used[1], '>', 1_500_000, '    and the second');

# The page says no other.
require JSON::PP;
my $page = JSON::PP::decode_json(MPTCP::Client::get(lab => $lab, ns => 'server',
    host => '127.0.0.1', port => 80, path => '/mptcp?json', keep => 1)->{body});
is_deeply($page->{obstacles}, [], 'the page knows no obstacle');

# With a port the kernel itself would have to listen there; with dev it is to be
# this host's own; and no connection can be made from such an address.
$httpd->set_conf(join "\n", 'MPTCPListen 80', 'MPTCPEndpoint 198.51.100.2 port 7080 signal',
    'MPTCPEndpoint 198.51.100.3 dev s2 signal', 'MPTCPEndpoint 198.51.100.4 subflow');
my $length = length $httpd->error_log;
ok($httpd->graceful, 'a reload to what cannot be translated');
# but for what the kernel itself has added when the client joined
is_deeply([grep { !/rawflags 10|implicit/ } $lab->endpoints('server')], [],
    '    leaves nothing');
my $refused = () = substr($httpd->error_log, $length)
    =~ /is not in force: the address is not on this host/g;
is($refused, 3, '    and says why of each');
$httpd->stop;

done_testing();
