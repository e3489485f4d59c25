# What mod_mptcp asks of the kernel fails, one thing at a time: httpd starts,
# serves and connects all the same, and says so; with MPTCPFallback Off it
# does not start. See t/fault/fault.c.

use strict;
use warnings;

use Errno qw(EACCES EINVAL EMFILE ENOMEM ENOPROTOOPT EOPNOTSUPP EPERM EPROTONOSUPPORT);
use MPTCP::Faults;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;

my $faults = MPTCP::Faults->new(load => [qw(proxy proxy_http)]);
my $lab = $faults->lab;

my $conf = <<'END';
Listen 127.0.0.1:8000
MPTCPListen 127.0.0.1:8001
MPTCPListen [::1]:8001
<Location />
    ProxyPass http://127.0.0.1:8001/ multipathtcp=On disablereuse=On
</Location>
<VirtualHost 127.0.0.1:8001 [::1]:8001>
    <Location />
        ProxyPass !
    </Location>
    LogFormat "%{MPTCP}^mp %{MPTCP_SUBFLOWS}^mp %{MPTCP_TOKEN}^mp %{MPTCP_BYTES_SENT}^mp %{MPTCP_SUBFLOWS_TOTAL}^mp %q" v
    CustomLog logs/variables v
</VirtualHost>
END
my $paths = <<'END';
MPTCPEndpoint 127.0.0.2 signal
MPTCPLimits subflows=3
END
my $tcp = qr/MPTCP listeners serve by plain TCP: the kernel gives no MPTCP socket/;

# --- Nothing fails: the library changes nothing

my $httpd = $faults->server($conf . $paths);
ok($httpd->start, 'no fault: it starts') or diag $httpd->error_log;
serves('no fault', 2);
is(variables(), known('on 1 TOKEN BYTES 1'), 'no fault: variables');
unlike($httpd->error_log, qr/no effect|not in force|plain TCP/, 'no fault: no such warning');

# Longer than a reload, shorter structures, and a kernel that says nothing.
for my $case ([0, 'on - - - -'], [4, 'on 1 - - -'], [16, 'on 1 TOKEN - -'],
    [72, 'on 1 TOKEN BYTES -'])
{
    $faults->set("info $case->[0]");
    is(variables(), known($case->[1]), "MPTCP_INFO of $case->[0] bytes");
}
for my $errno (EPERM, EINVAL) {
    $faults->set("getsockopt.284.1 $errno");
    is(variables(), '- - - - -', "MPTCP_INFO refused, errno $errno");
}
# (Whether the kernel knows it is asked of a socket of one's own.)
$faults->set('getsockopt.284.1 ' . EOPNOTSUPP, 'socket ' . EMFILE);
is(variables(), '- - - - -', 'MPTCP_INFO is not known, perhaps');
$faults->set('getsockopt.284.1 ' . EOPNOTSUPP);
is(variables(), '- - - - -', 'MPTCP_INFO is not known');
$faults->set('info.fallback 0');
is(variables(), 'fallback - - - -', 'MPTCP_INFO tells of a fallback');

# At a reload the redirections cannot be put back, nor made again.
$faults->set('mprotect ' . ENOMEM);
ok($httpd->graceful, 'mprotect() refused at a reload: it goes on');
like($httpd->error_log, qr/backends are reached by plain TCP: .*mprotect\(\) was refused/,
    'mprotect() refused at a reload: says so');
is($faults->status(8000), 200, 'mprotect() refused at a reload: connects');
$faults->set('');
ok($httpd->graceful, 'and allowed again');
serves('mprotect() allowed again', 2);
$httpd->stop;
is_deeply([$lab->endpoints('host')], [], 'a stop removes the endpoint');

# --- Listeners

# Each errno that the kernel is known to give, and shortages.
for my $errno (EINVAL, EPROTONOSUPPORT, ENOPROTOOPT, EPERM) {
    starts("socket $errno", $conf, 0, $tcp, qr/connects by plain TCP: the kernel gives no MPTCP/);
}
starts('socket ' . EMFILE, $conf, undef, $tcp);
is($faults->status(8001), 200, 'socket EMFILE: serves');
is($faults->status(8000), 503, 'socket EMFILE: a worker that gets no socket says 503, as with TCP');

for my $fault ('bind ' . EACCES, 'bind ' . EPERM, 'listen ' . EOPNOTSUPP, 'listen ' . ENOMEM,
    'setsockopt.1.2 ' . EOPNOTSUPP, 'setsockopt.1.9 ' . EOPNOTSUPP)
{
    (my $short = $fault) =~ s/ \d+$//;
    starts($fault, $conf, 0, $tcp) if $fault ne 'bind ' . EPERM;
    refuses($fault, $conf, qr/MPTCPFallback Off forbids TCP/);
}
# A policy may allow the listener's own port alone.
starts('bind ' . EPERM . ' 1 1', "MPTCPListen 127.0.0.1:8001\nMPTCPFallback Off\n", undef);
is(0 + $faults->lab->ss('host', '-lM'), 1, 'bind to any port refused: by MPTCP');
starts('setsockopt.41.26 ' . EOPNOTSUPP, 'MPTCPListen [::1]:8001', undef, $tcp);
is($faults->get('::1', 8001)->{status}, 200, 'IPV6_V6ONLY refused: serves');
refuses("socket $_", $conf, qr/MPTCPFallback Off forbids TCP/)
    for EINVAL, EPROTONOSUPPORT, ENOPROTOOPT, EPERM, EACCES, ENOMEM, EMFILE;

# The second call is the one that clears it.
starts('setsockopt.6.9 ' . EPERM . ' 2', "MPTCPListen 127.0.0.1:8001\n", undef,
    qr/cannot clear TCP_DEFER_ACCEPT.*AcceptFilter http none/);
is($faults->status(8001), 200, 'TCP_DEFER_ACCEPT stays: serves');
starts('getsockopt.1.38 ' . EPERM, $conf, undef);
is($faults->status(8001), 200, 'SO_PROTOCOL refused: serves');
$faults->set('getsockopt.1.38 ' . EPERM);
ok($httpd->graceful, 'SO_PROTOCOL refused: a reload');
is($faults->status(8001), 200, 'SO_PROTOCOL refused: serves after it');

# The first socket only asks the kernel; the second is to be the listener's, made by
# the pass that checks. (With MPTCPFallback On the next pass makes another.)
$httpd = $faults->server("MPTCPListen 127.0.0.1:8001\nMPTCPFallback Off\n");
$faults->set('socket ' . EMFILE . ' 2 2');
ok(!$httpd->start, 'the listener gets no socket, MPTCPFallback Off: does not start');
like($httpd->error_log, qr/MPTCPFallback Off forbids TCP/, '    which is said');
starts('socket ' . EMFILE . ' 2 2', "MPTCPListen 127.0.0.1:8001\n", undef);
is($faults->status(8001), 200, '    and serves');

# What core has to say of an address it says itself.
$httpd = $faults->server("MPTCPListen 192.0.2.1:8001\n");
ok(!$httpd->start, 'an address of another host');
like($httpd->error_log, qr/AH00072: make_sock: could not bind to address 192\.0\.2\.1:8001/,
    '    which core says');
unlike($httpd->error_log, qr/mptcp:/, '    and nothing else is said');

# A listener that changes at a reload
for my $case (['setsockopt.1.15 ' . EPERM, qr/stays TCP: no second socket/],
    ['socket ' . EMFILE . ' 2', qr/stays TCP: no second socket/],
    ['socket ' . EMFILE . ' 3', qr/stays TCP: no second socket/],
    ['bind ' . EACCES . ' 2', qr/stays TCP: no second socket/],
    ['program ' . EPERM, qr/serves both TCP and MPTCP: SO_ATTACH/])
{
    my ($fault, $says) = @$case;
    starts('', "Listen 127.0.0.1:8001\n", undef);
    $faults->set($fault);
    $httpd->set_conf("MPTCPListen 127.0.0.1:8001\n");
    ok($httpd->graceful, "TCP becomes MPTCP, $fault: a reload");
    like($httpd->error_log, $says, "TCP becomes MPTCP, $fault: says so");
    is($faults->status(8001), 200, "TCP becomes MPTCP, $fault: serves") for 1 .. 3;
    $faults->set('');
    ok($httpd->restart, '    the same without a fault');
    is(scalar $faults->lab->ss('host', '-tl', 'sport = :8001'), 2,
        '    the socket that was there is kept, with what is in its queue');
}

# ... and MPTCPFallback Off
$httpd = $faults->server("MPTCPFallback Off\nListen 127.0.0.1:8001\n");
ok($httpd->start, 'MPTCPFallback Off, and a listener that is TCP') or diag $httpd->error_log;
$httpd->set_conf("MPTCPFallback Off\nMPTCPListen 127.0.0.1:8001\n");
$faults->set('program ' . EPERM);
ok(!$httpd->graceful, 'it cannot be steered away from: httpd ends');
like($httpd->error_log, qr/127\.0\.0\.1:8001 is to be MPTCP, and MPTCPFallback Off forbids TCP: the kernel does not steer/,
    '    and says why');

# --- The redirections of mod_proxy's imports

for my $fault ('mprotect ' . EACCES, 'mprotect ' . ENOMEM . ' 2 2') {
    starts($fault, $conf, undef, qr/backends are reached by plain TCP: .*mprotect\(\) was refused/);
    is($faults->status($_), 200, "$fault: port $_ serves") for 8000, 8001;
}
$httpd = $faults->server("${conf}MPTCPFallback Off\n");
$faults->set('mprotect ' . EACCES);
ok(!$httpd->start, 'mprotect() refused, MPTCPFallback Off: does not start');
like($httpd->error_log, qr/MPTCPFallback Off forbids that: .*mprotect\(\)/,
    'mprotect() refused, MPTCPFallback Off: says why');

my $connect = 'LoadModule proxy_connect_module ' . MPTCP::Httpd::_apxs('LIBEXECDIR')
    . "/mod_proxy_connect.so\n";
starts('mprotect ' . EACCES, $conf . $connect, undef,
    qr/backends are reached by plain TCP: cannot redirect ap_proxy_connect_backend: mprotect/);
$httpd = $faults->server("$conf${connect}MPTCPFallback Off\n");
$faults->set('mprotect ' . EACCES);
ok(!$httpd->start, 'mprotect() refused, CONNECT, MPTCPFallback Off: does not start');
like($httpd->error_log, qr/cannot redirect ap_proxy_connect_backend/, '    and says why');

# Only the variable that tells of a backend's connection wants them.
starts('mprotect ' . EACCES, $conf =~ s/ multipathtcp=On//r . $connect
    . "CustomLog logs/backend %{MPTCP_BACKEND}^mp\n", undef,
    qr/MPTCP_BACKEND is not known: cannot redirect ap_proxy_connect_to_backend: mprotect/);
is($faults->status($_), 200, "MPTCP_BACKEND, mprotect() refused: port $_ serves") for 8000, 8001;

# A mod_proxy that is linked with a module of a scheme, as into httpd.
my @include = split ' ', join ' ', map { MPTCP::Httpd::_apxs($_) } qw(CFLAGS EXTRA_CPPFLAGS);
my $static = $faults->build('static_proxy', @include,
    map { '-I' . MPTCP::Httpd::_apxs($_) } qw(INCLUDEDIR APR_INCLUDEDIR APU_INCLUDEDIR));
$httpd = $faults->server("LoadModule proxy_module $static\nListen 127.0.0.1:8000\n"
    . "MPTCPProxyDefault On\nCustomLog logs/backend %{MPTCP_BACKEND}^mp\n", load => []);
ok($httpd->start, 'a mod_proxy without its functions: it starts') or diag $httpd->error_log;
is($faults->status(8000), 200, '    and serves');
$faults->says('a mod_proxy without its functions',
    qr/no effect, .* cannot redirect ap_proxy_connect_backend: mod_proxy exports no such function/,
    qr/modules that are linked statically with mod_proxy, they are plain TCP: mod_proxy_scheme\.c$/m,
    qr/MPTCP_BACKEND is not known: cannot redirect ap_proxy_connect_to_backend: mod_proxy exports no such function/);

# Core's import, while it makes the duplicates of ListenCoresBucketsRatio.
my $buckets = "ListenCoresBucketsRatio 1\nMPTCPListen 127.0.0.1:8001\n";
$httpd = $faults->server($buckets);
$faults->set('mprotect ' . EACCES);
ok($httpd->start, 'duplicates, mprotect() refused: it starts');
like($httpd->error_log, qr/MPTCP listeners serve by plain TCP: ListenCores.*mprotect.*remove it/,
    '    says what to do');
is($faults->status(8001), 200, '    and serves');
is($faults->lab->ss('host', '-lM') + 0, 0, '    by TCP');
$faults->set('');
ok($httpd->graceful, '    and when it is granted, after a reload');
# with buckets a socket goes at each reload, and what waits in its queue is lost
my $serves = sub { return $faults->status(8001) == 200 };
ok($faults->lab->wait_until(5, $serves), '    serves');
ok($faults->lab->wait_until(10, sub {
        my ($tcp, $mptcp) = map { 0 + $faults->lab->ss('host', $_, 'sport = :8001') } '-tl', '-lM';
        return $mptcp && $tcp == $mptcp }), '    by MPTCP alone');
$faults->set('mprotect ' . EACCES);
ok($httpd->graceful, '    refused again, after a reload');
ok($faults->lab->wait_until(5, $serves), '    serves');
ok($faults->lab->wait_until(10, sub { !$faults->lab->ss('host', '-lM') }), '    by TCP alone');
$httpd = $faults->server("${buckets}MPTCPFallback Off\n");
$faults->set('mprotect ' . EACCES);
ok(!$httpd->start, '    MPTCPFallback Off: does not start');
like($httpd->error_log, qr/MPTCPFallback Off forbids TCP: ListenCores.*mprotect.*remove it/, '    and says why');
starts('mprotect ' . EACCES, "ListenCoresBucketsRatio 1\nListen 127.0.0.1:8001\n", undef);
# Each store takes two calls, and each of the two passes two stores.
starts('mprotect ' . EACCES . ' 7 7', $buckets, undef);
$httpd->set_conf("$buckets\nListen 127.0.0.1:8000\n");
ok($httpd->graceful, 'duplicates, the import is not put back: a reload, with another listener');
is($faults->status($_), 200, "    port $_ serves") for 8000, 8001;

# Memory that children share.
starts('mmap ' . ENOMEM . ' 1 4', $conf, 2, qr/no shared memory for counters: \S+ is not counted/);

# --- No descriptor is left

starts('', $conf, 2);
my @children = split ' ', $lab->capture(undef, 'ps', '-o', 'pid=', '--ppid', $httpd->pid);
for my $pid (@children) {
    # one for the client's connection, and none for the backend's
    my $free = 0;
    $free++ while -l "/proc/$pid/fd/$free";
    limit_descriptors($pid, $free + 1);
}
is($faults->status(8000), 503, 'the limit of descriptors is reached: 503');
unlike($httpd->error_log, qr/connects by plain TCP/, '    and TCP is not tried for it');
limit_descriptors($_, 512) for @children;
serves('it is raised', 2);

done_testing();

# As the process's user: where CAP_SYS_RESOURCE is missing, root may not.
sub limit_descriptors {
    my ($pid, $count) = @_;
    open my $file, '<', "/proc/$pid/status" or die "status: $!";
    my ($uid, $gid) = map {/^[UG]id:\s+(\d+)/ ? $1 : ()} <$file>;
    $lab->run(undef, 'setpriv', '--reuid', $uid, '--regid', $gid, '--clear-groups',
        'prlimit', '--pid', $pid, "--nofile=$count:");
    return;
}

# It starts all the same, and its log says what is expected. $mptcp is the
# number of MPTCP listeners that serves() then expects; undef leaves that out.
sub starts {
    my ($fault, $text, $mptcp, @says) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $httpd = $faults->starts($fault, $text);
    my $name = MPTCP::Faults::name_of($fault);
    serves($name, $mptcp) if defined $mptcp;
    $faults->says($name, @says);
    return;
}

# With MPTCPFallback Off the configuration is refused; by httpd -t too, which
# binds nothing and so does not meet what bind() and listen() have to say.
sub refuses {
    my ($fault, $text, $says) = @_;
    $httpd = $faults->server("${text}MPTCPFallback Off\n");
    $faults->set($fault);
    my $name = MPTCP::Faults::name_of($fault);
    my %environment = $faults->environment;
    local @ENV{ keys %environment } = values %environment;
    my ($status, $output);
    if ($fault =~ /^(?:bind|listen)/) {
        $status = !$httpd->start;
        $output = $httpd->error_log;
    }
    else {
        ($status, $output) = $httpd->run_beside('-t');
    }
    ok($status, "$name, MPTCPFallback Off: is refused");
    like($output, $says, '    which is said');
    return;
}

sub serves {
    my ($name, $mptcp) = @_;
    is(scalar $lab->ss('host', '-lM'), $mptcp, "$name: $mptcp MPTCP listeners");
    is($faults->status($_), 200, "$name: port $_ serves") for 8000, 8001;
    is($faults->get('::1', 8001)->{status}, 200, "$name: IPv6 serves");
    return;
}

# Of those values what this kernel gives.
sub known {
    my %unknown = map { $_ => 1 } $lab->unknown_variables;
    my @names = qw(MPTCP MPTCP_SUBFLOWS MPTCP_TOKEN MPTCP_BYTES_SENT MPTCP_SUBFLOWS_TOTAL);
    return join ' ', map { $unknown{ shift @names } ? '-' : $_ } split ' ', $_[0];
}

# What the log says of one MPTCP connection, told from others by its query.
my $asked;
sub variables {
    my $query = '?' . ++$asked;
    my $r = $faults->get('127.0.0.1', 8001, mptcp => 1, path => "/file$query");
    return "status $r->{status}, $r->{error}" if $r->{status} != 200;
    my ($line) = $lab->wait_until(10, sub {
        open my $log, '<', $httpd->root . '/logs/variables' or return;
        return (join('', <$log>) =~ /^(.*) \Q$query\E\n/m)[0];
    }) || 'nothing';
    return $line =~ s/^(\S+ \S+ )[0-9a-f]+/$1TOKEN/r =~ s/^((?:\S+ ){3})\d+/$1BYTES/r;
}
