# What start-up does and says where the host, the kernel or the privileges are
# not as the configuration would have them, and the start-up report. None of
# it stops the server.

use strict;
use warnings;

use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->two_paths;
my @lines;

# This one runs until the end of the script: what it waits for comes late.
my $late = MPTCP::Httpd->new(lab => $lab, ns => 'client', conf => <<'END');
MPTCPListen 80
MPTCPEndpoint 10.91.1.1 signal
MPTCPEndpoint 10.91.3.1 dev late0 id 50 signal
MPTCPEndpoint 10.91.2.100 id 51 port 7080 signal
END
$late->start or BAIL_OUT($late->error_log);
is(scalar(() = $lab->endpoints('client')), 1, 'one of three endpoints can be added at start');
$lab->run(undef, qw(ip -n client link add late0 type veth peer name late1));
$lab->run(undef, qw(ip -n client address add 10.91.3.1/24 dev late0));
$lab->run(undef, qw(ip -n client address add 10.91.2.100/24 dev c2));

# Starts a server with these lines, gets a page, and stops it: what
# mod_mptcp has said, level and text, of its start alone.
sub said_by {
    my ($lines, %o) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $during = delete $o{during};
    my $port   = delete $o{port} // 80;
    my $owner  = delete $o{owner};
    my $httpd  = MPTCP::Httpd->new(lab => $lab, ns => 'server', %o,
        conf => join "\n", @$lines);
    if ($owner) {
        my $root = $httpd->root;
        open my $log, '>', "$root/logs/error_log" or die "error_log: $!";
        chown $owner, -1, map {"$root/$_"} qw(logs run logs/error_log);
    }
    $httpd->write_file('index.html', "a page\n");
    ok($httpd->start, "it starts: @$lines") or diag $httpd->error_log;
    my $log = $httpd->error_log;
    my $result = MPTCP::Client::get(lab => $lab, ns => 'server', host => '127.0.0.1',
        port => $port, keep => 1);
    is($result->{body}, "a page\n", '    and serves') or diag $result->{error};
    $during->($httpd) if $during;
    $httpd->stop;
    return map { /\[mptcp:(\w+)\] \[pid [^\]]*\] (.*)/ ? "$1: $2" : () } split /\n/, $log;
}

sub warnings_of { return grep {/^(?:warn|error):/} said_by(@_) }

# One warning, which all the patterns fit.
sub warns {
    my ($warnings, $name, @patterns) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(scalar @$warnings, 1, "$name: one warning") or diag join "\n", @$warnings;
    like($warnings->[0] // '', $_, "    says $_") for @patterns;
    return;
}

# --- All is well: three notices

my @well = ('MPTCPListen 80', 'MPTCPEndpoint 10.91.1.2 dev s1 signal',
    'MPTCPEndpoint 10.91.2.2 dev s2 signal');
is_deeply(
    [map { s/ id \d+//gr } said_by([@well, 'MPTCPLimits subflows=3'])],
    [
        'notice: MPTCP listeners: [::]:80',
        'notice: path manager\'s limits: subflows 3 add_addr_accepted 0',
        'notice: path manager\'s endpoints: 10.91.1.2 dev s1 signal, 10.91.2.2 dev s2 signal',
    ],
    'the report of a server that is well configured'
);
is_deeply([said_by(['Listen 80'])], [], 'nothing is said where nothing is asked for');

$lab->endpoint('server', '10.91.2.2', id => 44, dev => 's2', 'signal');
my @said = said_by(['MPTCPListen 80', 'MPTCPListen 10.91.1.2:81 http']);
is_deeply(\@said,
    [
        'notice: MPTCP listeners: [::]:80, 10.91.1.2:81',
        'notice: path manager\'s limits: subflows 2 add_addr_accepted 0',
        'notice: path manager\'s endpoints: 10.91.2.2 dev s2 id 44 signal (not by MPTCPEndpoint)',
        'warn: 10.91.2.2 is announced, but connections to 10.91.1.2:81 cannot join there: nothing'
            . ' listens on its port 81 by MPTCP; write \'MPTCPListen 10.91.2.2:81\', or \'port 81\''
            . ' behind the endpoint',
    ],
    'what somebody else has set is reported too, and a listener that it does not lead to');
is_deeply([grep {/^warn/} said_by(['MPTCPListen 80', 'MPTCPListen 10.91.1.2:81',
    'MPTCPListen 10.91.2.2:81'])], [], 'as written there: no warning');
$lab->run(undef, qw(ip -n server mptcp endpoint delete id 44));
is_deeply([warnings_of(['MPTCPListen 127.0.0.1:80', 'MPTCPListen 10.91.1.2:80',
    'MPTCPEndpoint 10.91.2.2 dev s2 port 80 signal'])], [], 'or with a port: no warning');
warns([warnings_of(['MPTCPListen 0.0.0.0:80', 'MPTCPEndpoint fd91:2::2 dev s2 signal'])],
    'an IPv6 address, and listeners of IPv4', qr/fd91:2::2 is announced.*0\.0\.0\.0:80/,
    qr/'MPTCPListen \[fd91:2::2\]:80'/);
is_deeply([warnings_of(['MPTCPListen 0.0.0.0:80', 'MPTCPListen [::]:80',
    'MPTCPEndpoint fd91:2::2 dev s2 signal'])], [], 'as one listener per family: no warning');

# --- What stands in the way of multipath

warns([warnings_of([@well, 'MPTCPLimits subflows=0'])], 'the limit of subflows is 0',
    qr/'MPTCPLimits subflows=\d'/);
warns([warnings_of(['MPTCPListen 80'])], 'a host of several addresses announces none',
    qr/this host has 4/, map {qr/'MPTCPEndpoint \Q$_\E signal'/}
        '10.91.1.2 dev s1', '10.91.2.2 dev s2', 'fd91:1::2 dev s1', 'fd91:2::2 dev s2');

$lab->run(undef, qw(ip -n server address add 10.91.1.102/24 dev s1));
warns([warnings_of(['MPTCPListen 80'])], 'an interface of two addresses of a family',
    qr/this host has 4; .*'MPTCPEndpoint 10\.91\.1\.2 dev s1 signal', 'MPTCPEndpoint 10\.91\.2/);
my $many = 0;
for my $i (1 .. 3) {
    $lab->run(undef, qw(ip -n server link add), "many$i", qw(type veth peer name), "more$i");
    for my $dev ("many$i", "more$i") {
        $lab->run(undef, qw(ip -n server link set), $dev, 'up');
        $lab->run(undef, qw(ip -n server address add), '10.92.' . ++$many . '.2/24', 'dev', $dev);
    }
}
@said = warnings_of(['MPTCPListen 80']);
warns(\@said, 'a host of more addresses than can be announced', qr/this host has 10; .*, and so on$/);
is(scalar(() = "@said" =~ /'MPTCPEndpoint /g), 8, '    names as many as the kernel takes');
$lab->run(undef, qw(ip -n server link delete), "many$_") for 1 .. 3;
$lab->run(undef, qw(ip -n server address delete 10.91.1.102/24 dev s1));

is_deeply([warnings_of(['MPTCPListen 127.0.0.1:80', 'MPTCPListen [::1]:81', @$_])], [],
    "listeners of the loopback interface, which no other host can join: no warning")
    for [], ['MPTCPEndpoint 10.91.2.2 dev s2 signal'];

sub with_sysctl {
    my ($values, $code) = @_;
    my %old = map { ($_ => $lab->sysctl('server', $_)) } keys %$values;
    $lab->sysctl('server', $_, $values->{$_}) for sort keys %$values;
    my @result = $code->();
    $lab->sysctl('server', $_, $old{$_}) for sort keys %old;
    return @result;
}

for my $dev (qw(s2 all)) {
    warns([with_sysctl({ "net.ipv4.conf.$dev.rp_filter" => 1 }, sub {
            warnings_of($dev eq 'all' ? [@well[0, 2]] : \@well);
        })],
        "rp_filter is strict on $dev", qr/10\.91\.2\.2 that come in by s2/,
        qr/'sysctl -w net\.ipv4\.conf\.s2\.rp_filter=2'/);
}
is_deeply([with_sysctl({ 'net.ipv4.conf.all.rp_filter' => 1, 'net.ipv4.conf.s1.rp_filter' => 2,
        'net.ipv4.conf.s2.rp_filter' => 2 }, sub { warnings_of(\@well) })], [],
    'as written there: no warning');

# A VLAN's name has a dot in it, which sysctl takes for a slash.
$lab->run(undef, split ' ', "ip -n server $_")
    for 'link add s.100 type veth peer name p.100', 'address add 10.91.9.2/24 dev s.100',
    'link set p.100 up', 'link set s.100 up';
$lab->run('server', 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/conf/s.100/rp_filter');
@lines = (@well, 'MPTCPEndpoint 10.91.9.2 dev s.100 signal');
my ($strict) = warnings_of(\@lines);
my ($command) = ($strict // '') =~ /10\.91\.9\.2 that come in by s\.100 .*'(sysctl .*)'/;
is(($lab->try('server', split ' ', $command // 'false'))[0], 0, 'what is written is a command that works');
is_deeply([warnings_of(\@lines)], [], '    and no warning is left');
$lab->run(undef, qw(ip -n server link delete s.100));

my $join = 'net.mptcp.allow_join_initial_addr_port';
my @quiet = with_sysctl({ $join => 0 }, sub { warnings_of(['MPTCPListen 80',
    'MPTCPEndpoint 10.91.1.2 dev s1 subflow']) });
like(join("\n", @quiet), qr/\Q$join\E is 0.*'MPTCPEndpoint ADDRESS signal'/,
    'clients may not join the first address, and learn of no other');
is_deeply([with_sysctl({ $join => 0 }, sub { warnings_of(\@well) })], [],
    'with announced addresses: no warning');
warns([with_sysctl({ 'net.mptcp.pm_type' => 1 }, sub { warnings_of(\@well) })],
    'the path manager is another', qr/net\.mptcp\.path_manager=kernel/);

my @proxy = (load => [qw(proxy proxy_http)]);
@lines = ('Listen 80', 'ProxyPass /backend http://10.91.1.1/ multipathtcp=On');
warns([warnings_of(\@lines, @proxy)], 'workers by MPTCP, and nothing for a second path',
    qr/'MPTCPEndpoint ADDRESS dev IF subflow' or 'MPTCPLimits add_addr_accepted=2'/);
is_deeply([warnings_of([@lines, $_], @proxy)], [], "with $_: no warning")
    for 'MPTCPEndpoint 10.91.2.2 dev s2 subflow', 'MPTCPLimits add_addr_accepted=2';
is_deeply([said_by([$lines[0], $lines[1] =~ s/On/Off/r], @proxy)], [],
    'nothing is said where no worker is MPTCP');

# Switched off between a start and a reload, of which listeners know nothing.
my @later;
with_sysctl({ 'net.mptcp.enabled' => 1 }, sub {
    said_by(\@well, during => sub {
        my ($httpd) = @_;
        my $length = length $httpd->error_log;
        $lab->sysctl('server', 'net.mptcp.enabled', 0);
        ok($httpd->graceful, 'a reload with net.mptcp.enabled=0');
        @later = substr($httpd->error_log, $length) =~ /\[mptcp:warn\] .*? (MPTCP is .*)/g;
    });
});
is(scalar @later, 1, '    a warning');
like($later[0] // '', qr/'sysctl -w net\.mptcp\.enabled=1'/, '    says what to write');

# --- What this host does not have

warns([warnings_of([@well, 'MPTCPEndpoint 10.91.3.2 dev s1 signal'])], 'an address of another host',
    qr/MPTCPEndpoint 10\.91\.3\.2 dev s1 signal is not in force/, qr/not on this host; the endpoint is added when it is/);
warns([warnings_of([@well, 'MPTCPEndpoint 10.91.3.2 port 7080 signal'])], 'one with a port',
    qr/not on this host; the endpoint is added when it is/);
warns([warnings_of([@well, 'MPTCPEndpoint fd91:1::2 dev s9 signal'])], 'no such interface',
    qr/MPTCPEndpoint fd91:1::2 dev s9 signal is not in force/, qr/no such interface; the endpoint is added when it has/);
warns([warnings_of([@well, 'MPTCPListen 81', 'MPTCPEndpoint 10.91.2.2 port 81 signal'])],
    'the port is a listener\'s', qr/port is taken.*leave port out/);
# until it is: eight, and more than 150 on Linux 7.3, where ids are what ends
my $full = 0;
$full++ while $full < 300 && eval {
    $lab->endpoint('server', sprintf('10.90.%d.%d', $full / 250, 1 + $full % 250), 'signal');
    1;
};
cmp_ok($full, '>=', 8, 'as many endpoints as the kernel takes');
warns([warnings_of(['MPTCPListen 80', 'MPTCPEndpoint 10.91.2.2 dev s2 signal'])],
    'the kernel\'s table is full', qr/there are $full endpoints already.*ip mptcp endpoint show/);
$lab->run(undef, qw(ip -n server mptcp endpoint flush));

# --- Privileges

my ($nobody) = (getpwnam 'nobody')[2];
my @as_nobody = (before => [qw(setpriv --reuid nobody --regid), (getpwnam 'nobody')[3],
    '--clear-groups'], owner => $nobody, port => 8080);
@lines = ('MPTCPListen 8080', 'MPTCPEndpoint 10.91.1.2 dev s1 id 3 signal',
    'MPTCPEndpoint fd91:2::2 signal backup', 'MPTCPLimits subflows=4');
warns([grep {/EPERM|not permitted/} warnings_of(\@lines, @as_nobody)], 'without CAP_NET_ADMIN',
    qr/takes CAP_NET_ADMIN/,
    qr/ip mptcp limits set subflows 4 add_addr_accepted 0; ip mptcp endpoint add 10\.91\.1\.2 dev s1 id 3 signal; ip mptcp endpoint add fd91:2::2 signal backup$/);
is_deeply([$lab->endpoints('server')], [], '    nothing has changed in the kernel');

# As is written there.
$lab->run(undef, split ' ', "ip -n server mptcp $_")
    for 'limits set subflows 4 add_addr_accepted 0',
    'endpoint add 10.91.1.2 dev s1 id 3 signal', 'endpoint add fd91:2::2 signal backup';
@said = said_by(\@lines, @as_nobody);
is_deeply([grep {/^warn/} @said], [], 'with what an administrator has set: no warning');
like(join("\n", @said), qr/limits: subflows 4 add_addr_accepted 0\n.*endpoints: 10\.91\.1\.2 dev s1 id 3 signal/,
    '    reading takes no privilege');
is(scalar(() = $lab->endpoints('server')), 2, '    and it stays');
$lab->run(undef, qw(ip -n server mptcp endpoint flush));
$lab->limits('server', subflows => 2);

# An ordinary user with the capability, as systemd gives it. Its children, and
# their CGI programs, do not get it; nor does mod_cgid's daemon, which is a
# child of the parent's too, but none of the MPM's.
my @caps = (qw(setpriv --reuid nobody --regid), (getpwnam 'nobody')[3], qw(--clear-groups
    --inh-caps +net_admin --ambient-caps +net_admin --));
@said = said_by(\@lines, @as_nobody, before => \@caps, load => ['cgid'], during => sub {
    my ($httpd) = @_;
    is(scalar(() = $lab->endpoints('server')), 2, 'with CAP_NET_ADMIN it adds');
    my @pids = split ' ', $lab->capture(undef, 'ps', '-o', 'pid=', '--ppid', $httpd->pid);
    for my $pid (@pids) {
        open my $file, '<', "/proc/$pid/status" or die "/proc/$pid/status: $!";
        my @held = grep { /^Cap(?:Inh|Prm|Eff|Amb):/ && hex((split)[1]) & 1 << 12 } <$file>;
        is_deeply(\@held, [], '    a child has no CAP_NET_ADMIN');
    }
    cmp_ok(scalar @pids, '>', 0, '    there are children');
});
is_deeply([grep {/^warn/} @said], [], '    without a warning');
is_deeply([$lab->endpoints('server')], [], '    and removes');

# --- Kernels that lack something: a library put before it plays them

my $old_kernel = old_kernel();
sub on_old_kernel {
    my ($lack, $lines) = @_;
    return warnings_of($lines, before => ['env', "LD_PRELOAD=$old_kernel", "LACK=$lack"]);
}
@lines = (@well, 'MPTCPEndpoint fd91:2::2 laminar');
is_deeply([on_old_kernel('nothing', \@well)], [], 'the stand-in itself changes nothing');
warns([on_old_kernel('family', \@lines)], 'a kernel without the family',
    qr/no effect: .*no netlink family mptcp_pm.*Linux 5\.7/);
warns([on_old_kernel('netlink', \@lines)], 'netlink sockets are forbidden',
    qr/no effect: .*add AF_NETLINK to RestrictAddressFamilies/);
warns([on_old_kernel('laminar', \@lines)], 'a kernel that does not know laminar',
    qr/fd91:2::2 laminar: this kernel does not know laminar/, qr/write subflow or fullmesh/);

# One that takes the endpoint without the flag: it is httpd's own all the same.
{
    my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server',
        before => ['env', "LD_PRELOAD=$old_kernel", 'LACK=flags']);
    my $configure = sub { $httpd->set_conf(join "\n", @_) };
    $configure->(@lines);
    ok($httpd->start, 'a kernel that drops laminar') or diag $httpd->error_log;
    my ($has) = grep {/fd91:2::2/} $lab->endpoints('server');
    unlike($has // 'none', qr/none|laminar|rawflags/, '    has the endpoint without it');
    ok($httpd->graceful, '    a reload');
    is((grep {/fd91:2::2/} $lab->endpoints('server'))[0], $has, '    leaves it');
    my @warnings = $httpd->error_log =~ /\[mptcp:warn\] (.*)/g;
    is(scalar @warnings, 1, '    one warning') or diag join "\n", @warnings;
    like($warnings[0] // '', qr/fd91:2::2 laminar: this kernel does not know laminar/, '    says why');
    $configure->(@well);
    ok($httpd->graceful, '    a reload without the line');
    is(scalar(grep {/fd91:2::2/} $lab->endpoints('server')), 0, '    removes it');
    $configure->(@lines);
    $httpd->graceful or BAIL_OUT($httpd->error_log);
    kill 'KILL', $httpd->pid;
    $httpd->stop;
    $configure->(@well);
    $httpd->start or BAIL_OUT($httpd->error_log);
    is(scalar(grep {/fd91:2::2/} $lab->endpoints('server')), 0,
        '    a crash and a start without the line, too');
    $httpd->stop;
}
is_deeply([on_old_kernel('family', ['MPTCPListen 80'])], [],
    'a kernel without the family, and nothing asked of it: no warning');

# --- What could not be added at start is added when it can be

ok($lab->wait_until(30, sub { $lab->endpoints('client') == 3 }),
    'the endpoints whose interface and address have come are added');
is_deeply([grep { !/10\.91\.1\.1/ } $lab->endpoints('client')],
    ['10.91.3.1 id 50 signal dev late0', '10.91.2.100 port 7080 id 51 signal'], '    as written');
ok($lab->wait_until(10, sub { 2 == (() = $late->error_log =~ /is in force now/g) }),
    '    a notice for each');
is(scalar(() = $late->error_log =~ /is not in force/g), 2, '    and no second warning');
$late->stop;
is_deeply([$lab->endpoints('client')], [], '    a stop removes them');

done_testing();

# A shared object that takes something away from the kernel, as the process
# sees it: what the environment variable LACK says.
sub old_kernel {
    my $base = "$ENV{TMPDIR}/old-kernel";
    open my $source, '>', "$base.c" or die "$base.c: $!";
    print {$source} <<'END';
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int lacks(const char *what)
{
    const char *lack = getenv("LACK");
    return lack && strcmp(lack, what) == 0;
}

int socket(int domain, int type, int protocol)
{
    int (*real)(int, int, int) = dlsym(RTLD_NEXT, "socket");
    if (domain == AF_NETLINK && lacks("netlink")) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return real(domain, type, protocol);
}

int genl_ctrl_resolve(void *sock, const char *name)
{
    int (*real)(void *, const char *) = dlsym(RTLD_NEXT, "genl_ctrl_resolve");
    return lacks("family") ? -12 /* NLE_OBJ_NOTFOUND */ : real(sock, name);
}

int nla_put_u32(void *message, int type, unsigned int value)
{
    int (*real)(void *, int, unsigned int) = dlsym(RTLD_NEXT, "nla_put_u32");
    if (type == 6 && lacks("flags")) {  /* MPTCP_PM_ADDR_ATTR_FLAGS */
        value &= ~0x20;                 /* laminar */
    }
    return real(message, type, value);
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
    int (*real)(int, int, int, void *, socklen_t *)
        = dlsym(RTLD_NEXT, "getsockopt");
    int result = real(fd, level, option, value, length);
    if (level == 284 && option == 1 && *length > 81 && lacks("laminar")) {
        ((char *)value)[81] = 0;    /* reserved, before Linux 6.18 */
    }
    return result;
}
END
    close $source or die "$base.c: $!";
    $lab->run(undef, qw(cc -shared -fPIC -o), "$base.so", "$base.c", '-ldl');
    return "$base.so";
}
