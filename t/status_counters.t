# The counters of connections against the kernel's and the clients' own, under
# load, across graceful restarts, and when children are killed.

use strict;
use warnings;

use File::Temp ();
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use MPTCP::Middlebox;
use MPTCP::Session;
use Test::More;

MPTCP::Lab->enter;
my $lab = MPTCP::Lab->two_paths;
$lab->limits('client', subflows => 2, add_addr_accepted => 2);
$lab->limits('server', subflows => 2);

my $conf = <<'END';
Listen 81
Listen 8002
MPTCPListen 80
MPTCPListen 127.0.0.1:8001
KeepAliveTimeout 60
GracefulShutdownTimeout 5
ProxyPass /mptcp/ http://127.0.0.1:8001/ multipathtcp=On disablereuse=On
ProxyPass /fallback/ http://127.0.0.1:8002/ multipathtcp=On disablereuse=On
ProxyPass /k/ http://127.0.0.5/kept/ multipathtcp=On
ProxyPass /tcp/ http://127.0.0.2:80/ disablereuse=On
<Proxy balancer://few>
    BalancerMember http://127.0.0.3:80 multipathtcp=On disablereuse=On
</Proxy>
ProxyPass /few/ balancer://few/
Listen 83
<VirtualHost *:83>
    ProxyRequests On
    AllowCONNECT 80
    MPTCPProxyDefault On
</VirtualHost>
<Location /mptcp-status>
    SetHandler mptcp-status
</Location>
END
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => $conf,
    load => [qw(proxy proxy_http proxy_connect proxy_balancer slotmem_shm lbmethod_byrequests)]);
$httpd->write_file('file', 'x' x 1000);
mkdir $httpd->docroot . '/kept';
$httpd->write_file('kept/file', 'x' x 1000);
$httpd->write_file('large', 'x' x 20_000_000);
$httpd->start or BAIL_OUT($httpd->error_log);

# --- A little at a time

my ($all, $one) = ('[::]:80', '127.0.0.1:8001');
is_deeply([sort map { $_->{address} } @{ status()->{listeners} }], [$one, $all],
    'the MPTCP listeners are counted, and no other');
is_deeply(counts(), {}, 'nothing is counted at first');

fetch(mptcp => 1);
is_deeply(counts(), { "$all mptcp" => 1 }, 'an MPTCP client');
fetch(mptcp => 0);
is_deeply(counts(), { "$all mptcp" => 1, "$all tcp" => 1 }, 'a TCP client');
fetch(mptcp => 1, port => 81);
is_deeply(counts(), { "$all mptcp" => 1, "$all tcp" => 1 },
    'a client of a plain listener');

my $session = MPTCP::Session->open(lab => $lab, ns => 'client',
    host => $lab->address('server', 1), port => 80, mptcp => 1);
$session->get('/file') for 1 .. 5;
is_deeply(counts(), { "$all mptcp" => 2, "$all tcp" => 1 },
    'five requests on one connection');
$session->close;

# A connection that loses its options falls back after it was accepted.
my $box = MPTCP::Middlebox->new($lab, client => 'client', server => 'server',
    strip => 'data');
# (The kernel counts that since some time after Linux 6.1.)
my $fallbacks = $lab->counters('server')->{MPTcpExtDssFallback};
fetch(mptcp => 1, host => $box->address(2));
is(defined $fallbacks ? $lab->counter('server', 'MPTcpExtDssFallback') - $fallbacks : 1, 1,
    'one has fallen back, as the kernel counts');
ends_as({ "$all mptcp" => 3, "$all tcp" => 1, "$all fallback" => 1 },
    'a fallback is counted at the end');
$box->stop;

# Joins, as the kernel counts them.
$lab->endpoint('server', $lab->address('server', 2), qw(dev s2 id 2 signal));
my $before = $lab->counter('server', 'MPTcpExtMPJoinAckRx');
for (1 .. 3) {
    my $joined = MPTCP::Session->open(lab => $lab, ns => 'client',
        host => $lab->address('server', 1), port => 80, mptcp => 1);
    $joined->get('/file');
    $lab->wait_until(10, sub {
        $lab->counter('server', 'MPTcpExtMPJoinAckRx') - $before == $_ });
    $joined->close;
}
is($lab->counter('server', 'MPTcpExtMPJoinAckRx') - $before, 3, 'three joins');
ends_as({ "$all mptcp" => 6, "$all tcp" => 1, "$all fallback" => 1,
    "$all joins" => 3 }, 'they are counted at the end');
$lab->run(undef, qw(ip -n server mptcp endpoint delete id 2));

# --- Backends

my %expected = %{ counts() };
proxied('/mptcp/file');
expect('http://127.0.0.1:8001/ mptcp' => 1, "$one mptcp" => 1, 'by MPTCP');
proxied('/fallback/file');
expect('http://127.0.0.1:8002/ fallback' => 1, 'to a plain listener');
proxied('/tcp/file');
expect("$all tcp" => 1, 'a worker that does not ask is not counted');
proxied('/few/file');
expect('http://127.0.0.3 mptcp' => 1, "$all mptcp" => 1,
    "a balancer's member");
my $kept = MPTCP::Session->open(lab => $lab, ns => 'client',
    host => $lab->address('server', 1), port => 81, mptcp => 0);
$kept->get('/k/file') for 1 .. 3;
$kept->close;
expect('http://127.0.0.5/kept/ mptcp' => 1, "$all mptcp" => 1,
    'three requests by one connection to the backend');

# A forward proxy and a tunnel: their backends are in no configuration.
for my $tunnel ([], ['--proxytunnel']) {
    $lab->run('client', qw(curl -sSf -o /dev/null -x http://10.91.1.2:83), @$tunnel,
        'http://10.91.1.2:80/file');
    expect('(others) mptcp' => 1, "$all mptcp" => 1,
        @$tunnel ? 'a tunnel' : 'a forward proxy');
}

# --- Load, with graceful restarts

my $least = $ENV{MPTCP_HTTPD} ? 0 : 50;  # valgrind's pace is another

my $kernel = $lab->counters('server');
my $start  = counts();
my @load   = ((map { load(1, 80, '/file') } 1 .. 2), load(0, 80, '/file'),
    load(0, 81, '/mptcp/file'));
for (1 .. 3) {
    select undef, undef, undef, 0.3;
    ok($httpd->graceful, "graceful restart $_ under load") or diag $httpd->error_log;
}
my @made = map { finish($_) } @load;
is_deeply([map { $_->{failed} } @made], [0, 0, 0, 0], 'no connection has failed');
cmp_ok($_->{served}, '>', $least, "$_->{served} were served") for @made;
my $end = counts();
is(rise($start, $end, "$all mptcp"), $made[0]{served} + $made[1]{served},
    'MPTCP connections, as many as the clients made');
is(rise($start, $end, "$all tcp"), $made[2]{served},
    'TCP connections, as many as the clients made');
is(rise($start, $end, 'http://127.0.0.1:8001/ mptcp'), $made[3]{served},
    'connections to a backend, as many as there were requests');
is(rise($start, $end, "$one mptcp"), $made[3]{served}, '... and it counts them, too');
my $accepted = $lab->counter('server', 'MPTcpExtMPCapableACKRX')
    - $kernel->{MPTcpExtMPCapableACKRX};
is(rise($start, $end, "$all mptcp") + rise($start, $end, "$one mptcp"), $accepted,
    'all of them, as many as the kernel counts');

# A restart goes on counting; other listeners' counters come and go.
$httpd->set_conf($conf =~ s/^MPTCPListen 127\S+$/Listen 127.0.0.1:8001/mr);
ok($httpd->restart, 'a restart, with one MPTCP listener less');
is_deeply([map { $_->{address} } @{ status()->{listeners} }], [$all],
    'it is not shown');
$httpd->set_conf($conf);
ok($httpd->restart, 'a restart, with that listener again');
is_deeply(counts(), $end, 'nothing is forgotten');
is_deeply([map { $_->{mptcp} ? 1 : 0 } @{ status()->{listeners} }], [1, 1],
    'it is MPTCP again');

# --- Children that are killed

my @open = map { MPTCP::Session->open(lab => $lab, ns => 'client',
        host => $lab->address('server', 1), port => 80, mptcp => 1) } 1 .. 4;
$_->get('/file') for @open;
$start = counts();
is(rise($end, $start, "$all mptcp"), 4, 'four open connections are counted');
kill_children();
is_deeply(counts(), $start, 'and still are when their children were killed');
$_->close for @open;
is_deeply(counts(), $start, '... and they have ended');

$start = counts();
@load  = map { load(1, 80, '/file') } 1 .. 2;
for (1 .. 3) {
    select undef, undef, undef, 0.3;
    kill_children();
}
@made = map { finish($_) } @load;
my ($served, $failed) = (0, 0);
for (@made) {
    $served += $_->{served};
    $failed += $_->{failed};
}
my $counted = rise($start, counts(), "$all mptcp");
cmp_ok($served, '>', $least, "under load and kills: $served served, $failed failed");
ok($counted >= $served && $counted <= $served + $failed,
    "... $counted counted: all that were served, none that was not made");

$httpd->stop;
is_deeply([MPTCP::Httpd::findings($httpd->error_log)], [], 'no child has crashed');

# --- A link-local address, whose scope the kernel does not list

$lab->run(undef, qw(ip -n), @$_, qw(nodad)) for [qw(server address add fe80::2/64 dev s1)],
    [qw(client address add fe80::1/64 dev c1)];
# (not every httpd takes a scope; see t/listen.t)
$httpd->set_conf("Listen [fe80::2%s1]:80\n");
if (($httpd->config_test)[0] == 0) {
    $httpd->set_conf("MPTCPListen [fe80::2%s1]:80\n$conf" =~ s/^MPTCPListen 80\n//mr);
    $httpd->start or BAIL_OUT($httpd->error_log);
    my $local = MPTCP::Session->open(lab => $lab, ns => 'client', host => 'fe80::2%c1', port => 80,
        mptcp => 1);
    $local->get('/file');
    is_deeply(counts(), { '[fe80::2%s1]:80 mptcp' => 1 }, 'a link-local listener: counted');
    is_deeply([map { $_->{listener} } @{ status()->{live}{connections} }], ['[fe80::2%s1]:80'],
        '... and listed');
    $httpd->stop;
}

# --- Hundreds of listeners: the kernel is asked for the ports of all of them

$httpd->set_conf(join '', $conf, map {"MPTCPListen $_\n"} 20_000 .. 20_599);
$httpd->start or BAIL_OUT($httpd->error_log);
my $last = MPTCP::Session->open(lab => $lab, ns => 'client', port => 20_599, mptcp => 1,
    host => $lab->address('server', 1));
$last->get('/file');
is(scalar(grep { $_->{listener} eq '[::]:20599' } @{ (status()->{live} // {})->{connections} }), 1,
    'six hundred listeners: connections are listed');
$httpd->stop;
done_testing();

# -----------------------------------------------------------------------------

# By a plain listener, so that asking is not counted.
sub status { return $lab->status('server') }

# All that is not zero: { '[::]:80 mptcp' => 1 }
sub counts {
    my $status = status();
    my %count;
    for my $listener (@{ $status->{listeners} }) {
        $count{"$listener->{address} $_"} = $listener->{accepted}{$_}
            for qw(mptcp fallback tcp);
        $count{"$listener->{address} joins"} = $listener->{joins};
    }
    for my $worker (@{ $status->{workers} }) {
        $count{"$worker->{name} $_"} = $worker->{connected}{$_}
            for qw(mptcp fallback tcp);
    }
    delete $count{$_} for grep { !$count{$_} } keys %count;
    return \%count;
}

sub rise {
    my ($from, $to, $name) = @_;
    return ($to->{$name} // 0) - ($from->{$name} // 0);
}

# A connection's end is counted a moment after the client has seen it.
sub ends_as {
    my ($expected, $name) = @_;
    $lab->wait_until(10, sub {
        my $now = counts();
        return "@{[ %$now{sort keys %$now} ]}" eq "@{[ %$expected{sort keys %$expected} ]}";
    });
    return is_deeply(counts(), $expected, $name);
}

# Adds to what is expected, and compares.
sub expect {
    my ($name, %more) = (pop, @_);
    $expected{$_} += $more{$_} for keys %more;
    return is_deeply(counts(), \%expected, $name);
}

sub fetch {
    my (%o) = @_;
    my $r = MPTCP::Client::get(lab => $lab, ns => 'client', path => '/file',
        host => $lab->address('server', 1), port => 80, %o);
    is("$r->{error}$r->{status}", 200, 'fetched');
    return;
}

sub proxied {
    my ($path) = @_;
    return fetch(port => 81, path => $path, mptcp => 0);
}

# Starts a client that makes connections, one after the other, for about a
# second and a half, and then says how many were served.
sub load {
    my ($mptcp, $port, $path) = @_;
    my $out = File::Temp->new;
    my $pid = $lab->spawn('client', { out => "$out" }, $^X, '-e', <<'END',
use strict;
use Socket;
use Time::HiRes qw(time);
my ($protocol, $host, $port, $path) = @ARGV;
my ($served, $failed, $end) = (0, 0, time + 1.5);
$SIG{PIPE} = 'IGNORE';
while (time < $end) {
    socket my $s, PF_INET, SOCK_STREAM, $protocol or die "socket: $!";
    my $in = '';
    connect($s, sockaddr_in($port, inet_aton($host)))
        and syswrite($s, "GET $path HTTP/1.0\r\n\r\n")
        and do { 1 while sysread $s, $in, 65536, length $in };
    $in =~ /^HTTP\S+ 200/ ? $served++ : $failed++;
}
print "$served $failed\n";
END
        $mptcp ? 262 : 6, $lab->address('server', 1), $port, $path);
    return { pid => $pid, out => $out };
}

sub finish {
    my ($load) = @_;
    waitpid $load->{pid}, 0;
    my ($served, $failed) = split ' ', readline($load->{out}) // '';
    return { served => $served // -1, failed => $failed // -1 };
}

sub kill_children {
    my $parent = $httpd->pid;
    my ($children) = $lab->capture('server', 'cat', "/proc/$parent/task/$parent/children");
    kill 'KILL', split ' ', $children;
    return;
}
