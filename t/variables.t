# The MPTCP variables in the environment, in expressions and in logs, for the
# ways in which httpd comes to serve a request. What they say of a network is
# in t/variables_paths.t, what of backends in t/variables_backend.t.

use strict;
use warnings;

use MPTCP::Httpd;
use MPTCP::Lab;
use MPTCP::Session;
use Test::More;
use Time::HiRes qw(sleep);

MPTCP::Lab->enter;
my $lab = MPTCP::Lab->new;

my @names = map {"MPTCP$_"} '', qw(_SUBFLOWS _SUBFLOWS_TOTAL _TOKEN _BYTES_SENT
    _BYTES_RECEIVED _BYTES_RETRANS);
my %unknown = map { $_ => 1 } $lab->unknown_variables;
# what stands in a log for each of those that kernels differ in
my $total = $unknown{MPTCP_SUBFLOWS_TOTAL} ? '-' : 1;
my ($bytes, $retrans) = $unknown{MPTCP_BYTES_SENT} ? ('-', '-') : ('\d+', 0);
my $tls = make_certificate();

# A request is found in the log by its query string. In the headers is what
# expressions say, in brackets because a variable that is not set is empty.
my $log = '%<q %s ' . join ' ', map {"%{$_}^mp"} @names, 'MPTCP_BACKEND';
my $expressions = join "\n",
    map {qq(Header always set X-$_ "expr=<%{$_}>")} @names, 'MPTCP_BACKEND';

my $httpd = MPTCP::Httpd->new(
    load => [qw(cgi headers http2 include mime reqtimeout rewrite setenvif
            socache_shmcb ssl)],
    conf => <<"END");
MPTCPListen 127.0.0.1:8080
Listen      127.0.0.1:8081
MPTCPListen 127.0.0.1:8082
MPTCPListen 127.0.0.1:8083
MPTCPListen 127.0.0.1:8443 https
Protocols h2 h2c http/1.1
KeepAliveTimeout 60
Timeout 20

CustomLog logs/values "$log"
$expressions
Header always set X-Env "%{MPTCP}e %{MPTCP_SUBFLOWS}e %{MPTCP_TOKEN}e"

TypesConfig /dev/null
DirectoryIndex index.html
ErrorDocument 404 /index.html
<Directory />
    Options +ExecCGI +Includes
    AddHandler cgi-script .cgi
    AddType text/html .shtml
    AddOutputFilter INCLUDES .shtml
</Directory>

<Location /env>
    MPTCPEnvVars On
</Location>
<Location /env/off>
    MPTCPEnvVars Off
</Location>

<Location /if>
    <If "%{MPTCP} == 'on' && %{MPTCP_SUBFLOWS} -ge 1">
        Header always set X-If "multipath"
    </If>
    <If "%{mptcp} != 'on'">
        Header always set X-If "other"
    </If>
</Location>
<Location /require>
    Require expr %{MPTCP} == 'on'
</Location>
SetEnvIfExpr "%{MPTCP} == 'on'" multipath=yes
Header always set X-SetEnvIfExpr "%{multipath}e"
RewriteEngine On
RewriteCond expr "%{MPTCP_SUBFLOWS} -ge 1"
RewriteRule ^/if/ - [E=rewritten:yes]
Header always set X-Rewrite "%{rewritten}e"

<VirtualHost 127.0.0.1:8082>
    MPTCPEnvVars On
    <Directory "\${docroot}/if">
        MPTCPEnvVars Off
    </Directory>
</VirtualHost>
<VirtualHost 127.0.0.1:8083>
    RequestReadTimeout header=1
</VirtualHost>
<VirtualHost 127.0.0.1:8443>
    SSLEngine On
    SSLCertificateFile    "$tls/cert.pem"
    SSLCertificateKeyFile "$tls/key.pem"
</VirtualHost>
END
$httpd->set_conf('Define docroot "' . $httpd->docroot . "\"\n" . $httpd->{conf});
make_documents($httpd);
$httpd->start or BAIL_OUT($httpd->error_log);

# --- One connection, and the requests on it

for my $client (
    ['an MPTCP client of an MPTCP listener', 8080, 1, 'on'],
    ['a TCP client of an MPTCP listener',    8080, 0, 'off'],
    ['an MPTCP client of a TCP listener',    8081, 1, '-'],
    ['a TCP client of a TCP listener',       8081, 0, '-'],
    )
{
    my ($name, $port, $mptcp, $state) = @$client;
    my $session = connection($port, $mptcp);
    my $on      = $state eq 'on';
    my $token   = token($port, $session->port);
    is(defined $token ? 1 : 0, $on ? 1 : 0,
        "$name: ss has a token of the connection only where it is MPTCP");

    my $read = 0;
    for my $request (1, 2) {
        my $id     = "$port-$mptcp-$request";
        my $answer = $session->get("/?$id");
        is_deeply(values_in($answer),
            $on
            ? [known('', $state, 1, 1, $token, $read, $answer->{sent}, 0), '']
            : [$state, ('') x 7],
            "$name: expressions, request $request");
        is(logged($id), join(' ', 200,
                $on
                ? (known('-', $state, 1, 1, $token, $answer->{read}, $answer->{sent}, 0), '-')
                : ($state, ('-') x 7)),
            "$name: log, request $request");
        is($answer->{headers}{'x-env'}, '(null) (null) (null)',
            "$name: no environment where nobody asks for it");
        $read = $answer->{read};
    }

    my $set = join ' ', $state, $on ? (1, $token) : ('(null)') x 2;
    for my $where (
        ['/env/',     'in a location that says On',     $port, 1],
        ['/env/off/', 'Off under a parent that is On',  $port, 0],
        )
    {
        my ($path, $scope, $to, $has) = @$where;
        is($session->get($path)->{headers}{'x-env'},
            $has ? $set : '(null) (null) (null)', "$name: environment, $scope");
    }

    my $answer = $session->get('/if/');
    is_deeply([@{ $answer->{headers} }{qw(x-if x-setenvifexpr x-rewrite)}],
        $on ? [qw(multipath yes yes)] : [qw(other (null) (null))],
        "$name: <If>, SetEnvIfExpr, RewriteCond expr");
    is($session->get('/require/')->{status}, $on ? 200 : 403,
        "$name: Require expr");

    # A CGI script asks ss at the time it runs.
    $answer = $session->get('/env/vars.cgi');
    my %env = $answer->{body} =~ /^(MPTCP\w*)=(.*)$/mg;
    is_deeply([sort keys %env], [sort $on ? grep { !$unknown{$_} } @names : 'MPTCP'],
        "$name: the variables that a CGI script has");
    is($env{MPTCP}, $state, "$name: CGI, MPTCP");
    is($env{MPTCP_TOKEN}, $token, "$name: CGI, MPTCP_TOKEN");
    is($session->get('/vars.cgi')->{body} =~ /^MPTCP/m ? 1 : 0, 0,
        "$name: a CGI script without MPTCPEnvVars has none");

    # Subrequests and internal redirects
    $answer = $session->get('/env/page.shtml');
    is($answer->{body}, 'page ' . ($env{MPTCP_TOKEN} // '(none)') . "\n"
            . 'included ' . ($env{MPTCP_TOKEN} // '(none)') . "\n",
        "$name: SSI, and the page it includes");
    my $id = "404-$port-$mptcp";
    is($session->get("/env/missing?$id")->{status}, 404, "$name: error page");
    my $values = join ' ', $state, $on ? (1, $total, $token) : ('-') x 3;
    like(logged($id), qr/^404 \Q$values\E /,
        "$name: log of an error page");
    $session->close;
}

my $session = connection(8082, 1);
like($session->get('/')->{headers}{'x-env'}, qr/^on 1 [0-9a-f]+$/,
    'MPTCPEnvVars On in a virtual host');
is($session->get('/if/')->{headers}{'x-env'}, '(null) (null) (null)',
    'MPTCPEnvVars Off in a directory of that virtual host');
$session->close;

# --- TLS and HTTP/2: the values of the real connection

# (This curl reuses no connection of prior knowledge. mod_http2 does not serve
# HTTP/2 with prefork.)
my @how = ['TLS', 2, '--http1.1', 'https://127.0.0.1:8443'];
push @how, ['HTTP/2', 1, '--http2-prior-knowledge', 'http://127.0.0.1:8080'],
    ['HTTP/2 on TLS', 2, '--http2', 'https://127.0.0.1:8443']
    if ($ENV{MPTCP_MPM} // 'event') ne 'prefork';
for my $how (@how) {
    my ($name, $requests, $option, $url) = @$how;
    my ($port) = $url =~ /(\d+)$/;
    for my $mptcp (1, 0) {
        my $output = $lab->capture(undef, $mptcp ? qw(mptcpize run) : (),
            qw(curl -sS --noproxy * -k --max-time 30), $option,
            map {"$url/env/vars.cgi?h$option-$port-$mptcp-$_"} 1 .. $requests);
        my $client = $mptcp ? 'MPTCP client' : 'TCP client';
        my @state  = $output =~ /^MPTCP=(.*)/mg;
        my @token  = $output =~ /^MPTCP_TOKEN=(.*)/mg;
        # (an earlier connection may not be quite gone)
        my %kernel = $output
            =~ /^ESTAB\s.*127\.0\.0\.1:$port\s+127\.0\.0\.1:(\d+) .*token:(\w+)/mg;
        my @kernel = map { $kernel{$_} // () } $output =~ /^REMOTE_PORT=(\d+)/mg;
        is_deeply(\@state, [($mptcp ? 'on' : 'off') x $requests], "$name: $client");
        is_deeply(\@token, \@kernel, "$name: $client: the token that ss has");
        is(scalar @kernel, $mptcp ? $requests : 0, "$name: $client: and ss has one");
        for my $n (1 .. $requests) {
            my $values = $mptcp ? "on 1 $total $kernel[0]" : 'off - - -';
            like(logged("h$option-$port-$mptcp-$n"), qr/^200 \Q$values\E /,
                "$name: $client: log, request $n");
        }
        like($output, qr{^SERVER_PROTOCOL=HTTP/2}m, "$name: is HTTP/2")
            if $name =~ m{HTTP/2};
    }
}

# --- Requests that are none, and clients that go away

$session = connection(8080, 1);
my $answer = $session->exchange("GET /?400 HTTP/1.1\r\nno colon\r\n\r\n");
is($answer->{status}, 400, 'a bad request is refused');
like(logged('400'), qr/^400 on 1 $total \w+ $bytes $bytes $retrans -$/, 'log of a bad request');

$session = connection(8083, 1);
$answer = $session->exchange("GET /?408 HTTP/1.1\r\nHost: x\r\n");
is($answer->{status}, 408, 'a request that does not come to its end');
like(logged('408'), qr/^408 on 1 $total \w+ $bytes $bytes $retrans -$/,
    'log of a request that did not come to its end');

# The script waits for the file, so the reset comes before the log.
for my $mptcp (1, 0) {
    my $id = "reset-$mptcp";
    my $go = $httpd->docroot . '/go';
    $session = connection(8080, $mptcp);
    $session->send("GET /wait.cgi?$id HTTP/1.1\r\nHost: x\r\n\r\n");
    ok($lab->wait_until(10, sub { -e "$go-started" }), "$id: it runs");
    my $port = $session->port;
    $session->reset;
    ok($lab->wait_until(10, sub { !server_socket(8080, $port) }),
        "$id: the connection is gone");
    open my $file, '>', $go;
    # The kernel has forgotten the token and all subflows of a reset
    # connection; what it still knows is that it was MPTCP.
    my $none = $total eq '-' ? '-' : 0;
    like(logged($id), $mptcp ? qr/^200 on 0 $none - $bytes $bytes $retrans -$/
        : qr/^200 off(?: -){7}$/, "$id: log of a client that has reset");
    unlink $go, "$go-started";
}
$httpd->stop;

# --- A listener that is MPTCP without APR's knowledge, as a service manager
# may hand it over; mptcpize makes one.

$httpd = MPTCP::Httpd->new(before => [qw(mptcpize run)], load => ['headers'],
    conf => <<'END');
Listen 127.0.0.1:8080
Listen 8081
Header always set X-MPTCP "expr=%{MPTCP}"
Header always set X-Env "%{MPTCP}e"
MPTCPEnvVars On
<VirtualHost 127.0.0.1:8080>
    MPTCPEnvVars Off
</VirtualHost>
END
$httpd->start or BAIL_OUT($httpd->error_log);
for my $where (['127.0.0.1', 8080], ['127.0.0.1', 8081], ['::1', 8081]) {
    next if $where->[0] eq '::1' && !$lab->has_ipv6;
    for my $mptcp (1, 0) {
        my $session = MPTCP::Session->open(host => $where->[0],
            port => $where->[1], mptcp => $mptcp);
        my $answer = $session->get('/')->{headers};
        my $state  = $mptcp ? 'on' : 'off';
        is($answer->{'x-mptcp'}, $state,
            "a listener made MPTCP by others, @$where, $state");
        is($answer->{'x-env'}, $where->[1] == 8081 ? $state : '(null)',
            "MPTCPEnvVars On for the whole server, and Off for one on 8080");
    }
}
$httpd->stop;

# --- Listeners that the MPM has duplicated

$httpd = MPTCP::Httpd->new(load => ['headers'], two_processors => 1, conf => <<'END');
MPTCPListen 127.0.0.1:8080
Listen 127.0.0.1:8081
ListenCoresBucketsRatio 1
Header always set X-MPTCP "expr=%{MPTCP}"
END
$httpd->start or BAIL_OUT($httpd->error_log);
for my $case ([8080, 1, 'on'], [8080, 0, 'off'], [8081, 1, '-']) {
    my ($port, $mptcp, $state) = @$case;
    my %seen;
    for (1 .. 20) {
        my $session = connection($port, $mptcp);
        $seen{ $session->get('/')->{headers}{'x-mptcp'} }++;
        $session->close;
    }
    is_deeply(\%seen, { $state => 20 }, "buckets of listeners: $state");
}
$httpd->stop;

# --- Errors in the configuration

for my $wrong (
    ['MPTCPEnvVars Maybe', qr/MPTCPEnvVars must be On or Off/],
    [   'LogFormat "%h %>s %{MPTCP}^mp %{MPTCP_SUBFLOW}^mp" x',
        qr/line \d+ of \S+httpd\.conf: LogFormat: %\{MPTCP_SUBFLOW\}\^mp: .*MPTCP_SUBFLOWS, .*MPTCP_BACKEND/
    ],
    # an expression's name is any module's, so it is httpd that says this
    ["<If \"%{MPTCP_SUBFLOW} == 1\">\n</If>", qr/Variable 'MPTCP_SUBFLOW' does not exist/],
    [   "<VirtualHost *:1>\nCustomLog x %!200{MPTCPS}^mp\n</VirtualHost>",
        qr/CustomLog: %\{MPTCPS\}\^mp: allowed is one of MPTCP,/
    ],
    ['GlobalLog logs/x "%h %^mp"', qr/GlobalLog: %\{\}\^mp: allowed is one of MPTCP,/],
    ['LogFormat "%%%{MPTCPS}^mp" x', qr/LogFormat: %\{MPTCPS\}\^mp: allowed/],
    ['LogFormat "%{x}i %>{MPTCPS}!200,304^mp" x', qr/LogFormat: %\{MPTCPS\}\^mp: allowed/],
    )
{
    my ($conf, $message) = @$wrong;
    my $httpd = MPTCP::Httpd->new(conf => "Listen 127.0.0.1:8080\n$conf\n");
    my ($status, $output) = $httpd->config_test;
    my ($name) = $conf =~ /(.*(?:MPTCP|\^mp).*)/;
    isnt($status, 0, "$name: refused");
    like($output, $message, "$name: what is wrong, and what is allowed");
}

# What looks like one and is none, as mod_log_config reads it.
for my $right (
    'LogFormat "%%{x}^mp" x',                         # a percent sign
    'LogFormat "%{User-Agent}i}^mp" x',
    'LogFormat "100%%{MPTCPS}^mp %h" x',
    'CustomLog "logs/%{MPTCPS}^mp" "%h %{mptcp}^mp"', # a file's name
    'LogFormat "%h" "%{MPTCPS}^mp"',                  # a format's name
    )
{
    my $httpd = MPTCP::Httpd->new(conf => "Listen 127.0.0.1:8080\n$right\n");
    my ($status, $output) = $httpd->config_test;
    is($status, 0, "$right: allowed") or diag $output;
    unlike($output, qr/\^mp/, '... and nothing is said');
}
my ($status, $output) = MPTCP::Httpd->new(
    conf => "Listen 127.0.0.1:8080\nLogFormat \"%{MPTCP}mp %{mptcp_token}m %{x}mp\" x\n")->config_test;
is($status, 0, '%{MPTCP}mp is allowed');
like($output, qr/^.*line \d+ of \S+: LogFormat: %\{MPTCP\}mp is the request's method and a p; write %\{MPTCP\}\^mp$/m,
    '... and pointed out');
is(scalar(() = $output =~ /the request's method/g), 1, '... once');

done_testing();

# -----------------------------------------------------------------------------

sub connection {
    my ($port, $mptcp) = @_;
    return MPTCP::Session->open(host => '127.0.0.1', port => $port,
        mptcp => $mptcp);
}

# The server's end of an MPTCP connection, from ss.
sub server_socket {
    my ($port, $client_port) = @_;
    my ($socket) = grep { $_->{local} eq "127.0.0.1:$port"
            && $_->{peer} eq "127.0.0.1:$client_port"
            && $_->{state} eq 'ESTAB' } $lab->ss(undef, '-Mi');
    return $socket;
}

sub token {
    my $socket = server_socket(@_) or return;
    my ($token) = $socket->{info} =~ /\btoken:(\w+)/;
    return $token;
}

# What the expressions said, in the order of @names, MPTCP_BACKEND last.
sub values_in {
    my ($answer) = @_;
    return [map { $answer->{headers}{ lc "x-$_" } =~ /^<(.*)>$/ ? $1 : undef }
            @names, 'MPTCP_BACKEND'];
}

# What the log has of a request after its query string.
# Values of @names, without those that this kernel does not give.
sub known {
    my ($missing, @values) = @_;
    return map { $unknown{ $names[$_] } ? $missing : $values[$_] } 0 .. $#names;
}

sub logged {
    my ($id) = @_;
    my $line = $lab->wait_until(10, sub {
        open my $file, '<', $httpd->root . '/logs/values' or return;
        my ($found) = grep {/^\?\Q$id\E /} <$file>;
        return $found;
    }) or return "no line with $id in the log";
    $line =~ s/^\S+ //;
    chomp $line;
    return $line;
}

sub make_documents {
    my ($httpd) = @_;
    mkdir $httpd->docroot . "/$_" or die "$_: $!" for qw(env env/off if require);
    $httpd->write_file("$_/index.html", "document\n")
        for qw(. env env/off if require);
    for my $dir (qw(. env)) {
        script($httpd, "$dir/vars.cgi", "env\nss -HnOMi\n");
        $httpd->write_file("$dir/page.shtml",
            "page <!--#echo var=\"MPTCP_TOKEN\" -->\n"
                . "<!--#include virtual=\"included.shtml\" -->");
        $httpd->write_file("$dir/included.shtml",
            "included <!--#echo var=\"MPTCP_TOKEN\" -->\n");
    }
    my $go = $httpd->docroot . '/go';
    chmod 0777, $httpd->docroot;
    script($httpd, 'wait.cgi',
        "touch $go-started\nwhile ! test -e $go; do sleep 0.05; done\n"
            . "head -c 100000 /dev/zero\n");
    return;
}

sub script {
    my ($httpd, $name, $text) = @_;
    my $path = $httpd->write_file($name,
        "#!/bin/sh\nPATH=/bin:/usr/bin:/sbin:/usr/sbin\n"
            . "printf 'Content-Type: text/plain\\n\\n'\n$text");
    chmod 0755, $path;
    return;
}

sub make_certificate {
    require File::Temp;
    my $dir = File::Temp::tempdir(TMPDIR => 1);
    $lab->run(undef, qw(openssl req -x509 -nodes -days 2 -subj /CN=localhost
            -newkey ec -pkeyopt ec_paramgen_curve:prime256v1
            -keyout), "$dir/key.pem", '-out', "$dir/cert.pem");
    return $dir;
}
