# The status page in all its forms, against ss and what was done.

use strict;
use warnings;

use Cwd ();
use File::Basename qw(dirname);
use JSON::PP ();
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use MPTCP::Session;
use Test::More;

use constant { IPPROTO_MPTCP => 262, SIZE => 400_000_000 };

MPTCP::Lab->enter;
my $lab = MPTCP::Lab->two_paths(rate => '50mbit');
$lab->limits('client', subflows => 2, add_addr_accepted => 2);
$lab->limits('server', add_addr_accepted => 1);
my $server = $lab->address('server', 1);

# An interface's name may have anything but white space, slash and colon.
my $odd = q{<b>&"'};
$lab->run(undef, qw(ip -n server link add), $odd, qw(type veth peer name peer));
$lab->run(undef, qw(ip -n server address add 10.99.0.1/32 dev), $odd);
$lab->run(undef, qw(ip -n server link set up dev), $_) for $odd, 'peer';
$lab->endpoint('server', '10.99.0.1', 'dev', $odd, qw(id 9 backup));

my $conf = <<'END';
Listen 81
MPTCPListen 80
MPTCPListen 8443
MPTCPListen 127.0.0.1:82
MPTCPEndpoint 10.91.2.2 dev s2 id 2 signal
MPTCPLimits subflows=2
ExtendedStatus Off
KeepAliveTimeout 60
ProxyPass /backend/ http://127.0.0.1/ multipathtcp=On
ProxyPass /odd/ "http://127.0.0.6:8001/<i>&'\\\"\xc3\xa9/" multipathtcp=On
ProxyPass /odder/ "http://127.0.0.6:8001/<i>&'\\\"\xe8/" multipathtcp=On
ProxyPass /files/ ftp://user:secret@127.0.0.7/ multipathtcp=On
ProxyPass /others/ ftp://user:other@127.0.0.7/ multipathtcp=On
<Location /server-status>
    SetHandler server-status
</Location>
END
$conf =~ s/\\x(\w\w)/chr hex $1/ge;      # e with an accent, in UTF-8 and Latin 1
# The page is where the documentation's example puts it.
my $manual = do {
    open my $file, '<', dirname(dirname(Cwd::abs_path(__FILE__))) . '/docs/status.md'
        or die "docs/status.md: $!";
    local $/;
    <$file>;
};
my ($example) = $manual =~ /^```apache\n(.*?)^```/ms;
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => $conf . $example,
    load => [qw(authz_host status proxy proxy_http)]);
truncate $httpd->write_file('file'), SIZE
    or die "truncate: $!";
$httpd->write_file('medium', 'x' x 2_000_000);
$httpd->write_file('small', 'x' x 1000);
$httpd->start or BAIL_OUT($httpd->error_log);

# --- What is configured

# The kernel takes a second to say that a device which was set up is up.
$lab->wait_until(10, sub { !grep { $_->{kind} eq 'link down' } @{ status()->{troubles} } });
my $json = status();
is($json->{schema}, 1, 'schema');
is($json->{mptcp}, 'on', 'MPTCP is on');
is_deeply($json->{obstacles}, [], 'nothing stands in the way');
is_deeply([map {"$_->{address} $_->{mptcp}"} @{ $json->{listeners} }],
    ['[::]:80 1', '127.0.0.1:82 1', '[::]:8443 1'], 'the listeners, by port');
is_deeply($json->{path_manager}{limits}, {
        subflows => { value => 2, own => JSON::PP::true },
        add_addr_accepted => { value => 1, own => JSON::PP::false } },
    'limits, and whose');
is_deeply($json->{path_manager}{endpoints}, [
        { address => '10.91.2.2', id => 2, interface => 's2', flags => ['signal'],
            own => JSON::PP::true, state => 'ready' },
        { address => '10.99.0.1', id => 9, interface => $odd,
            flags => ['backup'], own => JSON::PP::false, state => 'ready' } ],
    'endpoints, and whose');
is_deeply($json->{live}{connections}, [], 'no connection yet');

# --- A download over two paths

my $download = MPTCP::Client->start(lab => $lab, ns => 'client', path => '/file',
    host => $server, port => 80, mptcp => 1);
$download->wait_bytes(4e6) or BAIL_OUT('no download');

# Others' sockets are not this server's: one of another program, on a port that
# is this server's elsewhere, and a plain connection to the plain listener.
my $other = $lab->spawn('server', $^X, '-MSocket', '-e', <<"END");
socket my \$s, PF_INET, SOCK_STREAM, ${\ IPPROTO_MPTCP } or die;
setsockopt \$s, SOL_SOCKET, SO_REUSEADDR, 1;
bind \$s, sockaddr_in(82, inet_aton('$server')) or die;
listen \$s, 5;
accept my \$c, \$s;
sleep 60;
END
$lab->wait_until(10, sub { grep { $_->{local} eq "$server:82" } $lab->ss('server', '-lM') });
my @foreign = (connect_to(82, 1), connect_to(81, 0));
my $plain = connect_to(80, 0);
ok($lab->wait_until(10, sub { (grep { $_->{state} eq 'ESTAB' } $lab->ss('server', '-M')) == 2 }),
    'two live MPTCP connections in all');
ok($lab->wait_until(10, sub { (grep { $_->{state} eq 'ESTAB' && $_->{local} =~ /:80$/ }
        $lab->ss('server', '-t')) == 3 }), 'two subflows, and a plain one');

$json = status();
my $live = $json->{live};
is($live->{mptcp}, 1, "one of them is this server's");
is($live->{tcp}, 1, 'as is one by plain TCP, of an MPTCP listener');
is($live->{subflows}, 2, 'two subflows');
$lab->limits('server', add_addr_accepted => 0);
is_deeply([@{ status()->{live} }{qw(mptcp tcp subflows)}], [1, 1, 2],
    '... also where the kernel is asked for certain ports');
$lab->limits('server', add_addr_accepted => 1);
my ($connection) = @{ $live->{connections} };
my ($socket) = grep { $_->{local} =~ /:80$/ } $lab->ss('server', '-Mi');
my ($token) = $socket->{info} =~ /token:(\w+)/;
is($connection->{token}, $token, 'the token, as ss has it');
is($connection->{listener}, '[::]:80', 'of which listener');
is_deeply($connection->{local}, { address => '10.91.1.2', port => 80 }, 'local address');
ok(!$connection->{fallback}, 'it has not fallen back');

# As ss has them, by local address.
my %by_ss;
for my $line ($lab->ss('server', '-ti')) {
    next if $line->{info} !~ m{token:\w+\(id:\d+\)/$token\(};
    s/^\[::ffff:([\d.]+)\]/$1/ for @$line{qw(local peer)};
    $by_ss{ $line->{local} } = $line;
}
is(scalar keys %by_ss, 2, 'ss has two subflows');
$connection = status()->{live}{connections}[0];
my $sum = 0;
for my $i (0, 1) {
    my $subflow = $connection->{subflows}[$i];
    my $local = end_text($subflow->{local});
    my $ss = $by_ss{$local};
    is(end_text($subflow->{remote}), $ss->{peer}, "$local: the same remote address");
    is($subflow->{interface}, 's' . ($i + 1), "$local: its interface");
    ok($subflow->{interface_up}, "$local: that is up");
    ok($subflow->{joined} == $i, "$local: first, or joined");
    my ($acked) = $ss->{info} =~ /bytes_acked:(\d+)/;
    cmp_ok($subflow->{bytes_sent}, '>=', $acked, "$local: bytes, since ss was asked");
    cmp_ok($subflow->{bytes_sent}, "<", $acked + 100e6, "$local: and not much more");
    cmp_ok($subflow->{rtt_us}, '>', 0, "$local: RTT");
    ok(!$subflow->{stalled} && !$subflow->{backup_local} && !$subflow->{backup_remote},
        "$local: neither stalled nor backup");
    $sum += $subflow->{bytes_sent};
}
cmp_ok($connection->{subflows}[$_]{bytes_sent}, '>', $sum / 5, "share of path @{[ $_ + 1 ]}")
    for 0, 1;

# As a page
my $page = get('');
like($page, qr/class="state good">.*<\/svg> on</, 'HTML: on');
like($page, qr/<dt>subflows<\/dt><dd>2<\/dd>/, 'HTML: how many subflows');
for my $local (sort keys %by_ss) {
    like($page, qr/>\Q$local\E \xe2\x86\x94 \Q$by_ss{$local}{peer}\E</,
        "HTML: $local and its peer");
}
my ($bar) = $page =~ /<td class="paths"><svg.*?<\/svg>/g ? $& : '';
my @widths = map { 0 + $_ } $bar =~ /<rect [^>]*width="([\d.]+)"/g;
is(scalar @widths, 2, 'HTML: a bar of two parts');
cmp_ok(abs($widths[0] + $widths[1] - 99), '<', 0.1, '... that are the whole, but for two gaps');
like($page, qr/10\.99\.0\.1 dev &lt;b&gt;&amp;&quot;'/, 'HTML: an odd name is escaped');
unlike($page, qr/<b>&amp;|<i>/, '... everywhere');

$lab->limits('server', add_addr_accepted => 0);

# A cut is seen at the next refresh.
$lab->cut(2);
ok($lab->wait_until(10, sub { grep { !$_->{interface_up} } second_path() }),
    'the cut of a path is seen');
like(get(''), qr/s2 <span class="address">10\.91\.2\.2<.*?<b class="alarm">down</, 'HTML: too');
$lab->restore(2);
ok($lab->wait_until(20, sub { grep { $_->{interface_up} && !$_->{stalled} } second_path() }),
    'and its end');

# A path that swallows everything, with its devices up, stalls.
$lab->blackhole(2);
ok($lab->wait_until(10, sub { grep { $_->{stalled} && $_->{interface_up} } second_path() }),
    'a path that swallows everything is seen to stall');
$lab->unblackhole(2);
ok($lab->wait_until(20, sub { grep { !$_->{stalled} } second_path() }), 'and to go on');
$download->cancel;
$lab->reap($_) for @foreign, $plain, $other;

# --- A backend, and a limit

MPTCP::Client::get(lab => $lab, ns => 'server', host => '127.0.0.1', port => 81,
    path => '/backend/small');
# both ends of it are this server's
my @ends = sort { ($a->{worker} // '') cmp($b->{worker} // '') }
    grep { $_->{local}{address} eq '127.0.0.1' } @{ status()->{live}{connections} };
is_deeply([map { [@$_{qw(listener worker)}] } @ends],
    [['[::]:80', undef], [undef, 'http://127.0.0.1/']],
    'a connection to a backend');
is($ends[0]{remote}{port}, $ends[1]{local}{port}, 'its two ends');

my @sessions = map { MPTCP::Session->open(lab => $lab, ns => 'client', host => $server,
        port => 80, mptcp => 1) } 1 .. 4;
$_->get('/small') for @sessions;
# What the client left when it went away may still be among them.
$lab->wait_until(10, sub { status()->{live}{subflows} >= 10 });
$live = status('json&limit=3')->{live};
cmp_ok($live->{mptcp}, '>=', 6, "six live connections: $live->{mptcp}");
is(scalar @{ $live->{connections} }, 3, 'a limit of three');
is($live->{not_shown}, $live->{mptcp} - 3, 'and how many are not shown');
my ($all, $more) = get('limit=3')
    =~ m{<dt>MPTCP connections</dt><dd>(\d+)<.*>(\d+) more are not shown}s;
is($more, $all - 3, 'HTML: too');
is(scalar @{ status('json&limit=0')->{live}{connections} }, 0, 'a limit of none');

# --- Order

$sessions[1]->get('/medium');
$live = status('json&sort=rate')->{live};
is($live->{sort}, 'rate', 'by rate');
ok(is_descending(map { $_->{rate} } @{ $live->{connections} }), '... in order');
ok(is_descending(map { $_->{retrans_segments} } @{ status('json&sort=retrans')->{live}{connections} }),
    'by retransmissions, in order');
my @counts = map { scalar @{ $_->{subflows} } }
    @{ status('json&sort=subflows')->{live}{connections} };
ok(is_descending(@counts), "by subflows, in order: @counts");
cmp_ok($counts[0], '>', $counts[-1], '... which makes a difference');
$_->close for @sessions;

# --- Queries and headers

like(head('limit=-1'), qr/^HTTP\S+ 400 /, 'limit=-1');
like(head('limit=1e9'), qr/^HTTP\S+ 400 /, 'limit=1e9');
like(head('limit='), qr/^HTTP\S+ 400 /, 'limit=');
like(head('sort=%3Cb%3E'), qr/^HTTP\S+ 400 /, 'sort=<b>');
unlike(get('sort=<b>x'), qr/<b>x/, 'which is not repeated');
like(head('json&_=123'), qr/^HTTP\S+ 200 /, 'an unknown word does no harm');

my $head = head('');
like($head, qr{^Content-Type: text/html; charset=utf-8\r$}m, 'HTML: type');
like($head, qr/^Cache-Control: no-store\r$/m, 'HTML: not kept');
like($head, qr/^Content-Security-Policy: default-src 'none'; (?!.*unsafe)/m,
    'HTML: a strict policy');
$page = get('');
unlike($page, qr/<script(?! src="\?script" defer><\/script>)|<style|\sstyle=|\son\w+=/i,
    'HTML: no script or style within');
is_deeply([sort map { s/^data:image\/svg.*/data:/r } grep { !/^\?(?:sort|json|openmetrics)/ }
            $page =~ /(?:src|href)="([^"]*)"/g],
    ['?script', '?style', 'data:'], 'HTML: no asset from elsewhere');
like($page, qr/<noscript><meta http-equiv="refresh" content="\d+"><\/noscript>/,
    'HTML: refreshes without scripts');
for (['style', 'text/css'], ['script', 'text/javascript']) {
    my ($word, $type) = @$_;
    my ($etag) = head($word) =~ /^ETag: ("\w+")\r$/m;
    like(head($word), qr{^HTTP\S+ 200 .*^Content-Type: $type; charset=utf-8\r$}ms,
        "$word: type");
    like(get($word), qr/License/, "$word: is there");
    like(head($word, '-H', "If-None-Match: $etag"), qr/^HTTP\S+ 304 /, "$word: is kept");
}
like(head($_), qr{^Content-Type: application/json\r$}m, "?$_: type") for qw(json json=);
like($lab->capture('server', qw(curl -sS -i -X POST http://127.0.0.1:81/mptcp-status)),
    qr/^HTTP\S+ 405 /, 'POST is not for it');
like($lab->capture('server', qw(curl -sS -i -X OPTIONS http://127.0.0.1:81/mptcp-status)),
    qr/^HTTP\S+ 200 .*^Allow: .*GET/ms, 'OPTIONS names GET');
is(length $lab->capture('server', qw(curl -sS -X HEAD -m 5 -I -o /dev/null
    http://127.0.0.1:81/mptcp-status)), 0, 'HEAD has no body');
unlike($lab->capture('server', qw(curl -sS http://127.0.0.1:81/other)), qr/MPTCP/,
    'nothing of it is anywhere else');

like($lab->capture('client', qw(curl -sS -i), "http://$server:81/mptcp-status"),
    qr/^HTTP\S+ 403 /, "the documentation's example keeps others out");

# --- IPv6

if ($lab->has_ipv6) {
    my $session = MPTCP::Session->open(lab => $lab, ns => 'client', port => 80, mptcp => 1,
        host => $lab->address6('server', 1));
    my ($found) = grep { $_->{local}{address} eq 'fd91:1::2' } @{ status()->{live}{connections} };
    is($found->{listener}, '[::]:80', 'an IPv6 connection');
    # the second path may have been joined by IPv4
    my ($first) = grep { !$_->{joined} } @{ $found->{subflows} };
    is("$first->{local}{address} $first->{interface}", 'fd91:1::2 s1', '... its first subflow');
    like(get(''), qr/>\[fd91:1::1\]:\d+</, 'HTML: too');
    $session->close;
}

# --- The documentation names all there is.

sub keys_of {
    my ($value) = @_;
    return map { keys_of($_) } @$value if ref $value eq 'ARRAY';
    return map { $_, keys_of($value->{$_}) } keys %$value if ref $value eq 'HASH';
    return;
}
my %keys = map { $_ => 1 } keys_of(status());
cmp_ok(scalar keys %keys, '>', 40, scalar(keys %keys) . ' different keys');
is_deeply([grep { $manual !~ /`\Q$_\E`/ } sort keys %keys], [], 'no key is undocumented');
is_deeply([grep { $manual !~ /`\Q$_\E`/ } get('openmetrics') =~ /^(\w+)/mg], [],
    'no metric is undocumented');

# --- Metrics

my %kinds = (
    'text/plain; version=0.0.4; charset=utf-8' => '*/*',
    'application/openmetrics-text; version=1.0.0; charset=utf-8' =>
        'application/openmetrics-text;version=1.0.0,text/plain;q=0.5',
);
for my $type (sort keys %kinds) {
    my $accept = "Accept: $kinds{$type}";
    like(head('openmetrics', '-H', $accept), qr/^Content-Type: \Q$type\E\r$/m, "type $type");
    check_metrics(get('openmetrics', '-H', $accept), $type =~ /^application/);
}

# --- mod_status

my $auto = $lab->capture('server', qw(curl -sS http://127.0.0.1:81/server-status?auto));
my @lines = grep {/^MPTCP/} split /\n/, $auto;
my @keys  = map {/^(MPTCP[\w\[\]]+): \S/} @lines;
is(scalar @keys, scalar @lines, '?auto: every line has a key and a value');
is_deeply(\@keys, [sort @keys], '?auto: in order');
like($auto, qr/^MPTCPListener\[0\]Name: \[::\]:80$/m, '?auto: a listener');
my ($mptcp) = $auto =~ /^MPTCPListener\[0\]MPTCP: (\d+)$/m;
is($mptcp, status()->{listeners}[0]{accepted}{mptcp}, '?auto: its count');
like($auto, qr/^MPTCPWorker\[3\]Name: http:\/\/127\.0\.0\.1\/$/m, '?auto: a worker');
my $section = $lab->capture('server', qw(curl -sS http://127.0.0.1:81/server-status));

# A worker's URL may have a password.
for my $page (get('html'), get('json'), get('openmetrics'), $auto, $section) {
    my ($url) = $page =~ m{(ftp://.*?127\.0\.0\.7)};
    is($url, 'ftp://user:XXXXXXXX@127.0.0.7', 'no password is shown');
}
is(() = get('openmetrics') =~ /"http:\/\/127\.0\.0\.6:8001\/<i>&'\\\\\\"%(?:C3%A9|E8)\/",protocol="tcp"/g, 2,
    'a label is ASCII, and tells workers apart');
like($section, qr{<h1>Multipath TCP</h1>.*<td>\[::\]:80</td><td>$mptcp</td>}s,
    'HTML: a section, with ExtendedStatus Off');
is(() = $section =~ /<h1>Multipath TCP/g, 1, '... once, though the module was loaded twice at start');

# --- What stands in the way

$lab->limits('server', subflows => 0);
like("@{ status()->{obstacles} }", qr/MPTCPLimits subflows=2/, 'a limit of 0 is seen');
ok(!status()->{path_manager}{limits}{subflows}{own}, "and is not this server's");
like(get(''), qr/<section id="troubles".*MPTCPLimits subflows=2/s, 'HTML: too');
$lab->limits('server', subflows => 2);
$lab->sysctl('server', 'net.mptcp.enabled', 0);
is(status()->{mptcp}, 'refused', 'MPTCP is switched off');
like(get(''), qr/class="state bad">.*sysctl -w net\.mptcp\.enabled=1/s, 'HTML: too');
$lab->sysctl('server', 'net.mptcp.enabled', 1);

$httpd->set_conf(join '', $example,
    grep { !/MPTCP|multipathtcp/ } split /^/, $conf);
$httpd->restart or BAIL_OUT($httpd->error_log);
$json = status();
is("$json->{mptcp} @{ $json->{listeners} } @{ $json->{workers} }", 'unused  ',
    'a server that uses none of it');
is($json->{live}{mptcp}, 0, '... shows no connection');
like(get(''), qr/class="state off">not used</, '... and says so');
unlike($lab->capture('server', qw(curl -sS http://127.0.0.1:81/server-status?auto)), qr/MPTCP/,
    '... and adds nothing to mod_status');
$httpd->stop;
is_deeply([$httpd->complaints(qr/\[mptcp:(?:error|crit)/)], [], 'nothing bad in the log');
done_testing();

# -----------------------------------------------------------------------------

# The page, asked for on the plain listener.
sub get { return $lab->status_page('server', @_) }

sub head { my ($query, @curl) = @_; return get($query, qw(-o /dev/null -D -), @curl) }

sub status { return $lab->status('server', @_) }

# The subflow by the second path.
sub second_path {
    return grep { ($_->{interface} // '') eq 's2' }
        map { @{ $_->{subflows} } } @{ status()->{live}{connections} };
}

sub end_text { my ($end) = @_; return "$end->{address}:$end->{port}" }

# A client that connects and then does nothing.
sub connect_to {
    my ($port, $mptcp) = @_;
    return $lab->spawn('client', $^X, '-MSocket', '-e', <<'END',
socket my $s, PF_INET, SOCK_STREAM, $ARGV[0] or die;
connect $s, sockaddr_in($ARGV[2], inet_aton($ARGV[1])) or die "connect: $!";
sleep 60;
END
        $mptcp ? IPPROTO_MPTCP : 6, $server, $port);
}

sub is_descending {
    my (@numbers) = @_;
    return @numbers > 1 && !grep { $numbers[ $_ - 1 ] < $numbers[$_] } 1 .. $#numbers;
}

# The rules of both formats, and those that promtool adds.
sub check_metrics {
    my ($text, $is_openmetrics) = @_;
    my $name = $is_openmetrics ? 'OpenMetrics' : 'text format';
    my (%type, %help, %seen, @wrong, $family);
    my @lines = split /\n/, $text, -1;
    push @wrong, 'no line feed at the end' if pop @lines ne '';
    if ($is_openmetrics) {
        push @wrong, 'no # EOF' if pop @lines ne '# EOF';
    }
    for (@lines) {
        if (/^# HELP (\w+) (\S.*)$/) {
            push @wrong, "twice: $_" if $help{$1}++;
        }
        elsif (/^# TYPE (\w+) (counter|gauge)$/) {
            $type{ $family = $1 } = $2;
            push @wrong, "no help: $_" if !$help{$1};
        }
        elsif (/^(\w+?)(_total)?((?:\{\w+="(?:[^"\\\n]|\\["\\n])*"(?:,\w+="(?:[^"\\\n]|\\["\\n])*")*\})?) \d+(?:\.\d+)?$/) {
            my $counter = defined $2;
            my $of = !$counter ? $1 : $is_openmetrics ? $1 : "$1$2";
            push @wrong, "of another family: $_" if $of ne ($family // '');
            push @wrong, "wrong type: $_" if ($type{$of} // '') ne ($counter ? 'counter' : 'gauge');
            push @wrong, "twice: $_" if $seen{"$of$3"}++;
        }
        else {
            push @wrong, "not understood: $_";
        }
    }
    is_deeply(\@wrong, [], "$name: by the rules");
    my $count = () = $text =~ /^httpd_mptcp_accepted_connections_total\{listener="\[::\]:80",protocol="mptcp"\} ([1-9]\d*)$/mg;
    return is($count, 1, "$name: counts connections");
}
