# The status page as it is used: orders, filters, what is folded away, what does
# not count.

use strict;
use warnings;

use Cwd ();
use File::Basename qw(dirname);
use File::Temp ();
use MPTCP::Httpd;
use MPTCP::Lab;
use MPTCP::Session;
use Test::More;

use constant MANY => 25;

MPTCP::Lab->enter;
my $lab = MPTCP::Lab->two_paths;
$lab->limits('client', subflows => 2, add_addr_accepted => 2);
$lab->limits('server', subflows => 2);
$lab->endpoint('server', '10.91.2.2', qw(dev s2 id 2 signal));

my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', load => [qw(status proxy proxy_http)],
    conf => <<'END');
Listen 127.0.0.1:81
Listen 127.0.0.1:84
MPTCPListen 80
MPTCPListen 8443
<IfModule mpm_prefork_module>
    StartServers 40
    MinSpareServers 40
    MaxSpareServers 60
    MaxRequestWorkers 100
    ServerLimit 100
</IfModule>
KeepAliveTimeout 120
<VirtualHost 10.91.2.2:80>
    KeepAliveTimeout 1
</VirtualHost>
ProxyPass /mptcp-status !
ProxyPass /backend/ http://127.0.0.1:80/ multipathtcp=On
<Location /mptcp-status>
    SetHandler mptcp-status
</Location>
<Location /server-status>
    SetHandler server-status
</Location>
<VirtualHost 127.0.0.1:84>
    <Location "/other place">
        SetHandler mptcp-status
    </Location>
    <Location /mptcp-status>
        SetHandler none
    </Location>
</VirtualHost>
END
$httpd->write_file('small', "x\n");
$httpd->start or BAIL_OUT($httpd->error_log);

# --- Who looks at the page is not one that came for a site.

my @two = map { MPTCP::Session->open(lab => $lab, ns => 'client', host => '10.91.1.2',
        port => $_, mptcp => 1) } 80, 8443;
$_->get('/small') for @two;
for (1 .. 3) {
    $lab->run('server', qw(curl -sSf -o /dev/null http://127.0.0.1:80/mptcp-status?json));
}
my $session = MPTCP::Session->open(lab => $lab, ns => 'server', host => '127.0.0.1',
    port => 80, mptcp => 0);
$session->get('/mptcp-status?openmetrics') for 1 .. 4;
$session->close;
my ($listener) = @{ status()->{listeners} };
is_deeply($listener->{accepted}, { mptcp => 1, fallback => 0, tcp => 4 },
    'connections for the page are counted as all are');
is_deeply($listener->{asked_for_page}, { mptcp => 0, tcp => 4 }, '... and apart, each once');
like(get(''), qr{<dt>of accepted are MPTCP</dt><dd>100 %<}, 'but are no part of how many are MPTCP');

# --- Joins count while the connection lives.

ok($lab->wait_until(10, sub { status()->{live}{subflows} == 4 }), 'both have joined');
is($lab->counter('server', 'MPTcpExtMPJoinAckRx'), 2, '... says the kernel');
is_deeply([map { "$_->{joins} $_->{joins_live}" } @{ status()->{listeners} }], ['0 1', '0 1'],
    'joins of living connections');
like(get(''), qr{<dt>joins</dt><dd>2<}, '... on the page');
like(get('openmetrics'), qr/^httpd_mptcp_live_joins\{listener="\[::\]:80"\} 1$/m, '... in metrics');

# --- Filters

for ([by_client => 'client=10.91.1.1', 2], [by_network => 'client=10.91.0.0/16', 2],
    ['by its other path' => 'client=10.91.2.1', 2], [none => 'client=10.92.0.0%2F16', 0],
    ['by IPv6' => 'client=%5B2001:db8::1%5D', 0], ['at a listener' => 'at=%5B::%5D:8443', 1],
    ['at one of no name' => 'at=nosuch', 0], ['both' => 'client=10.91.1.1&at=%5B%3A%3A%5D%3A80', 1],
    ['empty, as a form sends it' => 'client=&at=', 2]) {
    my ($name, $query, $count) = @$_;
    my $live = status("json&$query")->{live};
    is_deeply([$live->{matching}, scalar @{ $live->{connections} }, $live->{mptcp}],
        [$count, $count, 2], "filter: $name");
    is(() = get($query) =~ /<tr class="connection"/g, $count, '... HTML');
}
for my $query ('client=x', 'client=10.0.0.0/99', 'client=%00', 'client=<b>') {
    my $head = get($query, qw(-o /dev/null -D -));
    like($head, qr/^HTTP\S+ 400 /, "$query is refused");
}
unlike(get('client=<b>'), qr/<b>/, '... and not repeated');
my $page = get('at=%22%3E%3Cu%3E');
unlike($page, qr/"><u>/, 'a name is escaped where it is shown');
like($page, qr/<option value="&quot;&gt;&lt;u&gt;" selected>/, '... and chosen');
like(get('client=10.91.0.0/16&at=%5B::%5D:80&sort=rate'),
    qr/href="\?sort=subflows&amp;limit=100&amp;client=10\.91\.0\.0%2f16&amp;at=%5b%3a%3a%5d%3a80"/i,
    'links keep what was asked for');
is(status('json&sort=stalled')->{live}{sort}, 'stalled', 'sort=stalled');
like(get('sort=retrans'), qr/<th [^>]*class="resent" aria-sort="descending"/, 'the order is marked');

# --- A limit

$page = get('limit=1');
like($page, qr{1 more are not shown: <a href="\?sort=rate&amp;limit=10">show 10<}, 'a limit: more');
like(get('limit=0'), qr{<a href="\?sort=rate&amp;limit=100">show 100<}, 'a limit of none: more');
unlike(get('limit=1000000'), qr{not shown}, 'the highest limit');

# --- Colours

my $measured = do {
    my $top = dirname(dirname(Cwd::abs_path(__FILE__)));
    $lab->run(undef, $^X, "-I$top/t/lib", "$top/tools/page-pictures", '-c');
};
cmp_ok(scalar(() = $measured =~ /at least (?:3\.0|4\.5)$/mg), '>', 60,
    'text has a contrast of 4.5 or more, borders, bars and lines of 3');

# --- mod_status leads here.

my $section = $lab->capture('server', qw(curl -sS http://127.0.0.1:81/server-status));
like($section, qr{<h1>Multipath TCP</h1>\s*<p><a href="/mptcp-status">}, 'mod_status has a link');
$section = $lab->capture('server', qw(curl -sS http://127.0.0.1:84/server-status));
like($section, qr{<p><a href="/mptcp-status">|<p><a href="/other place">}, '... in a virtual host');

# --- What is closing is no live connection, whatever it was, and stalls nothing.

$session = MPTCP::Session->open(lab => $lab, ns => 'client', host => '10.91.2.2', port => 80,
    mptcp => 0);
$session->get('/small');
is(status()->{live}{tcp}, 1, 'a plain TCP connection');
$lab->blackhole(2);
$lab->run(undef, qw(ip -n server mptcp endpoint delete id 2));
my @closing;
ok($lab->wait_until(20, sub {
        @closing = grep { $_->{local} =~ /10\.91\.2\.2/ && $_->{state} ne 'ESTAB'
                && $_->{info} !~ /ino:[1-9]/ } $lab->ss('server', '-taie');
        return @closing == 3;
    }), 'it is closing, and so are two subflows') or diag $lab->run('server', qw(ss -tainO));
ok($lab->wait_until(20, sub { 3 == grep { $_->{info} =~ /backoff:[1-9]/ } grep {
        $_->{local} =~ /10\.91\.2\.2/ } $lab->ss('server', '-tai') }), '... without an answer');
is(status()->{live}{tcp}, 0, '... and no live plain TCP connection');
is(status()->{live}{mptcp}, 2, 'while the connections of the subflows live');
is(status()->{live}{stalled}, 0, '... and are not stalled');
$session->reset;
$lab->unblackhole(2);
$_->close for @two;

# --- Idle ones are folded away where there are many.

my $ready = File::Temp->new;
my $clients = $lab->spawn('client', { out => "$ready" }, $^X, '-MSocket', '-e', <<'END', MANY);
my @kept;
for (1 .. $ARGV[0]) {
    socket my $s, PF_INET, SOCK_STREAM, 262 or die "socket: $!";
    connect $s, sockaddr_in(80, inet_aton('10.91.1.2')) or die "connect: $!";
    syswrite $s, "GET /small HTTP/1.1\r\nHost: x\r\n\r\n";
    sysread $s, my $in, 65536 or die "closed";
    push @kept, $s;
}
$| = 1;
print "ready\n";
sleep 600;
END
$lab->wait_until(60, sub { -s "$ready" }) or BAIL_OUT('no connections');
unlike(get(''), qr/class="idle"/, 'connections that have just been used are not folded');
ok($lab->wait_until(20, sub { get('') =~ /<details class="idle"[^>]*><summary>(\d+) idle</ && $1 == MANY }),
    'idle ones are');
$page = get('');
my ($folded) = $page =~ m{<details class="idle".*?</table>\s*</details>}s ? $& : '';
is(() = $folded =~ /<tr class="connection"/g, MANY, '... all of them, and they are there');
is(() = $page =~ /<tr class="connection"/g, MANY, '... once');
like(get('limit=22'), qr{<summary>22 idle<.*>3 more are not shown}s, 'a limit holds for them, too');
$lab->reap($clients);
$httpd->stop;
is_deeply([$httpd->complaints(qr/\[mptcp:(?:error|crit)/)], [], 'nothing bad in the log');
done_testing();

# -----------------------------------------------------------------------------

# By a plain listener, unless told otherwise.
sub get { return $lab->status_page('server', @_) }

sub status { return $lab->status('server', @_) }
