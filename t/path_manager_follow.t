# The host changes while the server runs: interfaces go and come back, addresses
# too, links go down. Endpoints follow; the log says so once each way, and the
# page says what is gone.

use strict;
use warnings;

use JSON::PP;
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->two_paths;

# More networks, d1 to d6 with the addresses 10.92.1.2 to 10.92.6.2.
sub ip { return $lab->run(undef, 'ip', '-n', 'server', @_) }

sub add_device {
    my ($i) = @_;
    ip(qw(link add), "d$i", qw(type veth peer name), "e$i");
    ip(qw(address add), "10.92.$i.2/24", 'dev', "d$i");
    ip(qw(link set), $_, 'up') for "e$i", "d$i";
    return;
}
add_device($_) for 1 .. 6;
my $has_ipv6 = $lab->has_ipv6;
if ($has_ipv6) {
    ip(qw(address add fd92:4::2/64 dev d4 nodad));
    ip(qw(address add fd92:4::3/64 dev d4 nodad preferred_lft 0));    # deprecated
}

my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server');
start_with(<<'END');
MPTCPEndpoint 10.92.1.2 dev d1 subflow
MPTCPEndpoint 10.92.2.2 dev d2 signal
MPTCPEndpoint 10.92.3.2 dev d3 signal
MPTCPEndpoint dev d4 signal
MPTCPEndpoint 10.92.5.2 signal
MPTCPEndpoint dev d9 signal backup
END

# An MPTCP listener with a status page, and these lines.
sub start_with {
    my ($lines) = @_;
    $httpd->set_conf(<<"END");
MPTCPListen 80
$lines<Location /mptcp>
    SetHandler mptcp-status
</Location>
END
    $httpd->start or BAIL_OUT($httpd->error_log);
    return;
}

sub endpoints { return join "\n", sort map {s/ id \d+//r} $lab->endpoints('server') }

sub page {
    my $result = MPTCP::Client::get(lab => $lab, ns => 'server', host => '127.0.0.1', port => 80,
        path => '/mptcp?json', keep => 1);
    return decode_json($result->{body});
}

sub become {
    my ($name, @endpoints) = @_;
    my $wanted = join "\n", sort @endpoints;
    $lab->wait_until(25, sub { endpoints() eq $wanted });
    return is(endpoints(), $wanted, $name);
}

# Messages about one line, without their prefix.
sub said {
    my ($line) = @_;
    return $httpd->error_log =~ /(MPTCPEndpoint \Q$line\E.*|endpoint \Q$line\E.*)/g;
}

my @ipv6 = $has_ipv6 ? 'fd92:4::2 signal dev d4' : ();
my %all  = map { $_->[0] => $_->[1] }
    ([1, '10.92.1.2 subflow dev d1'], [2, '10.92.2.2 signal dev d2'],
    [3, '10.92.3.2 signal dev d3'], [4, '10.92.4.2 signal dev d4'], [5, '10.92.5.2 signal']);
become('what the lines stand for at start', @all{ 1 .. 5 }, @ipv6);
like(join("\n", said('dev d9 signal backup')), qr/^.* is not in force: this host has no such interface/,
    'an interface that is not there yet');
is(scalar(() = said('10.92')), 0, 'nothing is said of the others') or diag said('10.92');

# --- All of it at once

my ($index) = ip(qw(-o link show dev d1)) =~ /^(\d+)/;
ip(qw(link delete d1));
add_device(1);
my ($new_index) = ip(qw(-o link show dev d1)) =~ /^(\d+)/;
isnt($new_index, $index, 'an interface is made anew');
ip(qw(address delete 10.92.2.2/24 dev d2));
ip(qw(link set e3 down));
ip(qw(address delete 10.92.4.2/24 dev d4));
ip(qw(address add 10.92.4.7/24 dev d4));
ip(qw(address delete 10.92.5.2/24 dev d5));
ip(qw(link set d6 down));
ip(qw(link set d6 name d9));
ip(qw(link set d9 up));

become('the endpoints follow', @all{ 1, 3 }, '10.92.4.7 signal dev d4', @ipv6,
    '10.92.6.2 signal backup dev d9');
ok($lab->wait_until(25, sub { said('10.92.3.2 dev d3') }), 'a link that is down is said');
my %once = (
    '10.92.2.2 dev d2 signal' => qr/is not in force: the address is not on this host/,
    '10.92.3.2 dev d3 signal' => qr/d3 is down/,
    '10.92.4.2'               => qr/is removed now/,
    '10.92.4.7 dev d4 signal' => qr/is in force now/,
    '10.92.5.2 signal'        => qr/is not in force: the address is not on this host/,
    '10.92.6.2 dev d9 signal' => qr/is in force now/,
);

for my $line (sort keys %once) {
    my @said = said($line);
    is(scalar @said, 1, "$line: one message") or diag join "\n", @said;
    like($said[0] // '', $once{$line}, '    as it is');
}

my $obstacles = join "\n", @{ page()->{obstacles} };
like($obstacles, qr/^MPTCPEndpoint \Q$_\E is not in force: the address is not on this host/m,
    "the page says that $_ is gone") for '10.92.2.2 dev d2 signal', '10.92.5.2 signal';
like($obstacles, qr/^MPTCPEndpoint 10\.92\.3\.2 dev d3 signal: d3 is down/m, '    and which link is down');
unlike($obstacles, qr/10\.92\.[146]\./, '    and nothing of the others');

# What the parent has added since is its own, for children that are older.
my %own = map { ($_->{address} => $_->{own} ? 1 : 0) } @{ page()->{path_manager}{endpoints} };
is($own{'10.92.4.7'}, 1, 'an endpoint that was added later is by MPTCPEndpoint')
    or diag explain page()->{path_manager};

# --- And back

ip(qw(address add 10.92.2.2/24 dev d2));
ip(qw(link set e3 up));
ip(qw(address add 10.92.5.2/24 dev d5));
ip(qw(link delete d9));
become('they come back', @all{ 1, 2, 3, 5 }, '10.92.4.7 signal dev d4', @ipv6);
ok($lab->wait_until(25, sub { grep {/up again/} said('10.92.3.2') }), 'the link that is up again is said');
is(scalar(() = said($_)), 2, "$_: one message more")
    for '10.92.2.2 dev d2', '10.92.3.2 dev d3', '10.92.5.2 signal', '10.92.6.2';
is(join("\n", grep { !/d9/ } @{ page()->{obstacles} }), '', 'the page says nothing of them');

# --- No more than the kernel takes

ip(qw(address add), "10.92.4.10$_/24", qw(dev d4)) for 1 .. 6;
ok($httpd->graceful, 'a reload with more addresses than endpoints');
is(scalar(() = $lab->endpoints('server')), 8, '    has eight');
like(join("\n", said('10.92.4.')), qr/addresses more than the 8 that httpd takes/,
    '    and says that there are more');
$httpd->stop;
is(endpoints(), '', 'a stop removes all');

# --- An address that was not there at first, was then, and has gone: children that
# are older than it, and were asked nothing meanwhile, know as much as the parent

ip(qw(address delete 10.92.2.2/24 dev d2));
ip(qw(address delete 10.92.5.2/24 dev d5));
start_with(<<'END');
MPTCPEndpoint 10.92.2.2 dev d2 signal
MPTCPEndpoint 10.92.5.2 signal
END
ip(qw(address add 10.92.5.2/24 dev d5));
ip(qw(address add 10.92.2.2/24 dev d2));
become('both addresses are there', '10.92.2.2 signal dev d2', '10.92.5.2 signal');
ip(qw(address delete 10.92.5.2/24 dev d5));
become('one goes', '10.92.2.2 signal dev d2');
like(page()->{obstacles}[0] // '', qr/^MPTCPEndpoint 10\.92\.5\.2 signal is not in force: the address is not on this host/,
    '    the page says that it is gone');
ip(qw(address add 10.92.5.2/24 dev d5));
$httpd->stop;

# --- A host that is to bind to addresses that it has not yet, as for VRRP: there
# bind() takes any

$lab->sysctl('server', "net.$_.ip_nonlocal_bind", 1) for 'ipv4', $has_ipv6 ? 'ipv6' : ();
# the second of its network: the route to it has the first as its source
ip(qw(address add 10.92.2.9/24 dev d2));
ip(qw(address add fd92:4::9/64 dev d4 nodad)) if $has_ipv6;
start_with(<<"END");
MPTCPEndpoint 10.92.2.9 dev d2 signal
MPTCPEndpoint 198.51.100.9 signal
@{[ $has_ipv6 ? 'MPTCPEndpoint fd92:4::9 dev d4 signal' : '' ]}
END
my @outer = '198.51.100.9 signal';
become('any address can be bound to', '10.92.2.9 signal dev d2', @outer,
    $has_ipv6 ? 'fd92:4::9 signal dev d4' : ());
like(join("\n", said('198.51.100.9')), qr/the address is not on this host, and is announced as written/,
    '    what is a router\'s is known');
ip(qw(address delete 10.92.2.9/24 dev d2));
ip(qw(address delete fd92:4::9/64 dev d4)) if $has_ipv6;
become('what is taken from the host is announced no more', @outer);
like(page()->{obstacles}[0] // '', qr/^MPTCPEndpoint 10\.92\.2\.9 dev d2 signal is not in force: the address is not on this host/,
    '    and the page says that it is gone');
ip(qw(address add 10.92.2.9/24 dev d2));
become('and back', '10.92.2.9 signal dev d2', @outer);
$httpd->stop;
$lab->sysctl('server', "net.$_.ip_nonlocal_bind", 0) for 'ipv4', $has_ipv6 ? 'ipv6' : ();

# --- An address that is on another interface than the line says

$httpd->set_conf("MPTCPListen 80\nMPTCPEndpoint 10.91.2.2 dev s1 signal\n");
$httpd->start or BAIL_OUT($httpd->error_log);
like(join("\n", said('10.91.2.2 dev s1')), qr/the address is on s2; write 'dev s2'/,
    'dev of an interface without the address: what to write');
$httpd->stop;

# --- The same interface by other names: the label of an alias, as ifupdown and
# keepalived make them, and an altname, as systemd does

ip(qw(address add 10.91.2.77/24 dev s2 label s2:1));
ip(qw(link property add dev s2 altname enp2s0));
start_with(<<'END');
MPTCPEndpoint 10.91.2.77 dev s2 signal
MPTCPEndpoint 10.91.2.2 dev enp2s0 signal
END
become('an alias and an altname', '10.91.2.77 signal dev s2', '10.91.2.2 signal dev s2');
is(join("\n", said('10.91.2.77 dev s2'), said('10.91.2.2 dev enp2s0')), '', '    are no other interfaces')
    or diag $httpd->error_log;
my %interface = map { $_->{address} => $_->{interface} } @{ page()->{paths} };
is($interface{'10.91.2.77'}, 's2', '    on the page, too');
$httpd->stop;
$httpd->set_conf("MPTCPListen 80\n");
$httpd->start or BAIL_OUT($httpd->error_log);
unlike($httpd->error_log, qr/dev s2:1/, '    nor one more to be announced');
$httpd->stop;

# --- An interface all of whose addresses have lines of their own: that of the
# interface is for what is to come, and nothing is wrong

ip(qw(address delete fd91:2::2/64 dev s2)) if $has_ipv6;
start_with(<<'END');
MPTCPEndpoint 10.91.2.77 dev s2 signal backup
MPTCPEndpoint 10.91.2.2 dev s2 signal
MPTCPEndpoint dev s2 signal
END
become('each address has a line', '10.91.2.77 signal backup dev s2', '10.91.2.2 signal dev s2');
is(join("\n", said('dev s2'), @{ page()->{obstacles} }), '', '    nothing is missing');
ip(qw(address add 10.91.2.78/24 dev s2));
become('one more comes', '10.91.2.77 signal backup dev s2', '10.91.2.2 signal dev s2',
    '10.91.2.78 signal dev s2');
ip(qw(address delete 10.91.2.78/24 dev s2));
$httpd->stop;
ip(qw(address delete 10.91.2.77/24 dev s2));

# --- Somebody else's in the way

$lab->endpoint('server', '10.91.2.2', dev => 's2', 'subflow');
start_with(<<'END');
MPTCPEndpoint 10.91.2.2 dev s2 signal
END
my ($id) = map {/ id (\d+)/} $lab->endpoints('server');
for my $text (join("\n", @{ page()->{obstacles} }), join "\n", said('10.91.2.2')) {
    like($text, qr/10\.91\.2\.2 dev s2 id $id subflow.*'ip mptcp endpoint delete id $id'.*nmcli/,
        'what is in the way, and how to take it away');
    unlike($text, qr/write .*MPTCPEndpoint 10\.91\.2\.2 dev s2 signal/, '    not the line that is there');
}
$lab->run('server', qw(ip mptcp endpoint delete id), $id);
ok($httpd->graceful, 'taken away, and a reload');
is(endpoints(), '10.91.2.2 signal dev s2', '    as written');
$httpd->stop;

# --- An address leaves while downloads run that came to it

$lab->limits('client', subflows => 2, add_addr_accepted => 2);
$lab->run($_->[0], qw(tc qdisc replace dev), $_->[1], qw(root tbf rate 20mbit burst 64kb latency 50ms))
    for ['server', 's1'], ['server', 's2'];
truncate $httpd->write_file('large'), 200_000_000 or die "large: $!";
truncate $httpd->write_file('some'), 24_000_000 or die "some: $!";
ip(qw(address add 10.91.1.77/24 dev s1));
$httpd->set_conf(<<'END');
MPTCPListen 80
MPTCPEndpoint 10.91.1.77 dev s1 signal
MPTCPEndpoint 10.91.2.2 dev s2 signal
END
$httpd->start or BAIL_OUT($httpd->error_log);
become('two addresses', '10.91.1.77 signal dev s1', '10.91.2.2 signal dev s2');
my $large = MPTCP::Client->start(lab => $lab, ns => 'client', host => '10.91.1.77', port => 80,
    path => '/large', mptcp => 1, timeout => 120);
ok($large->wait_bytes(1_000_000), 'a download comes to one of them');
ok($lab->wait_until(10, sub { $lab->ss('server', '-tn', 'src', '10.91.2.2') }), '    and joins the other');
ip(qw(address delete 10.91.1.77/24 dev s1));
become('the first one is announced no more', '10.91.2.2 signal dev s2');
my $bytes = $large->bytes;
ok($large->wait_bytes($bytes + 2_000_000), '    and the download goes on by the other');
$large->cancel;

# One that has no other path waits for the address to come back, as by TCP: a
# network that is started anew.
$lab->limits('client', subflows => 0, add_addr_accepted => 0);
ip(qw(address add 10.91.1.77/24 dev s1));
become('the address is back', '10.91.1.77 signal dev s1', '10.91.2.2 signal dev s2');
my $some = MPTCP::Client->start(lab => $lab, ns => 'client', host => '10.91.1.77', port => 80,
    path => '/some', mptcp => 1, timeout => 90);
ok($some->wait_bytes(1_000_000), 'a download by one path alone');
ip(qw(address delete 10.91.1.77/24 dev s1));
sleep 14;                                # the parent has looked
ok(!$some->done, '    stands still without its address');
ip(qw(address add 10.91.1.77/24 dev s1));
my $result = $some->wait;
is("$result->{error}$result->{bytes}", 24_000_000, '    and goes on when that is back');
ok($lab->wait_until(25, sub { ((said('10.91.1.77 dev s1 signal'))[-1] // '') =~ /is in force now/ }),
    '    which the log says') or diag join "\n", said('10.91.1.77');
$httpd->stop;

done_testing();
