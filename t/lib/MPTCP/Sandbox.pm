package MPTCP::Sandbox;

# Puts a script into network, mount and process namespaces of its own.
#
# Whatever a lab makes (namespaces, interfaces, servers, temporary files) lives
# in there and nowhere else, so it all vanishes when the script ends, however
# it ends: normally, by Ctrl-C, or by SIGKILL.  Nothing has to be cleaned up,
# and nothing of the host's network can be touched by mistake.
#
# The processes:
#
#   script, as it was started     waits, passes signals on; holds the lifeline
#     unshare
#       init (process 1 inside)   mounts, reaps, ends when the lifeline breaks
#         script, started again   finds itself inside, and goes on
#
# The lifeline is a pipe.  When the outermost process is gone for whatever
# reason, init reads end of file and exits; the kernel then kills everything
# else in its process namespace.  (unshare --kill-child alone would not do:
# util-linux blocks SIGTERM and SIGINT in the waiting unshare.)

use strict;
use warnings;
use Cwd ();
use Fcntl qw(F_SETFD);
use File::Basename qw(dirname);
use POSIX ();

# Holds the identity of the process namespace that init runs in.
use constant MARK => 'MPTCP_LAB';

use constant PASSED_ON => qw(INT TERM HUP QUIT);

my @UNSHARE = qw(unshare --net --mount --pid --fork --kill-child --mount-proc);

# True inside.  The mark is compared with the namespace itself, because an
# environment variable alone may have been carried somewhere else.
sub inside {
    my $mark = $ENV{ (MARK) } or return 0;
    return $mark eq (readlink('/proc/self/ns/pid') // '');
}

# Returns at once inside.  Outside it runs this script again from its first
# line, inside, and never returns: it exits as that run did.  So call it before
# anything has been printed; in a test, before the plan.
# Where it cannot be done: dies, saying what to do.
sub enter {
    return if inside();
    _check_possible();
    die "MPTCP::Sandbox: cannot start '$0' again; put the code in a file.\n"
        if !-f $0;

    pipe(my $lifeline, my $held) or die "MPTCP::Sandbox: pipe: $!\n";
    my $pid = fork() // die "MPTCP::Sandbox: fork: $!\n";
    if (!$pid) {
        close $held;
        fcntl($lifeline, F_SETFD, 0);    # to be kept open over exec
        $ENV{PERL5LIB} = join ':', _absolute_inc();
        _exec(@UNSHARE, $^X, '-MMPTCP::Sandbox', '-e', 'MPTCP::Sandbox::init()', '--',
            fileno($lifeline), $^X, $0, @ARGV);
    }
    close $lifeline;
    _wait_outside($pid, $held);
}

# Relative directories of @INC, and the one this file came from, by full names:
# the inner run finds the same modules even if it starts elsewhere.
sub _absolute_inc {
    my $own = dirname(dirname(Cwd::abs_path(__FILE__)));
    return ($own, map { Cwd::abs_path($_) // $_ } grep { !ref } @INC);
}

sub _wait_outside {
    my ($pid, $held) = @_;
    my $signal;
    for my $name (PASSED_ON) {
        $SIG{$name} = sub { $signal = $name; syswrite $held, "$name\n" };
    }
    local $SIG{PIPE} = 'IGNORE';         # init may be gone already
    waitpid $pid, 0;
    my $status = $?;

    # Whoever sent a signal (a shell's loop, make) should see that it worked.
    if ($signal) {
        $SIG{$signal} = 'DEFAULT';
        kill $signal, $$;
    }
    # Not exit(): END blocks belong to the run inside.
    POSIX::_exit($status & 127 ? 128 + ($status & 127) : $status >> 8);
}

# Process 1 of the sandbox.  @ARGV: number of the lifeline's descriptor, then
# the command to run.  (An exit status of 125 means that it could not be run.)
sub init {
    my ($fd, @command) = @ARGV;
    open my $lifeline, '<&=', $fd or _exit_with("lost the lifeline: $!");

    # A tmpfs over /run, seen only in here: `ip netns` keeps its names in
    # /run/netns, and temporary files vanish without anybody deleting them.
    _must('mount', '-t', 'tmpfs', '-o', 'mode=0755', 'mptcp-lab', '/run');
    for my $dir ('/run/netns', '/run/lock', '/run/lab') {
        mkdir $dir, 0755 or _exit_with("mkdir $dir: $!");
    }
    chmod 01777, '/run/lab';             # as /tmp is: some servers are not root
    _must('ip', 'link', 'set', 'lo', 'up');
    $ENV{TMPDIR} = '/run/lab';
    $ENV{ (MARK) } = readlink '/proc/self/ns/pid';

    # Process 1 is sent no signal it has no handler for, and needs none.
    $SIG{$_} = 'IGNORE' for PASSED_ON;
    $SIG{CHLD} = sub { };                # so that select() is interrupted

    my $pid = fork() // _exit_with("fork: $!");
    if (!$pid) {
        close $lifeline;
        $SIG{$_} = 'DEFAULT' for PASSED_ON, 'CHLD';
        _exec(@command);
    }
    POSIX::_exit(_watch($pid, $lifeline));
}

# Reaps, and passes on signals whose names come through the lifeline, until
# $pid has ended.  Returns its exit status, 128 + N for a signal.
sub _watch {
    my ($pid, $lifeline) = @_;
    while (1) {
        while ((my $gone = waitpid(-1, POSIX::WNOHANG())) > 0) {
            next if $gone != $pid;
            return $? & 127 ? 128 + ($? & 127) : $? >> 8;
        }
        my $ready = '';
        vec($ready, fileno($lifeline), 1) = 1;
        # The time limit only covers a SIGCHLD that came just before select().
        next if select($ready, undef, undef, 0.1) < 1;
        sysread($lifeline, my $names, 100) or return 128 + POSIX::SIGKILL();
        kill $_, $pid for split /\n/, $names;
    }
}

sub _check_possible {
    _impossible("this is $^O; network namespaces and MPTCP need Linux.\n")
        if $^O ne 'linux';
    _impossible(<<"END") if $> != 0;
making network namespaces takes root.
Run it as root:  sudo $0
END
    for my $tool (['unshare', 'util-linux'], ['mount', 'mount'],
                  ['ip', 'iproute2'], ['tc', 'iproute2'])
    {
        _impossible("no '$tool->[0]' here; install package $tool->[1].\n")
            if !grep { -x "$_/$tool->[0]" } split /:/, $ENV{PATH}, -1;
    }
    if (my @missing = _missing_capabilities()) {
        my @add = map {"--cap-add $_"} @missing;
        my $are = @missing > 1 ? 'are' : 'is';
        _impossible(<<"END");
root in here may not make and set up network namespaces: @missing $are missing.
In a container, start it with them (podman run @add ..., or
--privileged; docker the same, with --security-opt apparmor=unconfined where there
is AppArmor), or use a virtual machine.
END
    }
    my $output = output(@UNSHARE, 'mount', '-t', 'tmpfs', 'mptcp-lab', '/run');
    my $failed = $?;
    chomp $output;
    _impossible(<<"END") if $failed && $output =~ /root filesystem propagation/;
this is a chroot whose root is no mount, so it can have no mounts of its own:
  $output
Outside of it, mount the tree on itself, and enter it again:
  mount --bind TREE TREE && chroot TREE
END
    _impossible(<<"END") if $failed;
this system does not allow namespaces, even to root:
  $output
In a container, start it with more rights (docker run --privileged ...,
podman run --privileged ...), or use a virtual machine.  On a host, look at
`sysctl user.max_net_namespaces user.max_pid_namespaces user.max_mnt_namespaces`,
none of which may be 0.
END
    return;
}

# What a sandbox takes: namespaces and mounts; links, addresses, shapers; packet
# sockets.
sub _missing_capabilities {
    my %bit = (SYS_ADMIN => 21, NET_ADMIN => 12, NET_RAW => 13);
    open my $file, '<', '/proc/self/status' or return;
    my ($effective) = map { /^CapEff:\s*(?:[0-9a-f]{8})?([0-9a-f]{8})$/ ? hex $1 : () } <$file>;
    return if !defined $effective;
    return grep { !($effective >> $bit{$_} & 1) } sort keys %bit;
}

sub _impossible {
    my ($message) = @_;
    $! = 1;    # the exit status, where nobody catches it
    die "MPTCP::Sandbox: $message";
}

# Runs a command, returns what it printed, its errors included; $? is set.
sub output {
    my (@command) = @_;
    my $pid = open(my $from, '-|') // die "MPTCP::Sandbox: fork: $!\n";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        _exec(@command);
    }
    my $output = join '', <$from>;
    close $from;
    return $output;
}

sub _must {
    my (@command) = @_;
    system(@command) == 0 or _exit_with("'@command' failed, see above");
    return;
}

sub _exec {
    my (@argv) = @_;
    no warnings 'exec';    # it knows no exec that fails
    exec { $argv[0] } @argv;
    _exit_with("cannot run $argv[0]: $!");
}

sub _exit_with {
    my ($message) = @_;
    print STDERR "MPTCP::Sandbox: $message\n";
    POSIX::_exit(125);
}

1;
