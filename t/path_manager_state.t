# Whose endpoints and limits are whose, however a server ends, crashes or is
# reloaded: what it has added goes, and nothing else does.

use strict;
use warnings;

use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->two_paths;
my $line = 'MPTCPEndpoint 10.91.2.2 dev s2 signal';
my @all  = ('MPTCPListen 80', $line, 'MPTCPLimits subflows=4');

sub server {
    my (%o) = @_;
    return MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => '', %o);
}

sub configure { my ($httpd, @lines) = @_; return $httpd->set_conf(join "\n", @lines) }

sub starts {
    my ($httpd) = @_;
    return $httpd->start || BAIL_OUT($httpd->error_log);
}

sub endpoints { return join "\n", $lab->endpoints('server') }
sub subflows  { return $lab->limits_now('server')->{subflows} }

sub in_force {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    like(endpoints(), qr/^10\.91\.2\.2 id \d+ signal dev s2$/, "$name: the endpoint is there");
    return is(subflows(), 4, '    and the limit');
}

sub taken_back {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(endpoints(), '', "$name: the endpoint has gone");
    return is(subflows(), 2, '    and the limit is what it was');
}

sub killed {
    my ($httpd, $signal) = @_;
    kill $signal // 'KILL', $httpd->pid;
    $lab->wait_until(5, sub { !$httpd->alive });
    return $httpd->stop;    # its children, which go on without it
}

# Before the module is loaded.
sub configure_before {
    my ($httpd, $text, @lines) = @_;
    configure($httpd, @lines);
    open my $old, '<', $httpd->conf_file or die "conf: $!";
    my $conf = do { local $/; <$old> };
    open my $new, '>', $httpd->conf_file or die "conf: $!";
    print {$new} ref $text ? $text->($conf) : "$text\n$conf";
    close $new or die "conf: $!";
    return;
}

# --- The file is beside the PidFile

my $httpd = server();
# (where a relative one is: below DefaultRuntimeDir, or below ServerRoot)
my $root  = $httpd->root . (MPTCP::Httpd::since('2.5') ? "/run" : "");
mkdir "$root/$_" or die "$_: $!" for 'one', 'two';
configure($httpd, @all, 'PidFile one/my.pid');
starts($httpd);
in_force('a relative PidFile');
ok(-s "$root/one/my.pid.mptcp", '    the file is beside it, below ServerRoot');
unlike($httpd->error_log, qr/cannot write/, '    and nothing is said');
killed($httpd);
configure($httpd, 'MPTCPListen 80', 'PidFile one/my.pid');
starts($httpd);
taken_back('killed, and started without the lines');
$httpd->stop;

configure($httpd, @all, 'PidFile one/my.pid');
starts($httpd);
configure($httpd, @all, 'PidFile two/my.pid');
ok($httpd->graceful, 'a reload with another PidFile');
ok(!-e "$root/one/my.pid.mptcp" && -s "$root/two/my.pid.mptcp", '    the file follows it');
$httpd->stop;
taken_back('    a stop');
$lab->endpoint('server', '10.91.2.2', dev => 's2', 'signal');
configure($httpd, @all, 'PidFile one/my.pid');
starts($httpd);
$httpd->stop;
like(endpoints(), qr/^10\.91\.2\.2 /, 'what somebody has added since stays, by the first PidFile too');

# That of another server, which runs, is not touched.
$lab->run(undef, qw(ip -n server mptcp endpoint flush));
my @both = (server(conf => "MPTCPListen 90\n$line\n"), server());
starts($both[0]);
configure($both[1], 'MPTCPListen 80', 'MPTCPEndpoint 10.91.1.2 dev s1 signal');
starts($both[1]);
my $file = $both[0]->root . '/run/httpd.pid.mptcp';
my $noted = `cksum $file`;
configure($both[1], 'MPTCPListen 80', 'MPTCPEndpoint 10.91.1.2 dev s1 signal',
    'PidFile ' . $both[0]->root . '/run/httpd.pid');
ok($both[1]->graceful, 'a reload with the PidFile of another server');
like($both[1]->error_log, qr/belongs to process @{[ $both[0]->pid ]}, which runs/, '    which is said');
$both[1]->stop;
is(`cksum $file`, $noted, '    and its file stays as it is');
$both[0]->stop;
is(endpoints(), '', '    each has removed its own');

# --- It is believed as far as the kernel has what it names

$lab->run(undef, qw(ip -n server mptcp endpoint flush));
configure($httpd, @all);
starts($httpd);
my $ours = endpoints();
killed($httpd);
$lab->run(undef, qw(ip -n server mptcp endpoint flush));
$lab->endpoint('server', '10.91.2.2', dev => 's2', 'signal');
my $theirs = endpoints();
isnt($theirs, $ours, 'killed; flushed; added by hand');
starts($httpd);
$httpd->stop;
is(endpoints(), $theirs, '    which stays, through a start and a stop');
is(subflows(), 2, '    the limit goes');
$lab->run(undef, qw(ip -n server mptcp endpoint flush));

# Where it was not flushed, the kernel gives what is added by hand the same id, and
# nothing tells it from what httpd had added.
starts($httpd);
$ours = endpoints();
killed($httpd, 'QUIT');
$lab->run(undef, qw(ip -n server mptcp endpoint delete id), $ours =~ / id (\d+)/);
$lab->endpoint('server', '10.91.2.2', dev => 's2', 'signal');
is(endpoints(), $ours, 'killed; deleted by its id; added by hand: the same');
starts($httpd);
$httpd->stop;
is(endpoints(), '', '    and removed by a start and a stop');

# --- A reload that never comes to the module's line

for my $text ('LoadModule nosuch_module /nonexistent.so', 'Include /nonexistent.conf') {
    for my $signal ('USR1', 'HUP') {
        configure($httpd, @all);
        starts($httpd);
        configure_before($httpd, $text, @all);
        kill $signal, $httpd->pid;
        ok($lab->wait_until(10, sub { !$httpd->alive }), "SIG$signal with $text first: it ends");
        taken_back('    by then');
    }
}

# --- A reload that fails later: core's open_logs, and another's post_config

my $ssl = server(load => ['ssl']);
for my $line ('ErrorLog /nonexistent/error_log', "<VirtualHost *:80>\nSSLEngine On\n</VirtualHost>") {
    configure($ssl, @all);
    starts($ssl);
    in_force('before');
    configure($ssl, @all, $line);
    kill 'USR1', $ssl->pid;
    ok($lab->wait_until(10, sub { !$ssl->alive }), 'a reload that fails later: it ends') or diag $line;
    taken_back('    by then');
}

# --- A reload that takes the module's line away, and one that brings it back

configure($httpd, @all);
starts($httpd);
configure_before($httpd, sub { $_[0] =~ s/^LoadModule mptcp.*\n//mr }, 'Listen 80');
ok($httpd->graceful, 'a reload without the LoadModule line');
taken_back('    by then');
unlike(join('', `cat /proc/@{[ $httpd->pid ]}/maps`), qr/mod_mptcp/, '    and its code too');
configure($httpd, @all);
ok($httpd->graceful, 'and one with it');
in_force('    again');
ok($httpd->graceful, 'and once more');
in_force('    still');
$httpd->stop;
taken_back('a stop');

# --- A PidFile that cannot be written: core calls exit()

for my $name ('none/my.pid', 'two') {
    configure($httpd, @all, "PidFile $name");
    ok(!$httpd->start, "PidFile $name: it does not start");
    taken_back('    after that');
}
configure($httpd, @all);
starts($httpd);
configure($httpd, @all, 'PidFile none/my.pid');
kill 'USR1', $httpd->pid;
ok($lab->wait_until(10, sub { !$httpd->alive }), 'the same at a reload ends it');
taken_back('    after that');

# --- Limits of two servers, which stop in either order

for my $order ([0, 1], [1, 0]) {
    my @servers = (server(conf => "MPTCPListen 80\nMPTCPLimits subflows=4\n"),
        server(conf => "MPTCPListen 90\nMPTCPLimits subflows=8\n"));
    starts($_) for @servers;
    is(subflows(), 8, 'two servers set a limit: the later one counts');
    $servers[ $order->[0] ]->stop;
    is(subflows(), $order->[0] ? 4 : 8, '    the ' . ($order->[0] ? 'later' : 'first') . ' one stops');
    $servers[ $order->[1] ]->stop;
    is(subflows(), 2, '    and the other one: it is what it was before both');
}

# One that was killed and started anew, beside another with the same value: it
# takes that away from nobody, whether the other has come before it was killed or
# after that.
for my $when ('before', 'after') {
    my @servers = map { server(conf => "MPTCPListen $_\nMPTCPLimits subflows=4\n") } 80, 90;
    starts($servers[0]);
    starts($servers[1]) if $when eq 'before';
    killed($servers[0]);
    starts($servers[1]) if $when eq 'after';
    starts($servers[0]);
    is(subflows(), 4, "a killed server is started again, another has come $when");
    $servers[0]->stop;
    is(subflows(), 4, '    it stops, and the other one keeps its limit');
    $servers[1]->stop;
    is(subflows(), 2, '    and when that stops, it is what it was before both');
}

# --- A server that is no root, and has the capability: its children do not

my $nobody = getpwnam 'nobody';
my @caps = (qw(setpriv --reuid nobody --regid), (getpwnam 'nobody')[3], qw(--clear-groups
    --inh-caps +net_admin --ambient-caps +net_admin --));
my $plain = server(before => \@caps, conf => "MPTCPListen 8080\n$line\n");
open my $log, '>', $plain->root . '/logs/error_log' or die "error_log: $!";
chown $nobody, -1, map { $plain->root . "/$_" } qw(logs run logs/error_log);
starts($plain);
like(endpoints(), qr/^10\.91\.2\.2 /, 'CAP_NET_ADMIN without root adds');
my @old = split ' ', $lab->capture(undef, 'ps', '-o', 'pid=', '--ppid', $plain->pid);
configure($plain, 'MPTCPListen 8080');
ok($plain->graceful, 'a reload without the directives');
is(endpoints(), '', '    removes');
$lab->wait_until(20, sub { !grep { kill 0, $_ } @old });
my @children = split ' ', $lab->capture(undef, 'ps', '-o', 'pid=', '--ppid', $plain->pid);
cmp_ok(scalar @children, '>', 0, '    there are new children');
for my $pid (@children) {
    my @held;
    # which a child gives up before it serves
    $lab->wait_until(10, sub {
        open my $file, '<', "/proc/$pid/status" or die "status: $!";
        @held = grep { /^Cap(?:Inh|Prm|Eff|Amb):/ && hex((split)[1]) & 1 << 12 } <$file>;
        return !@held;
    });
    is_deeply(\@held, [], '    without the capability');
}
$plain->stop;

done_testing();
