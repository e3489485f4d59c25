package MPTCP::Httpd;

# One httpd with a server root of its own, perhaps in a laboratory's namespace.
#
#   my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => <<'END');
#   MPTCPListen 80
#   END
#   $httpd->start or die $httpd->error_log;
#
# Nothing of the system's own configuration is used, and nothing is written
# outside the server root, a temporary directory that goes with the object.

use strict;
use warnings;
use version ();
use Carp qw(croak);
use Cwd ();
use File::Basename qw(dirname);
use File::Copy ();
use File::Temp ();
use POSIX ();
use Time::HiRes qw(sleep time);

# How long, in seconds, a start, restart or stop may take on a loaded machine.
our $PATIENCE = 30;

my $built;    # the directory of the libraries to preload

# Options:
#   lab, ns  the MPTCP::Lab and the name of the namespace; without ns it runs
#            where the script does (without lab too)
#   mpm      'event' (or MPTCP_MPM from the environment), 'worker', 'prefork'
#   conf     text of the configuration, Listen directives included
#   load     names of more modules: ['proxy', 'proxy_http']
#   module   1: load mod_mptcp, 0: do not
#   order    'last' or 'first': where mod_mptcp is loaded relative to the others
#   args     more arguments for httpd: ['-D', 'SOMETHING']
#   before   a command to put before httpd: ['valgrind', '-q']
#   two_processors  1: it is told of two, for ListenCoresBucketsRatio
#   ready    code that tells whether it is ready, for -X, which says nothing
sub new {
    my ($class, %o) = @_;
    my $self = bless {
        owner  => $$,
        lab    => $o{lab},
        ns     => $o{ns},
        mpm    => $o{mpm} // $ENV{MPTCP_MPM} // 'event',
        conf   => $o{conf} // '',
        load   => $o{load} // [],
        module => $o{module} // 1,
        order  => $o{order} // 'last',
        args   => $o{args} // [],
        before => $o{before} // [],
        ready  => $o{ready},
        root   => File::Temp->newdir('httpd-XXXXXX', TMPDIR => 1),
    }, $class;
    croak "MPTCP::Httpd: 'ns' needs 'lab'" if defined $self->{ns} && !$self->{lab};

    chmod 0755, "$self->{root}";         # for the user that httpd becomes
    for my $dir (qw(conf logs run htdocs)) {
        mkdir "$self->{root}/$dir" or die "MPTCP::Httpd: mkdir $dir: $!\n";
    }
    # the sources may be where only root can go, and httpd may not be root
    if ($self->{module}) {
        $self->{module_file} = "$self->{root}/mod_mptcp.so";
        File::Copy::copy(module_file(), $self->{module_file});
    }
    my @preload;
    push @preload, $self->_library('processors') if $o{two_processors};
    # what has something before it, or a sanitizer in it, is left as it is
    push @preload, $self->_library('calls') if !@{ $self->{before} } && !$ENV{MPTCP_HTTPD};
    $self->{before} = [@{ $self->{before} }, 'env', "LD_PRELOAD=@preload"] if @preload;
    $self->set_conf($self->{conf});
    return $self;
}

# The name of a shared object in a directory, made of one of the sources in t/fault.
sub build_library {
    my ($name, $directory, @flags) = @_;
    my $library = "$directory/$name.so";
    system(split(' ', $ENV{CC} || 'cc'), qw(-O1 -shared -fPIC -o), $library,
        _top() . "/t/fault/$name.c", @flags, '-ldl') == 0
        or die "MPTCP::Httpd: $name.c cannot be compiled\n";
    return $library;
}

# The name of one in the server root, for LD_PRELOAD: built once for each script.
sub _library {
    my ($self, $name) = @_;
    $built //= File::Temp->newdir('httpd-XXXXXX', TMPDIR => 1);
    build_library($name, $built) if !-e "$built/$name.so";
    File::Copy::copy("$built/$name.so", "$self->{root}/$name.so");
    return "$self->{root}/$name.so";
}

sub root      { my ($self) = @_; return "$self->{root}" }
sub docroot   { my ($self) = @_; return "$self->{root}/htdocs" }
sub conf_file { my ($self) = @_; return "$self->{root}/conf/httpd.conf" }
sub pid       { my ($self) = @_; return $self->{pid} }

# All that httpd has said so far, before it opened its log included.
sub error_log {
    my ($self) = @_;
    open my $log, '<', $self->_log or return '';
    local $/;
    return <$log> // '';
}

sub _log { my ($self) = @_; return "$self->{root}/logs/error_log" }

# Replaces the configuration; a running server sees it at its next restart.
sub set_conf {
    my ($self, $conf) = @_;
    $self->{conf} = $conf;
    open my $file, '>', $self->conf_file or die 'MPTCP::Httpd: ' . $self->conf_file . ": $!\n";
    print {$file} $self->_preamble, $conf, "\n";
    close $file or die 'MPTCP::Httpd: ' . $self->conf_file . ": $!\n";
    return;
}

# Writes a file below the document root and returns its full name; the
# contents may be undef for an empty file to be filled by the caller.
sub write_file {
    my ($self, $name, $contents) = @_;
    my $path = $self->docroot . "/$name";
    open my $file, '>:raw', $path or die "MPTCP::Httpd: $path: $!\n";
    print {$file} $contents if defined $contents;
    close $file or die "MPTCP::Httpd: $path: $!\n";
    return $path;
}

# ---- Running ----------------------------------------------------------------

# Starts it and waits.  True: it is ready for connections.  False: it has
# ended (error_log says why), or had to be ended because it never got ready.
sub start {
    my ($self) = @_;
    croak 'MPTCP::Httpd: already started' if $self->alive;
    my $ready = $self->_times_ready;
    my $pid = fork() // die "MPTCP::Httpd: fork: $!\n";
    if (!$pid) {
        # httpd appends to the same file once it has opened its log.
        open STDERR, '>>', $self->_log or POSIX::_exit(126);
        open STDOUT, '>&', \*STDERR;
        open STDIN, '<', '/dev/null';
        # A group of its own: a terminal's SIGWINCH is httpd's graceful stop.
        POSIX::setpgid(0, 0);
        my @argv = ($self->_ns, @{ $self->{before} }, $self->_command, '-DFOREGROUND');
        no warnings 'exec';    # it knows no exec that fails
        exec { $argv[0] } @argv;
        print STDERR "cannot run $argv[0]: $!\n";
        POSIX::_exit(127);
    }
    $self->{pid} = $pid;
    return 1 if $self->_wait_ready($ready + 1);
    $self->stop;
    return 0;
}

# Ends it, and waits until it and all of its children are gone.
sub stop {
    my ($self) = @_;
    my $pid = $self->{pid} or return;
    if ($self->alive) {
        kill 'TERM', $pid;
        my $deadline = time + $PATIENCE;
        sleep 0.02 while $self->alive && time < $deadline;
    }
    _end_group($pid) if $self->{pid};
    waitpid $pid, 0 if $self->{pid};
    delete $self->{pid};
    $self->_search_log;
    return;
}

# The lines of a log that no server may write, whatever a test looks at: t/TEST
# makes a failure of them.  A crash; a report of a sanitizer, of UBSan, which
# does not give its name, or of valgrind; the calls that led there.
# t/findings.t has examples.
sub findings {
    my ($log) = @_;
    my %own = map { $_ => 1 } _own_crashes($log);
    $log =~ s/^crash: process $_,.*?^crash: end\n//ms for keys %own;
    return grep {
        /exit\ signal\ (?:Segm|Abort|Bus|Ill|Float|Trap)
        |[a-z]Sanitizer\b|:\ runtime\ error:|^==\d+==|^\s+\#\d+\ |^crash:\ /x
            && !(/child pid (\d+) exit signal/ && $own{$1})
    } split /\n/, $log;
}

# The children that crashed by a fault of httpd's own: a child of event or worker
# that is told to end shuts the sockets of its workers down while these may just be
# closing them, or have closed them (httpd 2.4.71, close_worker_sockets()). With
# clients that go that moment it is one of 15 servers, with mod_mptcp or without
# it; one of 300 that are their own backend. It is taken for that only where
# t/fault/calls.c has seen it: in the main thread, the MPM asks APR for the
# descriptor of a socket.
sub _own_crashes {
    my ($log) = @_;
    my @own;
    while ($log =~ /^crash: process (\d+), thread (\d+), signal \d+\n(.*?)^crash: end$/msg) {
        my ($process, $thread, $calls) = ($1, $2, $3);
        # the handler's own, and from where it was called
        my @calls = grep { !m{/calls\.so\(|/libc\.so} } split /\n/, $calls;
        push @own, $process if $process == $thread && @calls > 1
            && $calls[0] =~ m{/libapr-\d[^/]*\(apr_os_sock_get\+}
            && $calls[1] =~ m{/mod_mpm_(?:event|worker)\.so\(};
    }
    return @own;
}

# What is not in its log where all is well: findings, and lines of level warning or
# worse, or those that are given; but not what the worker MPM says by itself of
# reloads in quick succession (AH00291, AH00546: 20 times in 300 without mod_mptcp).
sub complaints {
    my ($self, $lines) = @_;
    $lines //= qr/:(?:emerg|alert|crit|error|warn)\]/;
    my $log = $self->error_log;
    return (findings($log), grep { /$lines/ && !/AH00291|AH00546/ } split /\n/, $log);
}

# Of what its log has got since it was last searched.
sub _search_log {
    my ($self) = @_;
    return if !$self->{root};            # gone already, at the script's end
    my $log = substr $self->error_log, $self->{searched} // 0;
    $self->{searched} += length $log;
    return _note_findings($log);
}

# Notes them in a file, with the name of the test.
sub _note_findings {
    my ($log) = @_;
    my $name = $ENV{MPTCP_FINDINGS} // return;
    my @findings = findings($log) or return;
    my ($script) = $0 =~ m{([^/]+)$};
    open my $file, '>>', $name or die "MPTCP::Httpd: $name: $!\n";
    print {$file} map {"$script: $_\n"} @findings;
    close $file or die "MPTCP::Httpd: $name: $!\n";
    return;
}

# What is left of a server's process group.  Until all of it is gone, its
# listeners would be in the way of another.
sub _end_group {
    my ($pid) = @_;
    kill 'KILL', -$pid;
    my $deadline = time + $PATIENCE;
    while (time < $deadline) {
        waitpid $pid, POSIX::WNOHANG();
        last if !kill 0, -$pid;
        sleep 0.005;
    }
    return;
}

# Each returns true when the server is ready again with the configuration as
# it is now, false when it did not survive or never said so.
sub graceful { my ($self) = @_; return $self->_again('USR1') }
sub restart  { my ($self) = @_; return $self->_again('HUP') }

sub _again {
    my ($self, $signal) = @_;
    my $ready = $self->_times_ready;
    kill $signal, $self->{pid} if $self->alive;
    return $self->_wait_ready($ready + 1);
}

# Whether the server's parent process runs.
sub alive {
    my ($self) = @_;
    my $pid = $self->{pid} or return 0;
    return 1 if waitpid($pid, POSIX::WNOHANG()) == 0;
    _end_group($pid);                    # children that it left behind
    delete $self->{pid};
    $self->_search_log;
    return 0;
}

# Checks the configuration: (exit status, all that was printed).
sub config_test { my ($self) = @_; return $self->run_beside('-t') }

# Runs httpd with more arguments and waits, as one does at a command line
# beside a running server: ('-k', 'graceful').  Returns as config_test does.
sub run_beside {
    my ($self, @args) = @_;
    my @argv = ($self->_ns, @{ $self->{before} }, $self->_command, @args);
    my $pid = open(my $from, '-|') // die "MPTCP::Httpd: fork: $!\n";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        no warnings 'exec';
        exec { $argv[0] } @argv;
        print "cannot run $argv[0]: $!\n";
        POSIX::_exit(127);
    }
    my $output = join '', <$from>;
    close $from;
    my $status = $? >> 8 || $?;
    _note_findings($output);
    return ($status, $output);
}

# Counted in the log, because a restart can be seen nowhere else.  (Messages
# of level notice go to a log file whatever LogLevel says.)
sub _times_ready {
    my ($self) = @_;
    my $times = () = $self->error_log =~ /resuming normal operations/g;
    return $times;
}

sub _wait_ready {
    my ($self, $times) = @_;
    my $deadline = time + $PATIENCE;
    while (time < $deadline) {
        return 0 if !$self->alive;
        return 1 if $self->{ready} ? $self->{ready}->() : $self->_times_ready >= $times;
        sleep 0.02;
    }
    return 0;
}

sub _ns {
    my ($self) = @_;
    return $self->{lab} ? $self->{lab}->ns($self->{ns}) : ();
}

sub _command {
    my ($self) = @_;
    return (_binary(), '-d', $self->root, '-f', $self->conf_file, @{ $self->{args} });
}

sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner};      # a forked child has only a copy
    local ($?, $!, $@);
    $self->stop;
    return;
}

# ---- The installation -------------------------------------------------------

my %asked;

# What apxs says of this installation.
sub _apxs {
    my ($what) = @_;
    return $asked{$what} //= do {
        my ($apxs) = grep { defined && length } $ENV{APXS},
            grep { -x } map { ("$_/apxs", "$_/apxs2") } split(/:/, $ENV{PATH}), '/usr/sbin';
        defined $apxs or die "MPTCP::Httpd: no apxs here; install apache2-dev"
            . " (Debian, Ubuntu) or httpd-devel, or set APXS.\n";
        # It complains about Debian's variables that are not set.
        my $answer = qx{$apxs -q $what 2>/dev/null};
        chomp $answer;
        length $answer or die "MPTCP::Httpd: '$apxs -q $what' says nothing.\n";
        $answer;
    };
}

# MPTCP_HTTPD is one that stands before it: t/under/asan, for example.
sub _binary { return $ENV{MPTCP_HTTPD} // _apxs('SBINDIR') . '/' . _apxs('PROGNAME') }

# The version as httpd prints it: 'Apache/2.4.57 (Debian)'.
sub version {
    my $binary = _binary();
    my ($version) = qx{$binary -v 2>/dev/null} =~ /version:\s*(.*)/;
    return $version // 'unknown';
}

# Whether it is of this version, '2.4.47', or later.
sub since {
    my ($wanted) = @_;
    my ($number) = version() =~ m{/(\d+(?:\.\d+)*)} or return 0;
    return 'version'->parse("v$number") >= 'version'->parse("v$wanted");
}

# The module under test: MPTCP_SO, or what make has built in this work tree.
sub module_file {
    return $ENV{MPTCP_SO} // _top() . '/.libs/mod_mptcp.so';
}

sub _top { return dirname(dirname(dirname(dirname(Cwd::abs_path(__FILE__))))) }

sub _load_line {
    my ($name, $file) = @_;
    $file //= _apxs('LIBEXECDIR') . "/mod_$name.so";
    return "LoadModule ${name}_module $file\n";
}

sub _preamble {
    my ($self) = @_;
    my $root = $self->root;

    # Which of these are built in differs from one distribution to another.
    my $libexec = _apxs('LIBEXECDIR');
    my @base = grep { -e "$libexec/mod_$_.so" }
        "mpm_$self->{mpm}", qw(unixd authz_core log_config dir);
    my @load = map { _load_line($_) } @base, @{ $self->{load} };
    if ($self->{module}) {
        my $mptcp = _load_line('mptcp', $self->{module_file});
        @load = $self->{order} eq 'first' ? ($mptcp, @load) : (@load, $mptcp);
    }

    my ($user) = grep { defined getpwnam $_ } qw(www-data apache http nobody);
    my $group = $user && getgrgid((getpwnam $user)[3]);
    my $identity = $> == 0 ? "User $user\nGroup $group\n" : '';

    return join '', @load, <<"END";
ServerRoot "$root"
ServerName localhost
DefaultRuntimeDir "$root/run"
PidFile "$root/run/httpd.pid"
ErrorLog "$root/logs/error_log"
DocumentRoot "$root/htdocs"
<IfModule mime_module>
    TypesConfig /dev/null
</IfModule>
$identity
END
}

1;
