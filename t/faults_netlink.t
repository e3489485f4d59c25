# What netlink has to say fails, is damaged or does not come, and memory runs
# out: of the path manager at a start, and of the list of connections for the
# status page. httpd starts and serves all the same, and says so. See
# t/fault/fault.c.

use strict;
use warnings;

use Errno qw(EAFNOSUPPORT EINVAL EIO ENOENT ENOMEM ENOSPC EPERM);
use JSON::PP ();
use MPTCP::Faults;
use MPTCP::Lab;
use MPTCP::Session;
use Test::More;
use Time::HiRes qw(time);

MPTCP::Lab->enter;

my $faults = MPTCP::Faults->new(load => [qw(status)]);
my $lab = $faults->lab;
my $conf = <<'END';
Listen 127.0.0.1:8000
MPTCPListen 0.0.0.0:8001
<Location /mptcp-status>
    SetHandler mptcp-status
</Location>
<Location /server-status>
    SetHandler server-status
</Location>
END
my $paths = <<'END';
MPTCPEndpoint 127.0.0.2 signal
MPTCPLimits subflows=3
END
my $none = qr/MPTCPEndpoint and MPTCPLimits have no effect/;
my $part = qr/MPTCPEndpoint and MPTCPLimits are not in force in full/;
my $one  = qr/MPTCPEndpoint 127\.0\.0\.2 signal is not in force/;

# --- The path manager: answers

for my $case (
    ['netlink ' . EPERM,     $none],   # no socket
    ['answer.refuse ' . EPERM, $none], # of the very first answer
    ['answer.refuse ' . EPERM . ' 3', $part],
    ['answer.refuse ' . ENOMEM . ' 3', $part],
    ['answer.short 0',       $none],
    ['answer.short 0 3',     $part],
    ['answer.garbage 0 3',   $part],
    ['answer.order 0',       $none],
    ['answer.order 0 3',     $part],
    ['answer.empty 0 3 3',   $part],
    ['answer.lost 0',        $none],   # nothing comes
    ['answer.lost 0 3',      $part],
    )
{
    my ($fault, $says) = @$case;
    my $began = time;
    $faults->starts($fault, $conf . $paths);
    serves($fault);
    $faults->says($fault, $says);
    cmp_ok(time - $began, '<', 25, "$fault: does not wait for ever");
}

# --- The path manager: one thing of many fails, whichever it is

for my $what ('answer.refuse ' . EIO, map {"$_ 0"} qw(nl_socket_alloc nl_send_auto nl_cb_alloc
    nlmsg_alloc genlmsg_put nla_put_u32 nla_nest_start))
{
    my $times;
    for ($times = 1; $times < 20; $times++) {
        my $httpd = $faults->starts("$what $times $times", $conf . $paths);
        my @warned = grep {/\[mptcp:(?:warn|error)\]/ && !/cannot join/} split /\n/, $httpd->error_log;
        $faults->set('');
        $faults->stop;
        is_deeply([$lab->endpoints('host'), $lab->limits_now('host')->{subflows}], [2],
            "$what, time $times: all is taken back at the stop");
        last if !@warned;
        like("@warned", qr/$none|$part|$one/, "$what, time $times: says so");
    }
    cmp_ok($times, '>', 1, "$what: is noticed");
    cmp_ok($times, '<', 20, "$what: each time has been tried");
}

# --- Endpoints: what the kernel, or the host, says no to

my $v6 = "MPTCPEndpoint ::1 signal\n";
$faults->starts('socket6 ' . EAFNOSUPPORT, $conf . $v6);
$faults->says('socket6 ' . EAFNOSUPPORT,
    qr/::1 signal is not in force: this kernel does not have the address's family/);
# Only the answer to the new endpoint, whichever that is, makes it say this.
for my $case ([EINVAL, qr/$one: this kernel does not know one of its settings/],
    [EIO, qr/$one: the kernel has refused it/])
{
    my ($errno, $says) = @$case;
    ok((grep { $faults->starts("answer.refuse $errno $_ $_", $conf . $paths)->error_log =~ $says } 5 .. 9),
        "an endpoint is refused, errno $errno: says so");
    $faults->stop;
}
# What a kernel that takes the flag does with it, a socket of MPTCP would tell; that
# one has dropped it (before Linux 6.18) is seen without.
{
    my $fault = 'socket ' . ENOMEM;
    my $log = $faults->starts($fault, "Listen 127.0.0.1:8000\nMPTCPEndpoint 127.0.0.2 laminar\n")->error_log;
    my $lacks = qr/127\.0\.0\.2 laminar: this kernel does not know laminar, which needs Linux 6\.18/;
    # (ip may not know its name)
    my ($is) = $lab->endpoints('host');
    if ($is =~ /laminar|rawflags/) { unlike($log, $lacks, "$fault, $is: says nothing of laminar") }
    else { like($log, $lacks, "$fault, $is: laminar was dropped, which is said") }
}

# Where IPv6 was switched off at boot, the kernel gives the other addresses again
# when it is asked for those of IPv6.
{
    $lab->run('host', qw(ip address add), "192.0.2.$_/32", qw(dev lo)) for 1 .. 6;
    my $log = $faults->starts('ipv6_off 0', "Listen 127.0.0.1:8000\nMPTCPEndpoint dev lo signal\n")->error_log;
    is(scalar(() = grep {/^192\.0\.2\./} $lab->endpoints('host')), 6, '    each address is announced');
    unlike($log, qr/addresses more than/, '    and none is counted twice');
    $lab->run('host', qw(ip address delete), "192.0.2.$_/32", qw(dev lo)) for 1 .. 6;
}

# An endpoint that is to go at a reload does not.
for my $case ([EPERM, qr/takes CAP_NET_ADMIN.*ip mptcp endpoint delete id 1/],
    [EIO, qr/cannot remove endpoint 127\.0\.0\.2/])
{
    my ($errno, $says) = @$case;
    my $httpd;
    for my $times (3 .. 9) {
        $httpd = $faults->starts('', $conf . $paths);
        $faults->set("answer.refuse $errno $times $times");
        $httpd->set_conf($conf);
        ok($httpd->graceful, "answer $times of a reload is an error, errno $errno: it goes on");
        last if $httpd->error_log =~ $says;
    }
    $faults->says("errno $errno", $says);
    $faults->set('');
    ok($httpd->graceful, '    and another');
    is(scalar(() = $lab->endpoints('host')), 0, '    removes it');
}

# What was left behind when it could not be taken back is recognised.
my $httpd;
for my $fault ('answer.refuse ' . EPERM, 'nla_nest_start 0') {
    $httpd = $faults->server($conf . $paths);
    ok($httpd->start, 'an endpoint is added');
    $faults->set($fault);
    $httpd->stop;
    is(scalar(() = $lab->endpoints('host')), 1, "$fault: it could not be removed at the stop");
    like($httpd->error_log, qr/endpoints and limits are left behind/, '    which is said');
    $faults->set('');
    ok($httpd->start, '    and it starts again');
    like($httpd->error_log, qr/recognised 1 endpoints/, '    recognises it');
    $httpd->stop;
    is(scalar(() = $lab->endpoints('host')), 0, '    and removes it');
}

# Limits, too: one of the answers at the stop is to their being put back.
ok((grep {
        $httpd = $faults->server("${conf}MPTCPLimits subflows=3\n");
        $httpd->start or diag $httpd->error_log;
        $faults->set('answer.refuse ' . EPERM . " $_ $_");
        $httpd->stop;
        $lab->limits('host', subflows => 2);
        $httpd->error_log =~ /limits are left behind.*ip mptcp limits set subflows 2/;
    } 2 .. 6), 'limits could not be put back at the stop: says so');
$faults->set('');

# The file that this takes cannot be written.
for my $what (qw(mkstemp rename)) {
    $httpd = $faults->starts("$what " . ENOSPC, $conf . $paths);
    serves($what);
    $faults->says($what, qr/cannot write \S+\.mptcp: should httpd be killed/);
    is_deeply([grep {/mptcp/} glob $httpd->root . '/run/*'], [], "$what: nothing is left of it");
}

# --- The report at start

$faults->starts('getifaddrs ' . ENOMEM, $conf . $paths);
$faults->says('getifaddrs', qr/path manager's endpoints: 127\.0\.0\.2/);
$faults->starts('sysctl 2', $conf . $paths);
$faults->says('no sysctl is there', qr/path manager's endpoints: 127\.0\.0\.2/);

# --- A child's capability

my @nobody = (getpwnam 'nobody')[2, 3];
$httpd = $faults->server($conf . $paths, before => [qw(setpriv --reuid), $nobody[0], '--regid',
    $nobody[1], qw(--clear-groups --inh-caps +net_admin --ambient-caps +net_admin)]);
$httpd->write_file('../logs/error_log', '');
chown @nobody, map { $httpd->root . $_ } qw(/logs /run /logs/error_log);
$faults->set('capset ' . EPERM);
ok($httpd->start, 'a child cannot give CAP_NET_ADMIN up: it starts') or diag $httpd->error_log;
serves('capset');
$faults->says('capset', qr/cannot give up CAP_NET_ADMIN in a child/);

# --- The list of connections

$httpd = $faults->starts('', $conf . $paths . "MPTCPEndpoint 127.0.0.3 port 8009 signal\n");
my @sessions = map { MPTCP::Session->open(lab => $lab, ns => 'host', host => "127.0.0.$_",
        port => 8001, mptcp => 1) } 1, 4;
$_->get('/file') for @sessions;
my $all = status();
is($all->{live}{mptcp}, 2, 'no fault: two connections');
is_deeply([map { $_->{port} // 0 } @{ $all->{path_manager}{endpoints} }], [0, 8009],
    'no fault: endpoints, with their ports');

for my $fault ('nl_socket_alloc 0', 'nlmsg_alloc_size 0', 'nlmsg_append 0', 'nl_cb_alloc 0',
    'nl_send_auto 0', 'netlink ' . EPERM, 'diag.refuse ' . EPERM, 'diag.done ' . ENOENT,
    'diag.lost 0')
{
    $faults->set($fault);
    my $began = time;
    is(status()->{live}, undef, "$fault: no list");
    cmp_ok(time - $began, '<', 10, "$fault: does not wait for ever");
    next if $fault =~ /lost/;
    like(page(), qr{Not known, because the kernel (?:does not list them: \w+|has no list of)},
        "$fault: the page says so");
    unlike(page(), qr/\d<\/b> live|None at this moment/, "    and shows no number");
    like(status()->{live_unknown}, qr/^the kernel \w+/, "    and JSON the same");
    like(page('openmetrics'), qr/^httpd_mptcp_listener_is_mptcp/m, "$fault: metrics");
    unlike(page('openmetrics'), qr/_live_/, "    none of live connections");
}
$faults->set('netlink ' . EPERM);
is(status()->{path_manager}, undef, 'no netlink: no path manager');
like("@{ status()->{obstacles} }", qr/path manager does not answer/, '    which is said');
unlike(page(), qr/Path manager/, '    and the page shows none');

$faults->set('socket ' . ENOMEM);
like("@{ status()->{obstacles} }", qr/the kernel gives no MPTCP socket, (?:Cannot allocate|Out of) memory/,
    'no MPTCP socket at this moment: the status says why');

$faults->set('diag.garbage 0');
is(status()->{live}, undef, 'garbage: nothing is made of it');
$faults->set('getifaddrs ' . ENOMEM);
is(status()->{live}{connections}[0]{subflows}[0]{interface}, undef, 'no interface is known');
like(page(), qr/<\/svg>\?</, '    which the page shows by a question mark');
$faults->set('diag.slow 3500');
ok(status()->{live}{incomplete}, 'a slow kernel: the list is incomplete');
like(page(), qr/more than could be read in time/, '    which the page says');
$faults->set('diag.fallback 0');
is_deeply([map { $_->{fallback} } @{ status()->{live}{connections} }],
    [(JSON::PP::true) x 2], 'connections that have fallen back');
like(page(), qr/class="alarm">fell back</, '    which the page says');
$faults->set('diag.stalled 0');
like(page(), qr/class="alarm">stalled \d+ s</, 'subflows that stall');
$faults->set('');
is(status()->{live}{mptcp}, 2, 'and all is well again');
$_->close for @sessions;

# Two subflows with the same local end
$lab->endpoint('host', '127.0.0.5', 'subflow');
my $session = MPTCP::Session->open(lab => $lab, ns => 'host', host => '127.0.0.1', port => 8001,
    mptcp => 1);
my @subflows;
$lab->wait_until(10, sub {
    $session->get('/file');
    @subflows = map { @{ $_->{subflows} } } @{ status()->{live}{connections} };
    return @subflows == 2;
});
is_deeply([map {"$_->{local}{address} $_->{remote}{address}"} @subflows],
    ['127.0.0.1 127.0.0.1', '127.0.0.1 127.0.0.5'], 'subflows of one local address, in order');
$session->close;

my $section = $lab->capture('host', qw(curl -sS http://127.0.0.1:8000/server-status));
like($section, qr{<h1>Multipath TCP</h1>.*<th>Listener</th>}s, 'mod_status: a section');
unlike($section, qr{<th>Backend</th>}, '    without backends, as there are none');

# More than a buffer of it
my @many = map { MPTCP::Session->open(lab => $lab, ns => 'host', host => '127.0.0.1', port => 8001,
        mptcp => 1) } 1 .. 20;
is(scalar @{ status()->{live}{connections} }, 20, 'JSON of twenty connections');
$_->close for @many;

# A listener that could not become MPTCP
$faults->starts('', $conf =~ s/MPTCPListen 0.0.0.0/Listen 127.0.0.1/r);
$faults->set('setsockopt.1.15 ' . EPERM);
$faults->{httpd}->set_conf("$conf\nMPTCPListen 127.0.0.2:8001" =~ s/0\.0\.0\.0/127.0.0.1/r);
ok($faults->{httpd}->graceful, 'a listener stays TCP at a reload');
# (An old child may still answer at first.)
ok($lab->wait_until(20, sub {
        "@{ status()->{obstacles} }" =~ /127\.0\.0\.1:8001 is TCP, as it was when httpd was started/ }),
    '    which the status says') or diag explain status()->{obstacles};

$faults->stop;
done_testing();

sub serves {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(scalar $lab->ss('host', '-lM'), 1, "$name: the MPTCP listener");
    is($faults->status($_), 200, "$name: port $_ serves") for 8000, 8001;
    return;
}

sub page {
    my ($query) = @_;
    return $lab->capture('host', qw(curl -sS --max-time 30),
        'http://127.0.0.1:8000/mptcp-status?' . ($query // ''));
}

sub status { return JSON::PP->new->utf8->decode(page('json')) }
