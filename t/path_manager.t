# Endpoints and limits in the kernel, as the server starts, reloads, stops and
# is killed. What there is is asked of the kernel, by `ip mptcp`.

use strict;
use warnings;

use MPTCP::Httpd;
use MPTCP::Lab;
use POSIX ();
use Test::More;

MPTCP::Lab->enter;

my $lab   = MPTCP::Lab->two_paths;
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server');
my $state = $httpd->root . '/run/httpd.pid.mptcp';
my %kernel_limits = (subflows => 2, add_addr_accepted => 0);

sub of_children {
    my ($what) = @_;
    return split ' ', $lab->capture(undef, 'ps', '-o', "$what=", '--ppid', $httpd->pid);
}

sub configure { return $httpd->set_conf(join "\n", 'MPTCPListen 80', @_) }

sub in_kernel {
    my ($name, $endpoints, %limits) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is_deeply([sort $lab->endpoints('server')], [sort @$endpoints],
        "$name: the endpoints");
    is_deeply($lab->limits_now('server'), { %kernel_limits, %limits },
        "$name: the limits");
    return;
}

# What the log has got since the last call.
my $read = 0;

sub new_log {
    my $log = $httpd->error_log;
    my $new = substr $log, $read;
    $read = length $log;
    return $new;
}

sub warnings_of { return grep {/\[mptcp:(?:warn|error)\]/} split /\n/, shift }

# --- Start: every word arrives

# Somebody else's, which stay whatever happens here.
$lab->endpoint('server', 'fd91:1::2', id => 99, dev => 's1', 'signal');
my @others = ('fd91:1::2 id 99 signal dev s1');

configure(
    'MPTCPEndpoint 10.91.2.2 dev s2 id 5 port 7080 signal backup',
    'MPTCPEndpoint fd91:2::2 dev s2 id 6 subflow fullmesh',
    'MPTCPEndpoint 10.91.1.2 id 7 signal subflow laminar',
    'MPTCPEndpoint fd91:1::2 dev s1 signal',    # an equal one is there
    'MPTCPLimits subflows=5 add_addr_accepted=4'
);
ok($httpd->start, 'it starts') or BAIL_OUT($httpd->error_log);
my @now = $lab->endpoints('server');
is_deeply([sort grep { !/id 7/ } @now],
    [sort @others, '10.91.2.2 port 7080 id 5 signal backup dev s2',
        'fd91:2::2 id 6 subflow fullmesh dev s2'],
    'start: endpoints with id, port, dev and flags of both families');
# iproute2 before 6.18 has no word for laminar; kernels before it drop the flag
my $knows_laminar = $lab->counts_laminar('server');
my $word = $knows_laminar ? qr/ (?:laminar|rawflags 20)/ : qr/(?: (?:laminar|rawflags 20))?/;
like((grep {/id 7/} @now)[0], qr/^10\.91\.1\.2 id 7 signal subflow$word *$/, 'start: laminar');
is_deeply($lab->limits_now('server'), { subflows => 5, add_addr_accepted => 4 },
    'start: the limits');
my @warned = warnings_of(new_log());
is(scalar(grep {/does not know laminar/} @warned), $knows_laminar ? 0 : 1,
    'start: a warning of laminar only where the kernel does not know it');
is(join("\n", grep { !/laminar/ } @warned), '', 'start: no other warning');
ok(-s $state, 'start: what was added is noted beside the PidFile');
is((stat _)[2] & 0777, 0600, '    for root alone');

# --- The children: no capability, no netlink socket

# They give up being root before they serve, which under valgrind takes a while.
$lab->wait_until(20, sub { !grep { $_ == 0 } of_children('uid') });
my @children = of_children('pid');
cmp_ok(scalar @children, '>', 0, 'there are children');
for my $what (qw(CapInh CapPrm CapEff CapAmb)) {
    is_deeply([map { status_of($_)->{$what} } @children], [('0' x 16) x @children],
        "no child has a capability in $what");
}
is_deeply([map { netlink_sockets_of($_) } @children], [], 'no child has a netlink socket');
is(scalar(() = netlink_sockets_of($httpd->pid)), 1,
    'the parent has the one that hears of addresses');

# --- Reload: what changed is changed, what stayed is not touched

ok($httpd->graceful, 'a graceful restart that changes nothing');
is_deeply([$lab->endpoints('server')], \@now, '    leaves the endpoints');
is(join("\n", warnings_of(new_log())), '', '    without a warning');

# An endpoint with a port has a socket of its own, in the kernel: another
# socket would mean that the endpoint has been removed and added.
my $cookie = socket_at('10.91.2.2:7080');
configure(
    'MPTCPEndpoint 10.91.2.2 dev s2 id 5 port 7080 signal',    # no longer backup
    'MPTCPEndpoint fd91:2::2 dev s2 id 8 subflow',             # another id, flags
    'MPTCPLimits subflows=3'
);
ok($httpd->graceful, 'a graceful restart that changes endpoints and limits');
in_kernel('    afterwards', [@others, '10.91.2.2 port 7080 id 5 signal dev s2',
    'fd91:2::2 id 8 subflow dev s2'], subflows => 3);
is(socket_at('10.91.2.2:7080'), $cookie, '    backup is changed in place');

# Somebody takes one of ours away, and puts a limit elsewhere.
$lab->run(undef, qw(ip -n server mptcp endpoint delete id 8));
$lab->limits('server', subflows => 7);
ok($httpd->restart, 'a restart puts it right');
in_kernel('    afterwards', [@others, '10.91.2.2 port 7080 id 5 signal dev s2',
    'fd91:2::2 id 8 subflow dev s2'], subflows => 3);

# And one of ours is taken away, another put in its place with the same id.
$lab->run(undef, qw(ip -n server mptcp endpoint delete id 8));
$lab->endpoint('server', '10.91.1.2', id => 8, 'signal');
push @others, '10.91.1.2 id 8 signal';
new_log();
configure('MPTCPEndpoint 10.91.1.2 signal backup', 'MPTCPEndpoint fd91:2::2 id 8 signal',
    'MPTCPEndpoint 10.91.2.2 dev s2 id 5 port 7080 signal');
ok($httpd->graceful, 'lines that somebody else\'s endpoint is in the way of');
in_kernel('    afterwards', [@others, '10.91.2.2 port 7080 id 5 signal dev s2'],
    subflows => 7);
my @warnings = warnings_of(new_log());
is(scalar @warnings, 2, '    a warning each') or diag join "\n", @warnings;
like($warnings[0], qr/MPTCPEndpoint 10\.91\.1\.2 signal backup is not in force: .*other settings.*10\.91\.1\.2 id 8 signal/,
    '    names the one that is there');
like($warnings[1], qr/MPTCPEndpoint fd91:2::2 id 8 signal is not in force: .*leave id out/,
    '    says what to write instead');

# --- A command-line process, a test of the configuration, a bad reload

is(($httpd->run_beside('-t'))[0], 0, 'apache2 -t beside a running server');
in_kernel('    changes nothing', [@others, '10.91.2.2 port 7080 id 5 signal dev s2'],
    subflows => 7);
configure('MPTCPEndpoint 10.91.1.2 dev s1 id 20 signal', 'MPTCPLimits subflows=1');
$lab->run(undef, qw(ip -n server mptcp endpoint delete id 8));
@others = grep { !/id 8/ } @others;
is(($httpd->run_beside('-k', 'graceful'))[0], 0, 'apache2 -k graceful, another process');
ok($lab->wait_until(20, sub { grep {/id 20/} $lab->endpoints('server') }),
    '    the server has the new configuration');
in_kernel('    afterwards', [@others, '10.91.1.2 id 20 signal dev s1'], subflows => 1);

configure('MPTCPEndpoint 10.91.1.2 dev s1 id 20 signal', 'NoSuchDirective');
kill 'HUP', $httpd->pid;
ok($lab->wait_until(20, sub { !$httpd->alive }),
    'a configuration that is wrong ends the server at a restart');
in_kernel('    and all of its endpoints go', \@others, subflows => 7);
ok(!-e $state, '    and the note of them');

# --- Stop

configure('MPTCPEndpoint 10.91.2.2 dev s2 signal', 'MPTCPLimits subflows=3');
ok($httpd->start, 'it starts') or BAIL_OUT($httpd->error_log);
my @old = split ' ', $lab->capture(undef, 'ps', '-o', 'pid=', '--ppid', $httpd->pid);
my $before = join "\n", $lab->endpoints('server');
$httpd->graceful or BAIL_OUT($httpd->error_log);
ok($lab->wait_until(20, sub { !grep { kill 0, $_ } @old }), 'children end');
is(join("\n", $lab->endpoints('server')), $before, '    and take nothing with them');
$httpd->stop;
in_kernel('stop: what was there before', \@others, subflows => 7);
ok(!-e $state, '    and no note is left');

$httpd->start or BAIL_OUT($httpd->error_log);
$lab->limits('server', subflows => 6);
$httpd->stop;
in_kernel('stop: a limit that somebody else has changed stays', \@others, subflows => 6);

$httpd->start or BAIL_OUT($httpd->error_log);
kill 'WINCH', $httpd->pid;
ok($lab->wait_until(20, sub { !$httpd->alive }), 'graceful stop');
in_kernel('    what was there before', \@others, subflows => 6);

# --- kill -9

my @wanted = ('MPTCPEndpoint 10.91.2.2 dev s2 signal', 'MPTCPEndpoint fd91:2::2 dev s2 signal',
    'MPTCPEndpoint fd91:1::2 dev s1 signal', 'MPTCPLimits subflows=4 add_addr_accepted=1');
configure(@wanted);
$httpd->start or BAIL_OUT($httpd->error_log);
my @ours = $lab->endpoints('server');
is(scalar @ours, @others + 2, 'with two endpoints of its own');
end_by_kill();
is_deeply([$lab->endpoints('server')], \@ours, 'kill -9 leaves them in the kernel');
ok(-s $state, '    and the note of them');
new_log();
ok($httpd->start, 'the next start') or BAIL_OUT($httpd->error_log);
is_deeply([$lab->endpoints('server')], \@ours, '    does not touch them');
like(new_log(), qr/recognised 2 endpoints and 2 limits/, '    and says that it knows them');
$httpd->stop;
in_kernel('    its stop removes them', \@others, subflows => 6);

$httpd->start or BAIL_OUT($httpd->error_log);
end_by_kill();
configure();
$httpd->start or BAIL_OUT($httpd->error_log);
in_kernel('a start that wants none of them any more', \@others, subflows => 6);
ok(!-e $state, '    leaves no note');
$httpd->stop;

# What another network namespace's server, another boot, a server that still
# runs, or another version left is not ours.
my %offset = (version => 0, boot_id => 16, netns_inode => 64, owner => 72);
for my $what (sort keys %offset) {
    configure(@wanted);
    $httpd->start or BAIL_OUT($httpd->error_log);
    my @left = $lab->endpoints('server');
    end_by_kill();
    change_state(sub {
        my ($bytes) = @_;
        # of a process that runs, this one: when it was started, and its id
        my $new = $what eq 'owner' ? pack('Q L', started($$), $$) : "\x01";
        substr $bytes, $offset{$what}, length $new, $new;
        return $bytes;
    });
    new_log();
    configure($what eq 'owner' ? @wanted : ());
    $httpd->start or BAIL_OUT($httpd->error_log);
    my $log = new_log();
    $httpd->stop;
    is_deeply([$lab->endpoints('server')], \@left,
        "left by another, by its $what: not touched by start and stop");
    if ($what eq 'owner') {
        like($log, qr/process $$, which runs: .*PidFile of its own/,
            '    a warning says what to write');
        ok(-s $state, "    what the other has noted stays");
    }

    $lab->run(undef, qw(ip -n server mptcp endpoint delete id), /id (\d+)/)
        for grep { !/id 99/ } @left;
    $lab->limits('server', subflows => 6, add_addr_accepted => 0);
    unlink $state;
}

# A parent that was killed and that nobody has waited for yet is no such
# process: it does not run.
configure(@wanted);
$httpd->start or BAIL_OUT($httpd->error_log);
end_by_kill();
my $zombie = fork // die "fork: $!";
POSIX::_exit(0) if !$zombie;
$lab->wait_until(10, sub { status_of($zombie)->{State} =~ /^Z/ });
change_state(sub {
    my ($bytes) = @_;
    substr $bytes, $offset{owner}, 12, pack 'Q L', started($zombie), $zombie;
    return $bytes;
});
configure();
$httpd->start or BAIL_OUT($httpd->error_log);
in_kernel('left by one that nobody has waited for: removed', \@others, subflows => 6);
waitpid $zombie, 0;
$httpd->stop;

configure(@wanted);
change_state(sub {'garbage'});
new_log();
ok($httpd->start, 'a note that is garbage does not stop a start');
$httpd->stop;
in_kernel('    and is replaced', \@others, subflows => 6);
ok(!-e $state, '    and removed');

done_testing();

# ----

sub end_by_kill {
    my $pid = $httpd->pid;
    kill 'KILL', $pid;
    return $httpd->stop;    # its children, which go on without it
}

sub change_state {
    my ($change) = @_;
    my $bytes = '';
    if (open my $old, '<:raw', $state) {
        local $/;
        $bytes = <$old>;
    }
    open my $new, '>:raw', $state or die "$state: $!";
    print {$new} $change->($bytes);
    close $new or die "$state: $!";
    return;
}

sub started {
    my ($pid) = @_;
    open my $stat, '<', "/proc/$pid/stat" or die "/proc/$pid/stat: $!";
    return (split ' ', <$stat> =~ s/^.*\)//sr)[19];
}

sub status_of {
    my ($pid) = @_;
    open my $file, '<', "/proc/$pid/status" or die "/proc/$pid/status: $!";
    return { map {/^(\w+):\s*(.*)/} <$file> };
}

# Inodes of the netlink sockets that a process has.
sub netlink_sockets_of {
    my ($pid) = @_;
    open my $file, '<', "/proc/$pid/net/netlink" or die "/proc/$pid/net/netlink: $!";
    my %netlink = map { ((split)[-1] => 1) } <$file>;
    my @inodes = map { (readlink // '') =~ /^socket:\[(\d+)\]$/ } glob "/proc/$pid/fd/*";
    return grep { $netlink{$_} } @inodes;
}

# What the kernel calls the listening socket of an address.
sub socket_at {
    my ($address) = @_;
    # (ss has something to say of cgroups, too)
    my $output = $lab->run('server', qw(ss -Hltne src), $address);
    return $output =~ /\Q$address\E .*\bsk:(\w+)/ ? $1 : 'no socket';
}
