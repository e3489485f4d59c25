# What mod_mptcp asks of the kernel fails, one thing at a time: httpd starts,
# serves and connects all the same, and says so; with MPTCPFallback Off it
# does not start. See t/fault/fault.c.

use strict;
use warnings;

use Cwd qw(abs_path);
use Errno qw(EACCES EINVAL EMFILE ENOMEM ENOPROTOOPT EOPNOTSUPP EPERM EPROTONOSUPPORT);
use File::Basename qw(dirname);
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;
use Time::HiRes qw(time);

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->new->add_host('host');
my $dir = File::Temp->newdir(TMPDIR => 1);
chmod 0755, "$dir";
my $library = "$dir/fault.so";
$lab->run(undef, $ENV{CC} || 'cc', qw(-O1 -shared -fPIC -o), $library,
    dirname(abs_path(__FILE__)) . '/fault/fault.c', '-ldl');
my @before = ('env', "LD_PRELOAD=$library", "FAULTS=$dir/faults");

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
    LogFormat "%{MPTCP}^mp %{MPTCP_SUBFLOWS}^mp %{MPTCP_TOKEN}^mp %{MPTCP_BYTES_SENT}^mp %{MPTCP_SUBFLOWS_TOTAL}^mp" v
    CustomLog logs/variables v
</VirtualHost>
END
my $paths = <<'END';
MPTCPEndpoint 127.0.0.2 signal
MPTCPLimits subflows=3
END
my $tcp = qr/MPTCP listeners serve by plain TCP: the kernel gives no MPTCP socket/;

# --- Nothing fails: the library changes nothing

my $httpd = server($conf . $paths);
ok($httpd->start, 'no fault: it starts') or diag $httpd->error_log;
serves('no fault', 2);
is(variables(), 'on 1 TOKEN BYTES 1', 'no fault: variables');
unlike($httpd->error_log, qr/no effect|not in force|plain TCP/, 'no fault: no such warning');

# Longer than a reload, shorter structures, and a kernel that says nothing.
for my $case ([0, 'on - - - -'], [4, 'on 1 - - -'], [16, 'on 1 TOKEN - -'],
    [72, 'on 1 TOKEN BYTES -'])
{
    faults("info $case->[0]");
    is(variables(), $case->[1], "MPTCP_INFO of $case->[0] bytes");
}
for my $errno (EPERM, EINVAL) {
    faults("getsockopt.284.1 $errno");
    is(variables(), '- - - - -', "MPTCP_INFO refused, errno $errno");
}
faults('getsockopt.284.1 ' . EOPNOTSUPP);
like(variables(), qr/^(?:-|fallback) - - - -$/, 'MPTCP_INFO is not known');

# At a reload the redirections cannot be put back, nor made again.
faults('mprotect ' . ENOMEM);
ok($httpd->graceful, 'mprotect() refused at a reload: it goes on');
like($httpd->error_log, qr/backends are reached by plain TCP: .*mprotect\(\) was refused/,
    'mprotect() refused at a reload: says so');
is(status(8000), 200, 'mprotect() refused at a reload: connects');
faults('');
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
is(status(8001), 200, 'socket EMFILE: serves');
is(status(8000), 503, 'socket EMFILE: a worker that gets no socket says 503, as with TCP');

for my $fault ('bind ' . EACCES, 'bind ' . EPERM, 'listen ' . EOPNOTSUPP, 'listen ' . ENOMEM,
    'setsockopt.1.2 ' . EOPNOTSUPP, 'setsockopt.1.9 ' . EOPNOTSUPP)
{
    (my $short = $fault) =~ s/ \d+$//;
    starts($fault, $conf, 0, $tcp) if $fault ne 'bind ' . EPERM;
    refuses($fault, $conf, qr/MPTCPFallback Off forbids TCP/);
}
starts('setsockopt.41.26 ' . EOPNOTSUPP, 'MPTCPListen [::1]:8001', undef, $tcp);
is(get('::1', 8001)->{status}, 200, 'IPV6_V6ONLY refused: serves');
refuses("socket $_", $conf, qr/MPTCPFallback Off forbids TCP/)
    for EINVAL, EPROTONOSUPPORT, ENOPROTOOPT, EPERM, EACCES, ENOMEM, EMFILE;

# The second call is the one that clears it.
starts('setsockopt.6.9 ' . EPERM . ' 2', "MPTCPListen 127.0.0.1:8001\n", undef,
    qr/cannot clear TCP_DEFER_ACCEPT.*AcceptFilter http none/);
is(status(8001), 200, 'TCP_DEFER_ACCEPT stays: serves');
starts('getsockopt.1.38 ' . EPERM, $conf, undef);
is(status(8001), 200, 'SO_PROTOCOL refused: serves');
faults('getsockopt.1.38 ' . EPERM);
ok($httpd->graceful, 'SO_PROTOCOL refused: a reload');
is(status(8001), 200, 'SO_PROTOCOL refused: serves after it');

# A listener that changes at a reload
for my $case (['setsockopt.1.15 ' . EPERM, qr/stays TCP until httpd is stopped/],
    ['bind ' . EACCES . ' 2', qr/stays TCP until httpd is stopped/],
    ['program ' . EPERM, qr/serves both TCP and MPTCP until httpd is stopped/])
{
    my ($fault, $says) = @$case;
    starts('', "Listen 127.0.0.1:8001\n", undef);
    faults($fault);
    $httpd->set_conf("MPTCPListen 127.0.0.1:8001\n");
    ok($httpd->graceful, "TCP becomes MPTCP, $fault: a reload");
    like($httpd->error_log, $says, "TCP becomes MPTCP, $fault: says so");
    is(status(8001), 200, "TCP becomes MPTCP, $fault: serves") for 1 .. 3;
}

# --- The redirections of mod_proxy's imports

for my $fault ('mprotect ' . EACCES, 'mprotect ' . ENOMEM . ' 2 2') {
    starts($fault, $conf, undef, qr/backends are reached by plain TCP: .*mprotect\(\) was refused/);
    is(status($_), 200, "$fault: port $_ serves") for 8000, 8001;
}
$httpd = server("${conf}MPTCPFallback Off\n");
faults('mprotect ' . EACCES);
ok(!$httpd->start, 'mprotect() refused, MPTCPFallback Off: does not start');
like($httpd->error_log, qr/MPTCPFallback Off forbids that: .*mprotect\(\)/,
    'mprotect() refused, MPTCPFallback Off: says why');

# Memory that children share: each child may then say a thing once.
starts('mmap ' . ENOMEM . ' 1 2', $conf, 2);

# --- The path manager

my $none = qr/MPTCPEndpoint and MPTCPLimits have no effect/;
my $part = qr/MPTCPEndpoint and MPTCPLimits are not in force in full/;
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
    starts($fault, $conf . $paths, 2, $says);
    cmp_ok(time - $began, '<', 25, "$fault: does not wait for ever");
}
faults('');
$httpd->stop;

# What was left behind when it could not be taken back is recognised.
$httpd = server($conf . $paths);
ok($httpd->start, 'an endpoint is added');
faults('answer.refuse ' . EPERM);
$httpd->stop;
is(scalar(() = $lab->endpoints('host')), 1, 'it could not be removed at the stop');
like($httpd->error_log, qr/endpoints and limits are left behind/, '    which is said');
faults('');
ok($httpd->start, '    and it starts again');
like($httpd->error_log, qr/recognised 1 endpoints/, '    recognises it');
$httpd->stop;
is(scalar(() = $lab->endpoints('host')), 0, '    and removes it');

done_testing();

sub server {
    my ($text) = @_;
    faults('');
    $httpd->stop if $httpd;
    return MPTCP::Httpd->new(lab => $lab, ns => 'host', load => [qw(proxy proxy_http)],
        conf => $text, before => \@before);
}

sub faults {
    my ($text) = @_;
    open my $file, '>', "$dir/faults.new" or die "faults: $!";
    print {$file} "$text\n";
    close $file or die "faults: $!";
    rename "$dir/faults.new", "$dir/faults" or die "faults: $!";
    return;
}

# It starts all the same, and its log says what is expected. $mptcp is the
# number of MPTCP listeners that serves() then expects; undef leaves that out.
sub starts {
    my ($fault, $text, $mptcp, @says) = @_;
    $httpd = server($text);
    faults($fault);
    my $name = $fault =~ s/ (\d+)/local $! = $1; " '$!'"/er;
    ok($httpd->start, "$name: it starts") or diag $httpd->error_log;
    serves($name, $mptcp) if defined $mptcp;
    like($httpd->error_log, $_, "$name: says so") for @says;
    return;
}

# With MPTCPFallback Off the configuration is refused; by httpd -t too, which
# binds nothing and so does not meet what bind() and listen() have to say.
sub refuses {
    my ($fault, $text, $says) = @_;
    $httpd = server("${text}MPTCPFallback Off\n");
    faults($fault);
    my $name = $fault =~ s/ (\d+)/local $! = $1; " '$!'"/er;
    local @ENV{qw(LD_PRELOAD FAULTS)} = ($library, "$dir/faults");
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
    is(status($_), 200, "$name: port $_ serves") for 8000, 8001;
    is(get('::1', 8001)->{status}, 200, "$name: IPv6 serves");
    return;
}

sub get {
    my ($host, $port, %o) = @_;
    $httpd->write_file('file', "content\n");
    return MPTCP::Client::get(lab => $lab, ns => 'host', host => $host, port => $port,
        path => '/file', %o);
}

sub status { my ($port) = @_; return get('127.0.0.1', $port)->{status} }

# What the log says of one MPTCP connection.
sub variables {
    my $name = $httpd->root . '/logs/variables';
    my $from = -s $name // 0;
    my $r = get('127.0.0.1', 8001, mptcp => 1);
    return "status $r->{status}, $r->{error}" if $r->{status} != 200;
    $lab->wait_until(10, sub { (-s $name // 0) > $from });
    open my $log, '<', $name or return "no log: $!";
    seek $log, $from, 0;
    chomp(my $line = <$log> // '');
    return $line =~ s/^(\S+ \S+ )[0-9a-f]+/$1TOKEN/r =~ s/^((?:\S+ ){3})\d+/$1BYTES/r;
}
