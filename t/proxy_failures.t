# Backends that fail, paths that strip options, kernels without MPTCP. Whatever
# mod_proxy does for a worker with multipathtcp=Off it does with On too: the
# same answers, and the same messages in the log.

use strict;
use warnings;

use File::Temp ();
use MPTCP::Lab;
use MPTCP::ProxyLab;
use Test::More;
use Time::HiRes qw(sleep time);

MPTCP::Lab->enter;

my $lab = MPTCP::ProxyLab->new(paths => 2);
my $b   = $lab->{backend};
my $dir = File::Temp->newdir(TMPDIR => 1);
$lab->backends(7001 => 'http', 7002 => 'http/tcp', 7003 => 'mute');

# Since Linux 6.12 a namespace gives MPTCP up for an hour where SYNs with the
# option are lost, which a test here provokes.
$lab->sysctl('proxy', 'net.mptcp.blackhole_timeout', 0)
    if -e '/proc/sys/net/mptcp/blackhole_timeout';

# Names with two addresses; seen in this sandbox only. On the proxy's own
# address nobody listens, path 2 will lose everything.
my ($mac) = $lab->capture('backend', qw(cat /sys/class/net/s2/address)) =~ /(\S+)/;
$lab->run(undef, qw(ip -n proxy neigh replace), '10.91.2.2', 'lladdr', $mac, qw(dev c2));
$lab->blackhole(2);
$lab->hosts(<<'END');
127.0.0.1 localhost
10.91.1.1 refused.test
10.91.1.2 refused.test
10.91.2.2 lost.test
10.91.1.2 lost.test
END

# --- The same twice: for workers with Off, and with On

my %seen;
for my $on ('Off', 'On') {
    my $p = "multipathtcp=$on";
    $lab->proxy(<<"END");
ProxyPass /works/    http://$b:7001/w/ $p disablereuse=On
ProxyPass /refused/  http://$b:7999/   $p
ProxyPass /lost/     http://10.91.2.2:7001/ $p connectiontimeout=1
ProxyPass /mute/     http://$b:7003/   $p timeout=1
ProxyPass /noname/   http://nowhere.invalid:7001/ $p
ProxyPass /second/   http://refused.test:7001/ $p disablereuse=On
ProxyPass /timedout/ http://lost.test:7001/ $p connectiontimeout=1 disablereuse=On
<Proxy balancer://fails>
    BalancerMember http://$b:7998 $p retry=1
</Proxy>
ProxyPass /recovers/ balancer://fails/
<Proxy balancer://over>
    BalancerMember http://$b:7999 $p retry=60
    BalancerMember http://$b:7001 $p status=+H disablereuse=On
</Proxy>
ProxyPass /failover/ balancer://over/
END
    for my $what (qw(works refused lost mute noname second timedout failover)) {
        $lab->logged;
        my $start = time;
        my ($status, $body) = $lab->request("/$what/x");
        $seen{$what}{$on} = {
            status => $status, log => messages($lab->logged),
            body => $body =~ s/^http .*//r, seconds => time - $start,
        };
    }

    # error state, and recovery from it once the backend is there
    $lab->logged;
    my @status = map { ($lab->request('/recovers/x'))[0] } 1 .. 2;
    my $pid = $lab->backends(7998 => 'http');
    sleep 1.1;
    my $counted = $lab->counted(sub { push @status, ($lab->request('/recovers/x'))[0] });
    push @status, ($lab->request('/recovers/x'))[0];
    $lab->reap($pid);
    $seen{recovers}{$on} = { status => "@status", log => messages($lab->logged) };
    is($counted->{mptcp}, $on eq 'On' ? 1 : 0,
        "recovers, $on: by " . ($on eq 'On' ? 'MPTCP' : 'TCP'));
}
my %expected = (
    works => [200], refused => [503, 'AH00957', 'refused'], lost => [503, 'AH00957', 'lost'],
    mute => [502], noname => ['500|502'], second => [200, 'AH00957'],
    timedout => [200, 'AH00957'], recovers => ['503 503 200 200', 'AH00959'],
    failover => [200, 'AH00959'],
);
for my $what (sort keys %expected) {
    my ($status, $message) = @{ $expected{$what} };
    like($seen{$what}{On}{status}, qr/^(?:$status)$/, "$what: status $status");
    like($seen{$what}{On}{log}, qr/$message/, "$what: logged $message") if $message;
    # How long they took is to be alike, on a machine that has more to do.
    my ($on, $off) = map { delete $seen{$what}{$_}{seconds} // 0 } qw(On Off);
    is_deeply($seen{$what}{On}, $seen{$what}{Off}, "$what: On answers and logs as Off does");
    cmp_ok(abs($on - $off), '<', 10, "$what: ... and does not take longer")
        or diag "On $on s, Off $off s";
}

# --- What mod_proxy sets on its sockets, and where it binds them

$lab->run(undef, qw(ip -n proxy address add 10.91.1.7/24 dev c1));
$lab->proxy(<<"END");
ProxyPass /k/ http://$b:7001/ multipathtcp=On keepalive=On receivebuffersize=20000
<VirtualHost 127.0.0.1:8000>
    ProxySourceAddress 10.91.1.7
</VirtualHost>
END
my ($status) = $lab->request('/k/x');
is($status, 200, 'ProxySourceAddress: is answered');
my ($subflow) = $lab->ss('proxy', '-tom', 'dst', "$b:7001");
like($subflow->{local}, qr/^10\.91\.1\.7:/, 'ProxySourceAddress: the connection comes from there');
like($subflow->{info}, qr/timer:\(keepalive/, 'keepalive=On: the connection has the timer');
my ($connection) = $lab->ss('proxy', '-Mm', 'dst', "$b:7001");
like($connection->{info}, qr/rb40000\b/, 'receivebuffersize=20000: twice that, as Linux counts');

# --- A backend that speaks only TCP; middleboxes

# A request that begins as MPTCP and becomes TCP: the kernel of one side counts.
sub fallback_is_counted {
    my ($path, $ns, $counter, $name) = @_;
    my $before = $lab->counter($ns, "MPTcpExt$counter");
    my $counted = $lab->counted(sub {
        my ($status, $body) = $lab->request($path);
        is("$status $body", "200 http /x\n", "$name: is answered");
    });
    is_deeply($counted, { connections => 1, mptcp => 1 }, "$name: MPTCP was asked for");
    is($lab->counter($ns, "MPTcpExt$counter") - $before, 1, "$name: the kernel counts $counter");
    return;
}
$lab->proxy(<<"END");
ProxyPass /mptcp/ http://$b:7001/ multipathtcp=On disablereuse=On
ProxyPass /tcp/   http://$b:7002/ multipathtcp=On disablereuse=On
END
fallback_is_counted('/tcp/x', 'proxy', 'MPCapableFallbackSYNACK', 'a backend that speaks only TCP');

# nftables as the middlebox, where packets come in
sub middlebox {
    my ($ns, $dev, @rule) = @_;
    $lab->run($ns, 'nft', "table netdev box {\nchain c {\ntype filter hook ingress"
        . " device $dev priority 0;\n@rule\n}\n}\n");
    return;
}
my $syn = 'tcp flags & (syn|ack) ==';
for my $case (
    ['SYNs', 'proxy', 'MPCapableFallbackSYNACK', 'backend', 's1', "$syn syn"],
    ['SYN/ACKs', 'proxy', 'MPCapableFallbackSYNACK', 'proxy', 'c1', "$syn (syn|ack)"],
    ['all but SYNs', 'backend', 'MPCapableFallbackACK', 'backend', 's1', 'tcp flags & syn == 0'],
    )
{
    my ($what, $counts, $counter, $ns, $dev, $which) = @$case;
    middlebox($ns, $dev, "$which reset tcp option mptcp");
    fallback_is_counted('/mptcp/x', $counts, $counter, "the option is stripped from $what");
    $lab->run($ns, 'nft', 'delete table netdev box');
}
# A firewall that drops what it does not know: the kernel tries without, since
# Linux 6.12. (The manual says what that means before.)
my $tries_without = -e '/proc/sys/net/mptcp/blackhole_timeout';
$lab->sysctl('proxy', 'net.ipv4.tcp_syn_retries', 6);
$lab->sysctl('proxy', 'net.mptcp.syn_retrans_before_tcp_fallback', 1)
    if -e '/proc/sys/net/mptcp/syn_retrans_before_tcp_fallback';
middlebox('backend', 's1', "$syn syn tcp option mptcp exists drop");
($status) = $lab->request('/mptcp/x');
$tries_without
    ? is($status, 200, 'SYNs with the option are dropped: is answered, after the kernel tried without')
    : isnt($status, 200, 'SYNs with the option are dropped: this kernel does not try without');
$lab->run('backend', 'nft', 'delete table netdev box');
$lab->is_mptcp('/mptcp/x', 'and without a middlebox again');

# --- A kernel without MPTCP

my $two = <<"END";
ProxyPass /one/ http://$b:7001/one/ multipathtcp=On disablereuse=On
ProxyPass /two/ http://$b:7001/two/ multipathtcp=On disablereuse=On
ProxyPass /off/ http://$b:7001/off/ multipathtcp=Off disablereuse=On
<VirtualHost 127.0.0.1:8000>
    MPTCPProxyDefault On
    ProxyRequests On
    AllowCONNECT 7001
</VirtualHost>
END
my $refusal = qr/worker http:\S+ (?:connects by plain TCP|cannot connect): /
    . 'the kernel gives no MPTCP socket';
sub many {
    my ($path) = @_;
    my (undef, $output) = $lab->try('proxy', qw(curl -q -sS --max-time 30 --parallel
        --parallel-immediate --parallel-max 20 -o /dev/null -w), "\n%{http_code}\n",
        "http://127.0.0.1:8000$path\[1-20]");
    my %times;
    $times{$_}++ for $output =~ /^(\d\d\d)$/mg;
    return \%times;
}

my $counted;
$lab->proxy($two);
$lab->sysctl('proxy', 'net.mptcp.enabled', 0);
$counted = $lab->counted(sub {
    is_deeply(many('/one/'), { 200 => 20 }, 'no MPTCP, MPTCPFallback On: works');
});
is_deeply($counted, { connections => 20, mptcp => 0 }, 'by TCP');
is($lab->times_logged(qr/mptcp:warn.*$refusal, ENOPROTOOPT: .*sysctl -w net\.mptcp\.enabled=1/), 1,
    'with one warning, that names the errno and what to do');
many('/two/');
many('/off/');
is($lab->times_logged($refusal), 2, 'and one for another worker that asks for MPTCP');
$lab->try('proxy', qw(curl -q -s -x http://127.0.0.1:8000 -p), "http://$b:7001/") for 1, 2;
is($lab->times_logged(qr/mptcp:warn.*CONNECT of server localhost connects by plain TCP/), 1,
    'and one for CONNECT');
$lab->{httpd}->graceful;
many('/one/');
is($lab->times_logged($refusal), 3, 'and one more after a reload');
$lab->sysctl('proxy', 'net.mptcp.enabled', 1);
$lab->is_mptcp('/one/x', 'switched on again');

$lab->proxy("MPTCPFallback Off\n$two");
$lab->sysctl('proxy', 'net.mptcp.enabled', 0);
$counted = $lab->counted(sub {
    is_deeply(many('/one/'), { 503 => 20 }, 'no MPTCP, MPTCPFallback Off: 503');
});
is_deeply($counted, { connections => 0, mptcp => 0 }, 'without a connection');
is($lab->times_logged(qr/mptcp:error.*$refusal, ENOPROTOOPT: .*; MPTCPFallback On would use/), 1,
    'the reason is logged once');
is_deeply(many('/off/'), { 200 => 20 }, 'a worker with Off is untouched');
$lab->sysctl('proxy', 'net.mptcp.enabled', 1);
$lab->is_mptcp('/one/x', 'switched on again');

# Other errors of socket(), by a library that is loaded before all others. Short
# of descriptors or memory is no word about MPTCP: mod_proxy gets the error.
my $shim = compile('refuse', <<'END');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

int socket(int family, int type, int protocol)
{
    int (*original)(int, int, int) = dlsym(RTLD_NEXT, "socket");

    if (protocol == 262) {
        errno = atoi(getenv("REFUSE"));
        return -1;
    }
    return original(family, type, protocol);
}
END
for ([EINVAL => 22, 200], [EPROTONOSUPPORT => 93, 200], [EPERM => 1, 200], [EACCES => 13, 200],
    [EMFILE => 24, 503])
{
    my ($name, $errno, $wanted) = @$_;
    $lab->proxy($two, before => ['env', "LD_PRELOAD=$shim", "REFUSE=$errno"]);
    my ($status) = $lab->request('/one/x');
    is($status, $wanted, "socket() fails with $name: $wanted");
    is($lab->times_logged($wanted == 200 ? qr/$refusal, $name:/ : $refusal),
        $wanted == 200 ? 1 : 0,
        $wanted == 200 ? 'which the log names' : 'which is not put down to MPTCP');
}

# --- mod_proxy whose import cannot be redirected: another name stands for it in
# a copy of mod_proxy. Start-up says so when, and only when, somebody asks.

my $libexec = MPTCP::Httpd::_apxs('LIBEXECDIR');
my $other = compile('other', <<'END');
#include <stddef.h>
int apr_pollset_poll(void *, long long, int *, const void **);
int apr_socket_create(void **, int, int, int, void *);
int zzz_pollset_poll(void *set, long long timeout, int *count, const void **fds)
{
    return apr_pollset_poll(set, timeout, count, fds);
}
int zzz_socket_create(void **sd, int family, int type, int protocol, void *p)
{
    return apr_socket_create(sd, family, type, protocol, p);
}
END
# (without what a debugger wants, where the name stands once more)
system('strip', '-o', "$dir/stripped.so", "$libexec/mod_proxy.so") == 0 or die "strip: $!\n";
# (tunnels are mod_proxy's since 2.4.47)
for (['socket_create', On => 1], ['socket_create', Off => 0],
    MPTCP::Httpd::since('2.4.47') ? ['pollset_poll', On => 1] : ())
{
    my ($function, $on, $times) = @$_;
    $lab->stop_proxy;
    my $copy = read_file("$dir/stripped.so");
    my $changed = $copy =~ s/\0apr_$function\0/\0zzz_$function\0/g;
    is($changed, 1, "mod_proxy has one import of apr_$function");
    write_file("$dir/mod_proxy.so", $copy);
    my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'proxy', conf => <<"END");
LoadFile $other
LoadModule proxy_module $dir/mod_proxy.so
LoadModule proxy_http_module $libexec/mod_proxy_http.so
Listen 127.0.0.1:8000
ProxyPass / http://$b:7001/ multipathtcp=$on
END
    $lab->{httpd} = $httpd;
    ok($httpd->start, "no import, $on: starts") or diag($httpd->error_log);
    my $is_mptcp = $function ne 'socket_create';
    $lab->is_counted('/x', $is_mptcp ? 1 : 0, 1, "no import of apr_$function, $on");
    my $said = $is_mptcp
        ? qr/mptcp:warn.*wait for net\.mptcp\.close_timeout.*cannot redirect apr_pollset_poll: the obj/
        : qr/mptcp:error.*plain TCP: cannot redirect apr_socket_create: the object does not/;
    # once for each of the two times that httpd reads its configuration at start
    is($lab->times_logged($said) > 0 ? 1 : 0, $times,
        "no import, $on: " . ($times ? 'the log says so' : 'nothing is said'));
}

# A mod_proxy that is not loaded at all
$lab->stop_proxy;
my $without = MPTCP::Httpd->new(lab => $lab, ns => 'proxy',
    conf => "Listen 127.0.0.1:8000\nMPTCPProxyDefault On\n");
ok($without->start, 'MPTCPProxyDefault without mod_proxy: starts') or diag($without->error_log);
like($without->error_log, qr/mptcp:warn.*MPTCPProxyDefault On has no effect: mod_proxy is not loaded/,
    'and says that it is of no use');

done_testing();

# The numbers of mod_proxy's messages, in their order, with their reason; what
# is only for debugging or differs from run to run left out.
sub messages {
    my ($log) = @_;
    return join "\n", map {
        # [module:level] ... (errno)text: AHnnnnn, but for those of a child's start
        /\[(proxy\w*:\w+)\](?:(?!AH\d).)*?(\(\d+\)[^:]*: )?(AH\d+)/ && $3 !~ /^AH0092|^AH0093/
            ? "$1 $3 " . ($2 // '') : ()
    } split /\n/, $log;
}

sub compile {
    my ($name, $source) = @_;
    write_file("$dir/$name.c", $source);
    $lab->run(undef, qw(cc -shared -fPIC -o), "$dir/$name.so", "$dir/$name.c");
    return "$dir/$name.so";
}

sub read_file {
    my ($name) = @_;
    open my $file, '<:raw', $name or die "$name: $!";
    local $/;
    return <$file>;
}

sub write_file {
    my ($name, $contents) = @_;
    open my $file, '>:raw', $name or die "$name: $!";
    print {$file} $contents;
    close $file or die "$name: $!";
    return;
}
