package MPTCP::ProxyLab;

# A proxy and its backends, each in a namespace of its own, and a count of the
# connections between them.
#
#   my $lab = MPTCP::ProxyLab->new;
#   $lab->backends(7001 => 'http', 7002 => 'fcgi');
#   $lab->proxy(<<"END");
#   ProxyPass /a/ http://$lab->{backend}:7001/ multipathtcp=On
#   END
#   $lab->is_mptcp('/a/x', 'what it shows');
#
# The proxy listens on port 8000 and whatever its configuration says; clients
# are in its namespace, and plain TCP.  So every SYN with MP_CAPABLE that
# leaves there is the proxy's, and every connection that comes to the backends'
# namespace is one that the proxy made.

use strict;
use warnings;
use parent 'MPTCP::Lab';
use Cwd ();
use File::Basename qw(dirname);
use MPTCP::Httpd;
use Test::More ();

# The modules that proxies and backends here may need; which of them are built
# in, and so cannot be loaded, differs from one distribution to another.
my @MODULES = qw(alias env setenvif headers rewrite
    watchdog slotmem_shm socache_shmcb ssl http2 proxy proxy_http
    proxy_http2 proxy_connect proxy_fcgi proxy_ajp proxy_scgi proxy_uwsgi
    proxy_wstunnel proxy_ftp proxy_balancer lbmethod_byrequests proxy_hcheck);

sub _modules {
    my $dir = MPTCP::Httpd::_apxs('LIBEXECDIR');
    return [grep { -e "$dir/mod_$_.so" } @MODULES];
}

sub new {
    my ($class, %o) = @_;
    my $self = $class->SUPER::new;
    $self->two_paths(paths => $o{paths} // 1, client => 'proxy', server => 'backend');
    # Nothing but what a test does may count.
    $self->sysctl($_, 'net.ipv4.tcp_syn_retries', 1) for qw(proxy backend);
    $self->{backend} = $self->address('backend', 1);
    return $self;
}

# ---- Backends ---------------------------------------------------------------

# Starts servers of MPTCP::Backend in the backends' namespace: port => protocol.
# A protocol may end in '/tcp': then its listener is no MPTCP one.
sub backends {
    my ($self, %protocol) = @_;
    my $lib = dirname(dirname(Cwd::abs_path(__FILE__)));
    pipe(my $ready, my $child_end) or die "pipe: $!";
    my $pid = fork() // die "fork: $!";
    if (!$pid) {
        POSIX::setpgid(0, 0);
        open STDOUT, '>&', $child_end;
        exec $self->ns('backend'), $^X, "-I$lib", '-MMPTCP::Backend', '-e',
            'MPTCP::Backend::serve(@ARGV)', '--', %protocol or POSIX::_exit(127);
    }
    close $child_end;
    push @{ $self->{children} }, $pid;
    my $line = <$ready> // '';
    $line =~ /ready/ or die "MPTCP::ProxyLab: the backends did not start: $line\n";
    return $pid;
}

# A whole httpd, not started: an MPTCP::Httpd in one of the two namespaces.
sub new_httpd {
    my ($self, $ns, $conf, %o) = @_;
    return MPTCP::Httpd->new(lab => $self, ns => $ns, load => _modules(),
        conf => $conf // '', %o);
}

# ---- The proxy --------------------------------------------------------------

# Starts the proxy, or gives the one that runs another configuration.
sub proxy {
    my ($self, $conf, %o) = @_;
    $self->stop_proxy;
    my $httpd = $self->{httpd} = $self->new_proxy($conf, %o);
    $httpd->start or die "MPTCP::ProxyLab: proxy:\n" . $httpd->error_log;
    return $httpd;
}

# One that does not run yet.
sub new_proxy {
    my ($self, $conf, %o) = @_;
    return $self->new_httpd('proxy', <<"END", %o);
Listen 127.0.0.1:8000
LogLevel info proxy:debug
KeepAlive Off
<IfModule mpm_prefork_module>
    StartServers 3
    MaxRequestWorkers 20
</IfModule>
<IfModule !mpm_prefork_module>
    StartServers 1
    ServerLimit 2
    ThreadsPerChild 25
    MinSpareThreads 1
    MaxSpareThreads 50
    MaxRequestWorkers 50
</IfModule>
$conf
END
}

sub stop_proxy {
    my ($self) = @_;
    my $httpd = delete $self->{httpd} or return;
    $httpd->stop;
    return;
}

# What the proxy has logged since the last call, or since its start.
sub logged {
    my ($self) = @_;
    my $log = $self->{httpd}->error_log;
    my $from = $self->{httpd}{logged} // 0;
    $self->{httpd}{logged} = length $log;
    return substr $log, $from;
}

# How many lines of the proxy's log match.
sub times_logged {
    my ($self, $pattern) = @_;
    return scalar grep { $_ =~ $pattern } split /\n/, $self->{httpd}->error_log;
}

# ---- Requests ---------------------------------------------------------------

# A request by curl from the proxy's own namespace.  $what is a path on port
# 8000, or a whole URL; @more are words for curl.  Returns (status, body).
sub request {
    my ($self, $what, @more) = @_;
    my $url = $what =~ m{^/} ? "http://127.0.0.1:8000$what" : $what;
    local @ENV{ grep {/_proxy$/i} keys %ENV };
    my ($rc, $output) = $self->try('proxy', qw(curl -q -sS --max-time 30
        -w), "\n%{http_code}", @more, $url);
    my ($body, $status) = $output =~ /\A(.*)\n(\d+)\z/s;
    return ($status // 0, $body // $output);
}

# What a piece of code adds: { mptcp => SYNs with MP_CAPABLE that left the
# proxy's namespace, connections => connections that came to the backends }.
sub counted {
    my ($self, $code) = @_;
    my @before = ($self->counters('proxy'), $self->counters('backend'));
    $code->();
    my @after = ($self->counters('proxy'), $self->counters('backend'));
    return {
        mptcp => $after[0]{MPTcpExtMPCapableSYNTX} - $before[0]{MPTcpExtMPCapableSYNTX},
        connections => $after[1]{TcpPassiveOpens} - $before[1]{TcpPassiveOpens},
    };
}

# A test: one request is answered with 200, over so many new connections, of
# which so many were begun as MPTCP.
sub is_counted {
    my ($self, $what, $mptcp, $connections, $name, @more) = @_;
    my ($status, $body);
    my $counted = $self->counted(sub { ($status, $body) = $self->request($what, @more) });
    my $ok = Test::More::is_deeply([$status, $counted],
        [200, { mptcp => $mptcp, connections => $connections }], $name);
    Test::More::diag(substr $body, 0, 500) if $status != 200;
    return $ok;
}

sub is_mptcp { my ($self, $what, $name, @more) = @_;
    return $self->is_counted($what, 1, 1, "$name: MPTCP", @more) }
sub is_tcp   { my ($self, $what, $name, @more) = @_;
    return $self->is_counted($what, 0, 1, "$name: TCP", @more) }

# A configuration that `httpd -t` does not accept; returns what it says.
sub refusal {
    my ($self, $conf) = @_;
    my ($status, $output) = $self->new_proxy($conf)->config_test;
    return $status ? $output : '';
}

# What `httpd -t` says of a good one.
sub remarks {
    my ($self, $conf) = @_;
    my ($status, $output) = $self->new_proxy($conf)->config_test;
    return $status ? "REFUSED: $output" : $output;
}

sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner};
    local ($?, $!, $@);
    $self->stop_proxy;
    return $self->SUPER::DESTROY;
}

1;
