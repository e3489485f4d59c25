# Each trouble that the status page names, really made, and seen by the page, in
# JSON and in metrics; and that it is over when it is.

use strict;
use warnings;

use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use MPTCP::Session;
use Test::More;
use Time::HiRes qw(sleep time);

MPTCP::Lab->enter;
my $lab = MPTCP::Lab->two_paths(rate => '20mbit');
$lab->limits('client', subflows => 2, add_addr_accepted => 2);
$lab->limits('server', subflows => 2);

my $conf = <<'END';
Listen 127.0.0.1:81
MPTCPListen 80
Timeout 60
<Location /mptcp-status>
    SetHandler mptcp-status
</Location>
END
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server',
    conf => "${conf}MPTCPEndpoint 10.91.2.2 dev s2 signal\n");
truncate $httpd->write_file('large'), 200_000_000
    or die "truncate: $!";
$httpd->write_file('small', "x\n");
$lab->wait_until(10, sub { 2 == (() = $lab->run(undef, qw(ip -n server link show)) =~
        /^\d+: s\d.*LOWER_UP.*state UP/mg) });
$httpd->start or BAIL_OUT($httpd->error_log);

is_deeply([map { $_->{kind} } @{ status()->{troubles} }], [], 'all is well');
is(status()->{level}, 'good', '... says JSON');
well('at first');

# --- A link is down

my @downloads = map { download() } 1 .. 4;
my $before = time;
$lab->cut(2);
trouble('link down', qr/10\.91\.2\.2\b.*\bs2 is down/, 1);
looks_bad(qr/link down/, 'a link is down');
my ($path) = grep { ($_->{address} // '') eq '10.91.2.2' } @{ status()->{paths} };
ok($path && !$path->{interface_up}, 'its path is down');
like(get('openmetrics'), qr/^httpd_mptcp_path_up\{interface="s2",address="10\.91\.2\.2",peers="clients"\} 0$/m,
    '... in metrics, too');
ok((grep {/s2 is down/} @{ status()->{obstacles} }), 'it is an obstacle');
# The parent has seen it within ten seconds, and knows since when.
ok($lab->wait_until(14, sub { defined since('link down') }), 'since when is known');
my $since = since('link down') / 1000;
cmp_ok($since, '>=', $before - 1, '... not longer than it is so');
cmp_ok($since, '<=', time, '... nor later');
sleep 1;
is(since('link down') / 1000, $since, '... and that does not change');
like(get(''), qr/since \d\d:\d\d:\d\d UTC, \d+ s</, '... on the page, too');
$lab->restore(2);
ok($lab->wait_until(20, sub { !find('link down') }), 'it is over with the cut');

# --- A path that swallows everything

ok($lab->wait_until(30, sub { my ($p) = grep { $_->{address} eq '10.91.2.2' } @{ status()->{paths} };
        $p && $p->{subflows} >= 3 && !$p->{stalled} }), 'the path is used again');
$lab->blackhole(2);
ok($lab->wait_until(20, sub { (find('stalled') // {})->{bad} }), 'subflows of a path have stalled');
my $status = status();
my ($stalled) = grep { $_->{kind} eq 'stalled' } @{ $status->{troubles} };
like($stalled->{what}, qr/^s2 10\.91\.2\.2: of \d+ subflows in use to clients \d+ get no answer/, '... it says where');
ok(abs($stalled->{since_ms} / 1000 - time) < 25, '... and since when');
is($status->{live}{sort}, 'stalled', 'connections with stalled subflows come first');
cmp_ok($status->{live}{connections}[0]{stalled}, '>', 0, '... indeed');
ok(!(grep {/subflows in use/} @{ $status->{obstacles} }), 'traffic is no obstacle');
my ($metric) = get('openmetrics') =~
    /^httpd_mptcp_path_subflows_stalled\{interface="s2",address="10\.91\.2\.2",peers="clients"\} (\d+)$/m;
cmp_ok($metric, '>=', 3, '... in metrics, too');
looks_bad(qr/stalled/, 'a path is silent');
$lab->unblackhole(2);
ok($lab->wait_until(30, sub { !find('stalled') }), 'and goes on');
$_->cancel for @downloads;

# --- An address is taken away

$lab->run(undef, qw(ip -n server address delete 10.91.2.2/24 dev s2));
trouble('address gone', qr/10\.91\.2\.2/, 1);
looks_bad(qr/address gone/, 'an address is gone');
$lab->run(undef, qw(ip -n server address add 10.91.2.2/24 dev s2));
ok($lab->wait_until(20, sub { !find('address gone') }), 'and is back');
$httpd->stop;

# --- Joins that are refused: the address that a host announces leads to another.

$lab->add_host('other');
$lab->add_path(3, ['client', 'c3'], ['other', 'o3']);
$lab->run(undef, qw(ip -n server address add 10.91.3.2/32 dev lo));
$lab->endpoint('server', '10.91.3.2', qw(signal));
my $announcing = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => $conf);
$announcing->write_file('small', "x\n");
my $other = MPTCP::Httpd->new(lab => $lab, ns => 'other', conf => $conf);
$_->start or BAIL_OUT($_->error_log) for $announcing, $other;
my $refused = $lab->counter('other', 'MPTcpExtMPJoinNoTokenFound');
my @sessions = map { MPTCP::Session->open(lab => $lab, ns => 'client', host => '10.91.1.2',
        port => 80, mptcp => 1) } 1 .. 3;
$_->get('/small') for @sessions;
ok($lab->wait_until(20, sub {
        $lab->counter('other', 'MPTcpExtMPJoinNoTokenFound') > $refused }),
    'a host refuses joins for connections that it does not have');
my ($found) = grep { $_->{kind} eq 'joins refused' } @{ status('other')->{troubles} };
ok($found, 'its page says so') or diag explain status('other')->{troubles};
my $count = $lab->counter('other', 'MPTcpExtMPJoinNoTokenFound') - $refused;
like($found->{what}, qr/refused \d+ of \d+ joins: \d+ for a connection/, '... and how many, and why');
like($found->{remedy}, qr/load balancer/, '... and what to do');
like(get('openmetrics', 'other'),
    qr/^httpd_mptcp_host_joins_refused_total\{reason="no_token"\} [1-9]/m, '... in metrics, too');
like(get('', 'other'), qr/class="state warn">.*joins refused/, 'the page is amber');
# Notes of the counters reach ten minutes back, however often httpd is reloaded.
$other->graceful or BAIL_OUT($other->error_log) for 1 .. 11;
like(get('', 'other'), qr/class="state warn">.*joins refused/, 'it is so after eleven reloads');
$_->close for @sessions;
$_->stop for $announcing, $other;

# Joins that are answered, by packets that never arrive: an address whose answers
# leave by another network, where they are dropped, as many providers do.
{
    $lab->run('client', 'nft', 'add table ip t; add chain ip t in { type filter hook input'
        . ' priority 0; }; add rule ip t in ip saddr 10.91.2.2 drop');
    $httpd->start or BAIL_OUT($httpd->error_log);
    my $asked = $lab->counter('server', 'MPTcpExtMPJoinSynRx');
    my @open = map { MPTCP::Session->open(lab => $lab, ns => 'client', host => '10.91.1.2',
            port => 80, mptcp => 1) } 1 .. 3;
    $_->get('/small') for @open;
    ok($lab->wait_until(20, sub { $lab->counter('server', 'MPTcpExtMPJoinSynRx') >= $asked + 3 }),
        'joins whose answers do not arrive');
    my ($one) = grep { $_->{kind} eq 'joins refused' } @{ status()->{troubles} };
    like($one->{what} // '', qr/[3-9] of [3-9] joins were answered, and never finished/, '... the page says so');
    like($one->{remedy} // '', qr/ip route get CLIENT from ADDRESS/, '... and what to do');
    $lab->run('client', qw(nft delete table ip t));
    $_->close for @open;
    $httpd->stop;

    # Those that do arrive are no trouble.
    $httpd->start or BAIL_OUT($httpd->error_log);
    my $finished = $lab->counter('server', 'MPTcpExtMPJoinAckRx');
    @open = map { MPTCP::Session->open(lab => $lab, ns => 'client', host => '10.91.1.2',
            port => 80, mptcp => 1) } 1 .. 3;
    $_->get('/small') for @open;
    ok($lab->wait_until(20, sub { $lab->counter('server', 'MPTcpExtMPJoinAckRx') >= $finished + 3 }),
        'joins whose answers arrive');
    is_deeply([map { $_->{kind} } @{ status()->{troubles} }], [], '... are no trouble');
    my $kernel = status()->{kernel};
    is($kernel->{joins_finished}, $lab->counter('server', 'MPTcpExtMPJoinAckRx'), '... and are counted');
    $_->close for @open;
    $httpd->stop;
}

# Joins that come too late, for connections of one short answer each: with 40 ms
# there and back nearly all of them, and nothing is wrong.
{
    $lab->add_host('far');
    $lab->add_path($_, ['client', "c$_"], ['far', "f$_"], delay => 0.02) for 4, 5;
    my $far = MPTCP::Httpd->new(lab => $lab, ns => 'far',
        conf => "${conf}MPTCPEndpoint 10.91.5.2 dev f5 signal\n");
    $far->write_file('short', 'x' x 60_000);
    $far->start or BAIL_OUT($far->error_log);
    for (1 .. 12) {
        my $r = MPTCP::Client::get(lab => $lab, ns => 'client', host => '10.91.4.2', port => 80,
            path => '/short', mptcp => 1, timeout => 20);
        is("$r->{error}$r->{bytes}", 60_000, 'a short answer');
    }
    my %counted = %{ $lab->counters('far') };
    cmp_ok($counted{MPTcpExtMPJoinSynRx}, '>=', 6, 'joins have come');
    # what is refused because it is late is counted since Linux 6.15
    my $late = ($counted{MPTcpExtMPJoinRejected} // 99) + $counted{MPTcpExtMPJoinNoTokenFound};
    cmp_ok(10 * $late, '>=', $counted{MPTcpExtMPJoinSynRx}, '... too late');
    is_deeply([map { $_->{kind} } @{ status('far')->{troubles} }], [], '... which is no trouble');
    $far->stop;
}

# --- The kernel gives up MPTCP for new connections

{
    my $proxy = MPTCP::Httpd->new(lab => $lab, ns => 'client', load => [qw(proxy proxy_http)],
        conf => <<'END');
Listen 127.0.0.1:81
ProxyPass /b/ http://10.91.1.2:80/ multipathtcp=On disablereuse=On
<Location /mptcp-status>
    SetHandler mptcp-status
</Location>
END
    my $backend = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => "Listen 80\n");
    $backend->write_file('small', "x\n");
    $_->start or BAIL_OUT($_->error_log) for $backend, $proxy;
    ok(!find('blackhole', 'client'), 'no blackhole at first');
    # the first packets with MPTCP get no answer, those without do
    $lab->run('server', qw(nft), 'add table ip t; add chain ip t in { type filter hook input'
        . ' priority 0; }; add rule ip t in tcp dport 80 drop');
    my $request = $lab->spawn('client', qw(curl -s -o /dev/null http://127.0.0.1:81/b/small));
    # Three that have MPTCP, a second apart; and the next, without, is answered.
    $lab->wait_until(20, sub { $lab->syns_sent('client', 80) >= 3 });
    $lab->run('server', qw(nft flush ruleset));
    waitpid $request, 0;
    is($?, 0, '... and is answered then');
    $lab->run('client', qw(curl -s -o /dev/null http://127.0.0.1:81/b/small));
    # Linux does since 6.12
    if (defined $lab->counters('client')->{MPTcpExtBlackhole}) {
        cmp_ok($lab->counter('client', 'MPTcpExtBlackhole'), '>', 0, 'the kernel has seen a blackhole');
        ok(find('blackhole', 'client'), 'the page says so');
        like((find('blackhole', 'client') // {})->{remedy}, qr/net\.mptcp\.blackhole_timeout/,
            '... and how to end it');
        looks_bad(qr/blackhole/, 'MPTCP is stopped', 'client');
    }
    else {
        ok(!find('blackhole', 'client'), 'this kernel never gives MPTCP up: nor does the page say so');
        is(status('client')->{blackhole}, undef, '... nor that it does not');
    }
    $_->stop for $proxy, $backend;
}
done_testing();

# -----------------------------------------------------------------------------

sub get {
    my ($query, $ns) = @_;
    return $lab->status_page($ns // 'server', $query);
}

sub status { my ($ns) = @_; return $lab->status($ns // 'server') }

sub find {
    my ($kind, $ns) = @_;
    my ($one) = grep { $_->{kind} eq $kind } @{ status($ns)->{troubles} };
    return $one;
}

sub since { my ($one) = find(@_); return $one && $one->{since_ms} }

sub trouble {
    my ($kind, $text, $is_bad) = @_;
    my $one;
    ok($lab->wait_until(20, sub { $one = find($kind) }), "$kind: is seen") or return;
    like($one->{what}, $text, '... it says where');
    ok($one->{remedy}, '... and what to do');
    is(!!$one->{bad}, !!$is_bad, '... how bad it is');
    like(get('openmetrics'), qr/^httpd_mptcp_troubles\{kind="$kind"\} 1$/m, '... in metrics, too');
    return;
}

# In the heading, the title and the icon.
sub looks_bad {
    my ($words, $name, $ns) = @_;
    my $page = get('', $ns);
    like($page, qr/<span class="state bad">[^\n]*$words/, "$name: the heading is red");
    like($page, qr/<title>[^<]*$words[^<]*: MPTCP at /, '... the title says it');
    like($page, qr/rel="icon" href="data:[^"]*rgb\(179,38,30\)/, '... the icon is red');
    return is(status($ns)->{level}, 'bad', '... and JSON says it');
}

sub well {
    my ($name) = @_;
    my $page = get('');
    like($page, qr/<span class="state good">[^\n]* on</, "$name: the heading is green");
    like($page, qr/<title>on: MPTCP at /, '... the title says it');
    unlike($page, qr/id="troubles"/, '... and nothing else');
    return;
}

sub download {
    my $one = MPTCP::Client->start(lab => $lab, ns => 'client', host => '10.91.1.2', port => 80,
        path => '/large', mptcp => 1, timeout => 120);
    $one->wait_bytes(500_000) or BAIL_OUT('no download');
    return $one;
}
