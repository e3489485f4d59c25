package MPTCP::Lab;

# Hosts and paths made of network namespaces and veth pairs.
#
#   use MPTCP::Lab;
#   MPTCP::Lab->enter;                       # first of all, see MPTCP::Sandbox
#   my $lab = MPTCP::Lab->two_paths(rate => '50mbit');
#   $lab->limits('client', subflows => 2, add_addr_accepted => 2);
#   $lab->limits('server', subflows => 2);
#   $lab->endpoint('server', $lab->address('server', 2), dev => 's2', 'signal');
#   $lab->cut(2);
#
# Every method dies where something fails that the caller did not ask to
# fail, with a message that names the command and what it printed.

use strict;
use warnings;
use Carp qw(croak);
use File::Temp ();
use JSON::PP ();
use POSIX ();
use Socket qw(AF_INET SOCK_STREAM);
use MPTCP::Delay;
use MPTCP::Sandbox;

use constant IPPROTO_MPTCP => 262;

# Goes on inside namespaces of its own; see MPTCP::Sandbox::enter.
sub enter { return MPTCP::Sandbox::enter() }

# '' where the kernel gives MPTCP sockets, else why it does not, and what to do.
sub no_mptcp {
    return '' if socket(my $socket, AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
    my $error = "$!";
    my $hint = $!{ENOPROTOOPT} ? 'sysctl net.mptcp.enabled=1 switches it on'
        : $!{EPERM} || $!{EACCES} ? 'a security policy forbids it'
        : 'it needs Linux 5.6 or later, built with CONFIG_MPTCP';
    return "this kernel gives no MPTCP socket ($error): $hint";
}

# ---- Building ---------------------------------------------------------------

# A laboratory without anything in it.
#   congestion => 'reno'   congestion control of every host; undef leaves what
#                          the system prefers
# It is fixed so that numbers from different systems can be compared, to reno
# because every kernel has it and lets every namespace use it.  (bbr, which
# some systems prefer, makes the ratio of two paths to one vary by a tenth.)
sub new {
    my ($class, %o) = @_;
    croak 'MPTCP::Lab: call MPTCP::Lab->enter first' if !MPTCP::Sandbox::inside();
    return bless {
        owner      => $$,
        children   => [],
        path       => {},
        congestion => exists $o{congestion} ? $o{congestion} : 'reno',
        ipv6       => (-d '/proc/sys/net/ipv6') ? 1 : 0,
    }, $class;
}

# Two hosts with some paths between them.  Path i (from 1) is a veth pair:
#
#   host     device  IPv4        IPv6
#   client   c<i>    10.91.i.1   fd91:i::1
#   server   s<i>    10.91.i.2   fd91:i::2
#
# Options:
#   paths   => 2          how many
#   rate    => undef      '50mbit', or one for each path: ['50mbit', '10mbit'];
#                         both directions; undef is unshaped
#   delay   => undef      seconds, each way, by a process (MPTCP::Delay)
#   client  => 'client', server => 'server'     names of the namespaces
#   and those of new()
sub two_paths {
    my ($class, %o) = @_;
    my $self = ref $class ? $class : $class->new(%o);
    my ($client, $server) = ($o{client} // 'client', $o{server} // 'server');
    $self->add_host($_) for $client, $server;
    for my $i (1 .. $o{paths} // 2) {
        my $rate = ref $o{rate} ? $o{rate}[ $i - 1 ] : $o{rate};
        $self->add_path($i, [$client, "c$i"], [$server, "s$i"], rate => $rate,
            delay => $o{delay});
    }
    return $self;
}

# One more namespace, with its loopback device up.
sub add_host {
    my ($self, $ns) = @_;
    # One that an earlier script left in the same sandbox is in the way.
    $self->run(undef, 'ip', 'netns', 'delete', $ns) if -e "/run/netns/$ns";
    $self->run(undef, 'ip', 'netns', 'add', $ns);
    $self->run(undef, 'ip', '-n', $ns, 'link', 'set', 'lo', 'up');
    # Some distributions ship it switched off.
    $self->sysctl($ns, 'net.mptcp.enabled', 1) if -e '/proc/sys/net/mptcp/enabled';
    # The packet that announces an address may be lost, in a full queue say;
    # the kernel repeats it after two minutes unless told otherwise.
    $self->sysctl($ns, 'net.mptcp.add_addr_timeout', 1)
        if -e '/proc/sys/net/mptcp/add_addr_timeout';
    $self->sysctl($ns, 'net.ipv4.tcp_congestion_control', $self->{congestion})
        if defined $self->{congestion};
    return $self;
}

# One veth pair between two hosts: [namespace, device] of either end.  The
# number (1 .. 255) gives the addresses and is the name for cut() and others;
# the first end has address .1, the second .2.
sub add_path {
    my ($self, $i, $one, $two, %o) = @_;
    if ($o{delay}) {
        MPTCP::Delay::link($self, $i, $one, $two, $o{delay});
    }
    else {
        $self->run(undef, 'ip', 'link', 'add', $one->[1], 'netns', $one->[0],
            'type', 'veth', 'peer', 'name', $two->[1], 'netns', $two->[0]);
    }
    $self->{path}{$i} = { ends => [$one, $two], rate => $o{rate} };

    for my $host (1, 2) {
        my ($ns, $dev) = @{ $host == 1 ? $one : $two };
        my @ip = ('ip', '-n', $ns);
        $self->run(undef, @ip, 'address', 'add', "10.91.$i.$host/24", 'dev', $dev);
        if ($self->{ipv6}) {
            # Else its addresses are gone after cut() and restore().
            $self->sysctl($ns, "net.ipv6.conf.$dev.keep_addr_on_down", 1);
            $self->run(undef, @ip, 'address', 'add', "fd91:${i}::$host/64",
                'dev', $dev, 'nodad');
        }
        $self->run(undef, @ip, 'link', 'set', $dev, 'up');
        $self->_shape($ns, $dev, $o{rate});
    }
    return $self;
}

# The queue is short: long enough for the full rate, and it adds at most 50 ms.
# tbf counts the headers of the segments within a large (GSO) packet, and cuts
# up one that is larger than its bucket, so offloads may stay as they are.
sub _shape {
    my ($self, $ns, $dev, $rate) = @_;
    return if !defined $rate;
    my ($status, $output) = $self->try($ns, 'tc', 'qdisc', 'replace', 'dev', $dev,
        'root', 'tbf', 'rate', $rate, 'burst', '64kb', 'latency', '50ms');
    die "MPTCP::Lab: cannot shape $dev to $rate: $output"
        . "The kernel needs CONFIG_NET_SCH_TBF (modprobe sch_tbf).\n" if $status;
    return;
}

# The address of a host on path $i; address6 gives the IPv6 one.
sub address {
    my ($self, $ns, $i) = @_;
    return "10.91.$i." . $self->_number($ns, $i);
}

sub address6 {
    my ($self, $ns, $i) = @_;
    return "fd91:${i}::" . $self->_number($ns, $i);
}

# Whether there is IPv6 here at all.
sub has_ipv6 { return $_[0]{ipv6} }

sub _path {
    my ($self, $i) = @_;
    return $self->{path}{$i} // croak "MPTCP::Lab: there is no path $i";
}

# 1 or 2: which end of path $i a host is; undef is the second, the server's.
sub _number {
    my ($self, $ns, $i) = @_;
    my $ends = $self->_path($i)->{ends};
    return 2 if !defined $ns || $ns eq $ends->[1][0];
    return 1 if $ns eq $ends->[0][0];
    croak "MPTCP::Lab: '$ns' has no end of path $i";
}

# ---- Commands ---------------------------------------------------------------
# The namespace may be undef in all of them: then it is the sandbox's own.

# What to put before a command to have it run in a namespace.  `ip` executes
# the command in its own place, so that a process id stays right.
sub ns {
    my ($self, $ns) = @_;
    return defined $ns ? ('ip', 'netns', 'exec', $ns) : ();
}

# Runs a command and waits: (exit status, all it printed).  128 + N: signal N.
sub try {
    my ($self, $ns, @command) = @_;
    my $output = MPTCP::Sandbox::output($self->ns($ns), @command);
    return ($? & 127 ? 128 + ($? & 127) : $? >> 8, $output);
}

# The same, but dies unless the command succeeds; returns what it printed.
sub run {
    my ($self, $ns, @command) = @_;
    my ($status, $output) = $self->try($ns, @command);
    return $output if $status == 0;
    my $where = defined $ns ? " in namespace $ns" : '';
    die "MPTCP::Lab: '@command'$where failed ($status): $output\n";
}

# Standard output only, what is printed as an error passes through; dies
# unless the command succeeds.
sub capture {
    my ($self, $ns, @command) = @_;
    my @argv = ($self->ns($ns), @command);
    my $pid = open(my $from, '-|') // die "MPTCP::Lab: fork: $!\n";
    _exec(@argv) if !$pid;
    my $output = join '', <$from>;
    close $from;
    die "MPTCP::Lab: '@argv' failed, status $?\n" if $?;
    return $output;
}

# Starts a command and returns its process id; it is a child of this process,
# to be waited for by the caller, and ended by reap() or with the laboratory.
# A hash before the command may name files: { out => ..., err => ... }, both
# appended to.
sub spawn {
    my ($self, $ns, @command) = @_;
    my $files = ref $command[0] ? shift @command : {};
    my $pid = fork() // die "MPTCP::Lab: fork: $!\n";
    if (!$pid) {
        _redirect(*STDOUT, $files->{out});
        _redirect(*STDERR, $files->{err});
        # A group of its own: a terminal's SIGWINCH is httpd's graceful stop.
        POSIX::setpgid(0, 0);
        _exec($self->ns($ns), @command);
    }
    push @{ $self->{children} }, $pid;
    return $pid;
}

# Ends a spawned process and waits for it; returns $? (-1 if it was gone).
sub reap {
    my ($self, $pid, $signal) = @_;
    $self->{children} = [grep { $_ != $pid } @{ $self->{children} }];
    kill $signal // 'KILL', $pid;
    return waitpid($pid, 0) == $pid ? $? : -1;
}

sub _redirect {
    my ($handle, $file) = @_;
    return if !defined $file;
    open $handle, '>>', $file or POSIX::_exit(126);
    return;
}

sub _exec {
    my (@argv) = @_;
    no warnings 'exec';    # it knows no exec that fails
    exec { $argv[0] } @argv;
    print STDERR "cannot run $argv[0]: $!\n";
    POSIX::_exit(127);
}

# ---- Settings ---------------------------------------------------------------

# Limits of the path manager: subflows => N, add_addr_accepted => N; what is
# not named stays.
sub limits {
    my ($self, $ns, %o) = @_;
    my @set = map { defined $o{$_} ? ($_, $o{$_}) : () } qw(subflows add_addr_accepted);
    $self->run(undef, 'ip', '-n', $ns, 'mptcp', 'limits', 'set', @set);
    return;
}

# An endpoint, in the words of `ip mptcp endpoint add`:
# endpoint('server', '10.91.2.2', dev => 's2', 'signal')
sub endpoint {
    my ($self, $ns, $address, @words) = @_;
    $self->run(undef, 'ip', '-n', $ns, 'mptcp', 'endpoint', 'add', $address, @words);
    return;
}

# The status page of the httpd there, by a listener at 127.0.0.1:81; the query is
# 'json', for example.
sub status_page {
    my ($self, $ns, $query, @curl) = @_;
    return $self->capture($ns, qw(curl -sS --max-time 30 --globoff), @curl,
        "http://127.0.0.1:81/mptcp-status?$query");
}

# The same as data.
sub status {
    my ($self, $ns, $query) = @_;
    return JSON::PP->new->utf8->decode($self->status_page($ns, $query // 'json'));
}

# All endpoints, each as `ip mptcp endpoint show` prints it, in order of ids:
# '10.91.2.2 id 1 signal dev s2'.
sub endpoints {
    my ($self, $ns) = @_;
    my $output = $self->capture(undef, 'ip', (defined $ns ? ('-n', $ns) : ()),
        'mptcp', 'endpoint', 'show');
    return map { s/\s+$//r } split /\n/, $output;
}

# Both limits: { subflows => N, add_addr_accepted => N }.
sub limits_now {
    my ($self, $ns) = @_;
    my $output = $self->capture(undef, 'ip', (defined $ns ? ('-n', $ns) : ()),
        'mptcp', 'limits', 'show');
    return { split ' ', $output };
}

# What the kernel says of a new MPTCP socket (struct mptcp_info), as it is.
sub mptcp_info {
    my ($self, $ns) = @_;
    my $script = q{
        use Socket;
        socket my $s, AF_INET, SOCK_STREAM, 262 or die "socket: $!\n";
        print unpack 'H*', getsockopt($s, 284, 1);    # MPTCP_INFO
    };
    return pack 'H*', $self->capture($ns, $^X, '-e', $script);
}

# Whether the kernel counts a laminar endpoint of this namespace as one (Linux
# 6.18): older ones take the flag and do nothing with it.
sub counts_laminar {
    my ($self, $ns) = @_;
    return vec $self->mptcp_info($ns) . "\0" x 100, 81, 8;
}

# The variables that this kernel does not give, by name: it says less of a
# connection before Linux 6.5, and before 6.8.
sub unknown_variables {
    my ($self) = @_;
    my $length = length $self->mptcp_info;
    return (
        ($length > 80  ? () : 'MPTCP_SUBFLOWS_TOTAL'),
        ($length >= 80 ? () : map {"MPTCP_BYTES_$_"} qw(SENT RECEIVED RETRANS)),
    );
}

# Reads a sysctl, or sets it where a value is given.
sub sysctl {
    my ($self, $ns, $key, $value) = @_;
    # Device names may have dots, but those of a laboratory have none.
    (my $file = "/proc/sys/$key") =~ tr{.}{/};
    if (defined $value) {
        $self->run($ns, 'sh', '-c', 'printf "%s\n" "$1" > "$2"', 'sh', $value, $file);
        return $value;
    }
    chomp(my $now = $self->capture($ns, 'cat', $file));
    return $now;
}

# Names of hosts, in the form of /etc/hosts, in place of the system's for as
# long as this laboratory lives.
sub hosts {
    my ($self, $text) = @_;
    my ($file, $name) = File::Temp::tempfile(TMPDIR => 1);
    print {$file} $text;
    close $file or die "MPTCP::Lab: $name: $!\n";
    chmod 0644, $name;
    # The sandbox has a view of its own of the file systems.
    $self->run(undef, 'mount', '--bind', $name, '/etc/hosts');
    $self->{hosts} = $name;
    return;
}

# ---- Faults -----------------------------------------------------------------

# Takes path $i's device down at one end (a namespace; the server's unless
# named), as if a cable were pulled: both ends lose the carrier.
sub cut     { my ($self, $i, $ns) = @_; return $self->_link($i, $ns, 'down') }
sub restore { my ($self, $i, $ns) = @_; return $self->_link($i, $ns, 'up') }

sub _link {
    my ($self, $i, $ns, $state) = @_;
    my $end = $self->_path($i)->{ends}[ $self->_number($ns, $i) - 1 ];
    $self->run(undef, 'ip', '-n', $end->[0], 'link', 'set', $end->[1], $state);
    return;
}

# Waits until a host can be reached from another one, as it can not at once
# after restore(): true when it can, false after ten seconds.
sub reaches {
    my ($self, $ns, $address) = @_;
    # A port where nobody listens: the answer is a refusal.
    my $code = 'use IO::Socket::IP; exit !(IO::Socket::IP->new(PeerHost => shift,'
        . ' PeerPort => 9, Timeout => 1) || $!{ECONNREFUSED})';
    return $self->wait_until(10, sub {
        return ($self->try($ns, $^X, '-e', $code, $address))[0] == 0;
    });
}

# Path $i loses everything, both ways, and neither end is told: the devices
# stay up.  (sch_blackhole is part of every kernel that has queueing at all,
# which netem, tc's drop action and nftables are not.)
sub blackhole {
    my ($self, $i) = @_;
    for my $end (@{ $self->_path($i)->{ends} }) {
        $self->run($end->[0], 'tc', 'qdisc', 'replace', 'dev', $end->[1], 'root', 'blackhole');
    }
    return;
}

sub unblackhole {
    my ($self, $i) = @_;
    my $path = $self->_path($i);
    for my $end (@{ $path->{ends} }) {
        $self->run($end->[0], 'tc', 'qdisc', 'delete', 'dev', $end->[1], 'root');
        $self->_shape(@$end, $path->{rate});
    }
    return;
}

# ---- Observations -----------------------------------------------------------

# All counters of a namespace by the names nstat gives them, as absolute
# values.  (Not from nstat itself, which keeps a history file.)
sub counters {
    my ($self, $ns) = @_;
    my (%counter, %names);
    for my $line (split /\n/, $self->capture($ns, 'cat', '/proc/net/netstat', '/proc/net/snmp')) {
        my ($prefix, @words) = split /:? +/, $line;
        if (my $names = delete $names{$prefix}) {
            @counter{ map { "$prefix$_" } @$names } = @words;
        }
        else {
            $names{$prefix} = \@words;
        }
    }
    return \%counter;
}

# One counter: counter('server', 'MPTcpExtMPCapableSYNRX').  Dies when this
# kernel does not have it, so that a wrong name is no zero.
sub counter {
    my ($self, $ns, $name) = @_;
    return $self->counters($ns)->{$name}
        // croak "MPTCP::Lab: this kernel has no counter '$name'";
}

# Bytes a device has (received, sent), headers included.
sub device_bytes {
    my ($self, $ns, $dev) = @_;
    for my $line (split /\n/, $self->capture($ns, 'cat', '/proc/net/dev')) {
        my ($name, @field) = split ' ', $line =~ s/:/ /r;
        return @field[0, 8] if $name eq $dev;
    }
    croak "MPTCP::Lab: namespace '$ns' has no device '$dev'";
}

# Sockets as `ss` sees them: ss('server', '-tia'), ss('client', '-Mi').
# A list of { state, recv_q, send_q, local, peer, info }, where the addresses
# are as printed (10.91.1.2:80, [fd91:1::2]:80) and info is the rest of it.
sub ss {
    my ($self, $ns, @args) = @_;
    my @sockets;
    # `ip netns exec` puts a new /sys in place, without the cgroups that ss -e
    # looks for there, and complains of.
    my @enter = defined $ns ? ('nsenter', "--net=/run/netns/$ns") : ();
    for my $line (split /\n/, $self->capture(undef, @enter, 'ss', '-HnO', @args)) {
        # Present when more than one kind of socket was asked for.
        $line =~ s/^(?:tcp|mptcp|udp)\s+//;
        my %socket;
        @socket{qw(state recv_q send_q local peer info)} = split ' ', $line, 6;
        $socket{info} = ($socket{info} // '') =~ s/\s+$//r;
        push @sockets, \%socket;
    }
    return @sockets;
}

# How many SYNs to a port a host has sent without an answer, for a connection that
# waits for one.
sub syns_sent {
    my ($self, $ns, $port) = @_;
    my ($most) = sort { $b <=> $a } 0, map { $_->{info} =~ /timer:\(on,[^,]*,(\d+)\)/ ? $1 + 1 : () }
        grep { $_->{state} eq 'SYN-SENT' } $self->ss($ns, '-tao', "dport = :$port");
    return $most;
}

# Polls until a condition holds: true at once when it does, false when it does
# not within so many seconds.
sub wait_until {
    my ($self, $seconds, $condition) = @_;
    require Time::HiRes;
    my $deadline = Time::HiRes::time() + $seconds;
    while (1) {
        my $value = $condition->();
        return $value if $value;
        return $value if Time::HiRes::time() > $deadline;
        Time::HiRes::sleep(0.02);
    }
}

sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner};
    local ($?, $!, $@);
    # what they have forked, too: it would hold the harness's output open
    for my $pid (@{ $self->{children} }) {
        kill 'KILL', -$pid;
        $self->reap($pid);
    }
    if ($self->{hosts}) {
        $self->try(undef, 'umount', '/etc/hosts');
        unlink $self->{hosts};
    }
    return;
}

1;
