package Bench::Server;

# The servers that are compared, each as its documentation says to set it up
# for Multipath TCP, and otherwise as it comes.
#
#   my $server = Bench::Server->start('nginx', lab => $lab, ns => 'server',
#       port => 80, files => $dir, sink => '127.0.0.1:8080');
#   my $proxy = Bench::Server->start('haproxy', lab => $lab, ns => 'proxy',
#       port => 80, backend => '10.91.1.2:80');
#
# Without `backend` it serves the files, and passes what is below /sink on to
# an origin (Bench::Origin) on its own host; HAProxy, which serves no files,
# passes everything on.  With `backend` it listens with TCP, and passes
# everything on to that, by MPTCP where it can do so.  More options:
#   mptcp   0: the same without MPTCP
#   conf    more lines of configuration, for those of the httpd family
#   load    and names of modules for them
#   worker  parameters for their ProxyPass to the backend
#   before  a command to put before it
#
# Where the binaries of others are, is for the person to say who runs this:
#   MPTCP_BENCH_HTTPD_TRUNK, MPTCP_BENCH_NGINX, MPTCP_BENCH_HAPROXY,
#   MPTCP_BENCH_LIGHTTPD (modules beside it, or where it looks for them)
# One that is older than its own MPTCP is run by mptcpize, if that is here.

use strict;
use warnings;
use Carp qw(croak);
use File::Basename qw(dirname);
use File::Temp ();
use Time::HiRes qw(sleep);
use version;
use MPTCP::Httpd;

use constant PATIENCE => 30;    # seconds, for a start or a reload

my @KINDS = qw(httpd mod_mptcp mptcpize trunk nginx haproxy lighttpd);
my %KIND = (
    httpd     => { title => 'httpd 2.4, TCP only' },
    mod_mptcp => { title => 'httpd 2.4 + mod_mptcp' },
    # Only where it is asked for by name: less is queued on a path that goes.
    mod_mptcp_buffer => { title => 'the same, buffer 256 KiB',
        is => 'mod_mptcp', conf => 'SendBufferSize 262144' },
    mptcpize  => { title => 'httpd 2.4 by mptcpize' },
    trunk     => { title => 'httpd trunk', env => 'MPTCP_BENCH_HTTPD_TRUNK', ask => '-v',
        version => qr{Server version: (.*)} },
    # since: the version that knows MPTCP; an older one is run by mptcpize
    nginx     => { title => 'nginx', env => 'MPTCP_BENCH_NGINX', ask => '-v',
        version => qr{version: (.*)}, since => '1.29.7' },
    haproxy   => { title => 'HAProxy', env => 'MPTCP_BENCH_HAPROXY', ask => '-v',
        version => qr{^(HAProxy version \S+)}, since => '3.1' },
    lighttpd  => { title => 'lighttpd', env => 'MPTCP_BENCH_LIGHTTPD', ask => '-v',
        version => qr{^(lighttpd/\S+)}, since => '1.4.76' },
);

sub kinds { return @KINDS }
sub title { my ($kind) = @_; return $KIND{$kind}{title} }
sub hint  { my ($kind) = @_; return "$KIND{$kind}{env} is not set" }

# As the program itself says; undef where it is absent.
sub version {
    my ($kind) = @_;
    my $k = $KIND{$kind};
    return $k->{says} if exists $k->{says};
    return $k->{says} = $kind eq 'mptcpize' && !in_path('mptcpize') ? undef
        : MPTCP::Httpd::version() if !$k->{env};
    my $binary = $ENV{ $k->{env} };
    return $k->{says} = undef if !defined $binary || $binary eq '';
    -x $binary or die "bench: $k->{env}: '$binary' cannot be run\n";
    my ($says) = qx{'$binary' $k->{ask} 2>&1} =~ $k->{version}
        or die "bench: $k->{env}: '$binary' is no $k->{title}\n";
    if ($k->{since} && in_path('mptcpize')) {
        my ($number) = $says =~ /(\d+(?:\.\d+)+)/;
        $k->{by_mptcpize} = 'version'->parse("v$number") < 'version'->parse("v$k->{since}");
    }
    return $k->{says} = $says . ($k->{by_mptcpize} ? ' by mptcpize' : '');
}

sub in_path { my ($name) = @_; return grep { -x "$_/$name" } split /:/, $ENV{PATH} }

sub start {
    my ($class, $kind, %o) = @_;
    my $self = bless { mptcp => 1, conf => $KIND{$kind}{conf} // '', load => [], worker => '',
        before => [], owner => $$, %o }, $class;
    $kind = $self->{kind} = $KIND{$kind}{is} // $kind;
    if ($kind =~ /^(?:httpd|mod_mptcp|mptcpize)$/) {
        $self->{httpd} = MPTCP::Httpd->new(
            lab => $o{lab}, ns => $o{ns}, module => $kind eq 'mod_mptcp' ? 1 : 0,
            load => $self->_modules, conf => $self->_httpd_conf,
            before => [@{ $self->{before} },
                $kind eq 'mptcpize' && $self->{mptcp} ? qw(mptcpize run) : ()],
        );
        $self->{httpd}->start or die "bench: $kind: ", $self->{httpd}->error_log;
        $self->{pid} = $self->{httpd}->pid;
        return $self;
    }
    unshift @{ $self->{before} }, qw(mptcpize run)
        if $self->{mptcp} && defined version($kind) && $KIND{$kind}{by_mptcpize};
    $self->{root} = File::Temp->newdir('server-XXXXXX', TMPDIR => 1);
    chmod 0755, "$self->{root}";
    mkdir "$self->{root}/logs";
    $self->_write;
    my $log = "$self->{root}/log";
    my $binary = $ENV{ $KIND{$kind}{env} };
    my $root = "$self->{root}";
    my %command = (
        trunk    => [$binary, '-d', $root, '-f', "$root/conf", '-DFOREGROUND'],
        nginx    => [$binary, '-p', "$root/", '-e', $log, '-c', "$root/conf",
            '-g', 'daemon off;'],
        haproxy  => [$binary, '-W', '-S', "$root/master", '-f', "$root/conf"],
        lighttpd => [$binary, '-D', '-f', "$root/conf",
            -e dirname($binary) . '/mod_proxy.so' ? ('-m', dirname($binary)) : ()],
    );
    $self->{pid} = $self->{lab}->spawn($self->{ns}, { out => $log, err => $log },
        @{ $self->{before} }, @{ $command{$kind} });
    $self->{lab}->wait_until(PATIENCE, sub {
        $self->{lab}->ss($self->{ns}, '-tl', "sport = :$self->{port}");
    }) or die "bench: $kind does not listen:\n", $self->log;
    return $self;
}

sub pid { my ($self) = @_; return $self->{pid} }

sub log {
    my ($self) = @_;
    return $self->{httpd}->error_log if $self->{httpd};
    my $log = '';
    for my $name ("$self->{root}/log", "$self->{root}/logs/error_log") {
        open my $file, '<', $name or next;
        local $/;
        $log .= <$file> // '';
    }
    return $log;
}

# Its own graceful way to take a changed configuration; returns once the
# server says that it has, or after a while where it does not say.
sub reload {
    my ($self, %o) = @_;
    @$self{ keys %o } = values %o;
    if (my $httpd = $self->{httpd}) {
        $httpd->set_conf($self->_httpd_conf);
        $httpd->graceful or die "bench: no reload: ", $httpd->error_log;
        return;
    }
    $self->_write;
    my %signal = (trunk => 'USR1', nginx => 'HUP', haproxy => 'USR2', lighttpd => 'USR1');
    kill $signal{ $self->{kind} }, $self->{pid};
    sleep 0.7;
    return;
}

sub stop {
    my ($self) = @_;
    return $self->{httpd}->stop if $self->{httpd};
    my $pid = delete $self->{pid} or return;
    kill 'TERM', $pid;
    # Its children are in its process group; see MPTCP::Lab::spawn.
    $self->{lab}->wait_until(3, sub { waitpid($pid, 1) != 0 });
    kill 'KILL', -$pid;
    $self->{lab}->reap($pid);
    return;
}

sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner};
    local ($?, $!, $@);
    $self->stop;
    return;
}

# ---- Configurations ---------------------------------------------------------

sub _write {
    my ($self) = @_;
    my $method = "_$self->{kind}_conf";
    open my $file, '>', "$self->{root}/conf" or die "$self->{root}/conf: $!\n";
    print {$file} $self->$method;
    close $file or die "$self->{root}/conf: $!\n";
    return;
}

# Is it to be asked for MPTCP in its own words?
sub _asks {
    my ($self) = @_;
    return $self->{mptcp} && !$KIND{ $self->{kind} }{by_mptcpize};
}

sub _modules {
    my ($self) = @_;
    my @proxy = $self->{backend} || $self->{sink} ? qw(proxy proxy_http) : ();
    return [@proxy, @{ $self->{load} }];
}

sub _httpd_conf {
    my ($self) = @_;
    my $kind = $self->{kind};
    my $on = $self->{mptcp};
    my @lines;
    if ($self->{backend}) {
        my $worker = $self->{worker};
        $worker .= ' multipathtcp=On' if $on && $kind =~ /^(?:mod_mptcp|trunk)$/;
        @lines = ("Listen $self->{port}", "ProxyPass / http://$self->{backend}/ $worker");
    }
    else {
        @lines = (
            $on && $kind eq 'mod_mptcp' ? "MPTCPListen $self->{port}"
            : $on && $kind eq 'trunk' ? "Listen $self->{port} options=multipathtcp"
            : "Listen $self->{port}",
            "DocumentRoot $self->{files}",
            $self->{sink} ? "ProxyPass /sink http://$self->{sink}/sink" : (),
        );
    }
    return join "\n", @lines, $self->{conf}, '';
}

sub _trunk_conf {
    my ($self) = @_;
    my $binary = $ENV{MPTCP_BENCH_HTTPD_TRUNK};
    my ($root) = qx{'$binary' -V} =~ /HTTPD_ROOT="(.*?)"/ or die "bench: $binary -V\n";
    # which of these are built in is as it was configured
    my @load = map { "LoadModule ${_}_module $root/modules/mod_$_.so" }
        grep { -e "$root/modules/mod_$_.so" } qw(mpm_event unixd authz_core log_config dir), @{ $self->_modules };
    my ($user) = grep { defined getpwnam $_ } qw(www-data apache nobody);
    my $group = getgrgid((getpwnam $user)[3]);
    return join "\n", @load, "ServerRoot $self->{root}", 'ServerName localhost',
        'PidFile pid', 'ErrorLog logs/error_log', "DefaultRuntimeDir $self->{root}",
        "User $user", "Group $group", $self->_httpd_conf;
}

# As in the file that comes with it; it takes bodies of 1 MB unless told.
sub _nginx_conf {
    my ($self) = @_;
    my $listen = $self->_asks && !$self->{backend} ? 'multipath' : '';
    my $locations = $self->{backend}
        ? "location / { proxy_pass http://$self->{backend}; }"
        : "root $self->{files};\n"
        . ($self->{sink} ? "location /sink { proxy_pass http://$self->{sink}; }" : '');
    return <<"END";
worker_processes 1;
pid $self->{root}/pid;
events { worker_connections 1024; }
http {
    sendfile on;
    keepalive_timeout 65;
    access_log off;
    client_max_body_size 0;
    server {
        listen $self->{port} $listen;
        $locations
    }
}
END
}

sub _haproxy_conf {
    my ($self) = @_;
    my ($in, $out) = ('ipv4@', '');
    $in  = 'mptcp4@' if $self->_asks && !$self->{backend};
    $out = 'mptcp4@' if $self->_asks && $self->{backend};
    my $to = $self->{backend} // $self->{sink};
    return <<"END";
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
listen bench
    bind $in:$self->{port}
    server one $out$to
END
}

sub _lighttpd_conf {
    my ($self) = @_;
    my $mptcp = $self->_asks && !$self->{backend} ? 'enable' : 'disable';
    my $to = $self->{backend} // $self->{sink};
    my $files = $self->{files} // $self->{root};
    my $proxy = '';
    if ($to) {
        my ($host, $port) = $to =~ /(.*):(.*)/;
        $proxy = qq{proxy.server = ("" => (("host" => "$host", "port" => $port)))};
        $proxy = qq{\$HTTP["url"] =^ "/sink" {\n    $proxy\n}} if !$self->{backend};
    }
    return <<"END";
server.modules = ("mod_proxy")
server.port = $self->{port}
server.document-root = "$files"
server.pid-file = "$self->{root}/pid"
server.upload-dirs = ("$self->{root}")
server.feature-flags = ("server.network-mptcp" => "$mptcp")
$proxy
END
}

1;
