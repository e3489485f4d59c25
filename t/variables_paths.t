# What the MPTCP variables say while paths come and go, against ss and the
# kernel's counters.

use strict;
use warnings;

use MPTCP::Httpd;
use MPTCP::Lab;
use MPTCP::Middlebox;
use MPTCP::Session;
use Test::More;

MPTCP::Lab->enter;
my $lab = MPTCP::Lab->two_paths(rate => '50mbit');
$lab->limits('client', subflows => 2, add_addr_accepted => 2);
$lab->limits('server', subflows => 2);

my @names = map {"MPTCP$_"} '', qw(_SUBFLOWS _SUBFLOWS_TOTAL _TOKEN _BYTES_SENT
    _BYTES_RECEIVED _BYTES_RETRANS);
my %unknown = map { $_ => 1 } $lab->unknown_variables;
my $log = join ' ', '%q %X', map {"$_=%{$_}^mp"} @names;
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', load => [qw(headers ratelimit env)],
    conf => <<"END");
MPTCPListen 80
KeepAliveTimeout 60
<Location /slow>
    SetOutputFilter RATE_LIMIT
    SetEnv rate-limit 400
</Location>
CustomLog logs/values "$log"
@{[ join "\n", map {qq(Header set X-$_ "expr=%{$_}")} @names ]}
END
$httpd->write_file('index.html', "document\n");
$httpd->write_file('large', '0123456789abcdef' x 0x100000);    # 16 MiB
$httpd->write_file('slow', '0123456789abcdef' x 0x20000);      # 2 MiB
$httpd->start or BAIL_OUT($httpd->error_log);

# --- Live subflows

my $session = MPTCP::Session->open(lab => $lab, ns => 'client',
    host => $lab->address('server', 1), port => 80, mptcp => 1);
my $token = '';
agrees(1, 'one path');

$lab->endpoint('server', $lab->address('server', 2), qw(dev s2 id 2 signal));
ok($lab->wait_until(10, sub { subflows() == 2 }), 'the second path is joined');
agrees(2, 'after the join');

$lab->run(undef, qw(ip -n server mptcp endpoint delete id 2));
ok($lab->wait_until(10, sub { subflows() == 1 }), 'the second path is withdrawn');
agrees(1, 'after that');

# The first subflow is not there for ever either.
$lab->endpoint('server', $lab->address('server', 2), qw(dev s2 id 2 signal));
ok($lab->wait_until(10, sub { subflows() == 2 }), 'the second path is back');
$lab->run('server', qw(ss -K -t src), $lab->address('server', 1), 'sport', '= :80');
ok($lab->wait_until(10, sub { subflows() == 1 }), 'the first one is ended');
# (A kernel without a number of all subflows says that the first one is alive.)
agrees(1, 'without the first path', $unknown{MPTCP_SUBFLOWS_TOTAL} ? 2 : 1);
$session->close;

# --- Bytes and retransmissions

# A request says what came before it. Its own is received then, and nothing of
# its answer sent.
$session = MPTCP::Session->open(lab => $lab, ns => 'client',
    host => $lab->address('server', 1), port => 80, mptcp => 1);
my ($large, $small);
$large = $session->get('/large');
$small = $session->get('/index.html');
is($large->{bytes}, 0x1000000, 'a download over two paths');
is($small->{headers}{'x-mptcp_subflows'}, 2, 'it had two subflows');
bytes_agree($small, $large, 'after that');
like($small->{headers}{'x-mptcp_bytes_retrans'}, $unknown{MPTCP_BYTES_RETRANS} ? qr/^$/ : qr/^\d+$/,
    'after that: retransmissions are a number');

# What a blackhole swallows is sent again on the other path. The download is a
# slow one, so that the other path is idle in between: with data of its own on
# its way it is not chosen, and when the kernel gives up the first one after a
# while, it sends the rest on the other without counting it (Linux 6.18).
my $before = $lab->counter('server', 'MPTcpExtMPTCPRetrans');
my @start = device_bytes();
my $busy;
$session->begin("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
ok($lab->wait_until(20, sub {
    my @now = device_bytes();
    ($busy) = grep { $now[ $_ - 1 ] - $start[ $_ - 1 ] > 150_000 } 1, 2;
    return $busy;
}), 'a slow download has begun');
$lab->blackhole($busy);
ok($lab->wait_until(20, sub {
    $lab->counter('server', 'MPTcpExtMPTCPRetrans') > $before }),
    'the kernel has counted retransmissions');
$lab->unblackhole($busy);
$large = $session->finish;
is($large->{bytes}, 0x200000, 'it survives the loss of a path');
$small = $session->get('/index.html?lossy');
bytes_agree($small, $large, 'after that');
my $retrans = $small->{headers}{'x-mptcp_bytes_retrans'};
$unknown{MPTCP_BYTES_RETRANS} ? is($retrans, '', 'after that: this kernel says nothing of them')
    : cmp_ok($retrans, '>', 0, 'after that: retransmissions');

# A log line is written when the answer has gone out: a small one at once.
my %now = (MPTCP_BYTES_SENT => $small->{read}, MPTCP_BYTES_RECEIVED => $small->{sent});
is(logged('lossy'), '?lossy + ' . join(' ', map {"$_="
            . ($unknown{$_} ? '-' : $now{$_} // $small->{headers}{ lc "x-$_" })} @names),
    'and its log');
$session->close;

# --- A box that removes options. Whether there was a fallback is the kernel's
# to say.

for my $case (
    ['none', 'on',       1, 0, 0],
    ['data', 'fallback', 1, 1, 0],
    # The client's last word of the handshake had no option: what the kernel
    # lets httpd accept is plain TCP, and no sign of what the SYN had.
    ['ack', 'off', 0, 0, 1],
    ['syn', 'off', 0, 0, 0],
    )
{
    my ($strip, $state, @expected) = @$case;
    my @counters = map {"MPTcpExt$_"}
        qw(MPCapableACKRX DssFallback MPCapableFallbackACK);
    my $box = MPTCP::Middlebox->new($lab, client => 'client',
        server => 'server', strip => $strip);
    my $before = $lab->counters('server');
    my $session = MPTCP::Session->open(lab => $lab, ns => 'client',
        host => $box->address(2), port => 80, mptcp => 1);
    my @answers = map { $session->get("/index.html?$strip-$_") } 1, 2;
    my $after = $lab->counters('server');
    # (some are newer than Linux 6.1)
    my @there = grep { exists $after->{ $counters[$_] } } 0 .. $#counters;
    is_deeply([map { $after->{$_} - $before->{$_} } @counters[@there]], [@expected[@there]],
        "box that strips '$strip': the kernel's counters");
    # The first answer may be on its way before the kernel has seen it all.
    is($answers[1]{headers}{'x-mptcp'}, $state, "box that strips '$strip'");
    my $values = join ' ', map {"$_="
            . ($_ eq 'MPTCP' ? $state : $state eq 'on' && !$unknown{$_} ? '\w+' : '-')} @names;
    like(logged("$strip-2"), qr/ $values$/,
        "box that strips '$strip': what a log has");
    $session->close;
    $box->stop;
}

done_testing();

# -----------------------------------------------------------------------------

# The server's subflows of the connection with $token, from ss.
sub subflows {
    return scalar grep { $_->{state} eq 'ESTAB'
            && $_->{info} =~ m{\btoken:\w+\(id:\d+\)/$token\(id} }
        $lab->ss('server', '-ti');
}

# Do a request's values agree with ss?
sub agrees {
    my ($expected, $name, $said) = @_;
    my $header = $session->get('/index.html')->{headers};
    my ($socket) = grep { $_->{state} eq 'ESTAB' } $lab->ss('server', '-Mi');
    ($token) = ($socket->{info} // '') =~ /\btoken:(\w+)/;
    is($header->{'x-mptcp_token'}, $token, "$name: token");
    is(subflows(), $expected, "$name: subflows, by ss");
    is($header->{'x-mptcp_subflows'}, $said // $expected, "$name: MPTCP_SUBFLOWS");
    is($header->{'x-mptcp_subflows_total'}, $unknown{MPTCP_SUBFLOWS_TOTAL} ? '' : $expected,
        "$name: MPTCP_SUBFLOWS_TOTAL");
    return;
}

# What has come to the client so far, on either path.
sub device_bytes {
    return map { ($lab->device_bytes('client', $_))[0] } qw(c1 c2);
}

sub bytes_agree {
    my ($now, $before, $name) = @_;
    my ($read, $sent) = $unknown{MPTCP_BYTES_SENT} ? ('', '') : ($before->{read}, $now->{sent});
    is($now->{headers}{'x-mptcp_bytes_sent'}, $read,
        "$name: bytes sent, as many as the client has read");
    is($now->{headers}{'x-mptcp_bytes_received'}, $sent,
        "$name: bytes received, as many as the client has sent");
    return;
}

sub logged {
    my ($id) = @_;
    return $lab->wait_until(10, sub {
        open my $file, '<', $httpd->root . '/logs/values' or return;
        my ($found) = grep {/^\?\Q$id\E /} <$file>;
        chomp $found if defined $found;
        return $found;
    }) || "no line with $id in the log";
}
