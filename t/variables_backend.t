# MPTCP_BACKEND: what the connection to the backend was that served a proxied
# request. The backends of schemes other than http are small programs here.

use strict;
use warnings;

use MPTCP::Httpd;
use MPTCP::Lab;
use MPTCP::Session;
use Test::More;

MPTCP::Lab->enter;
my $lab     = MPTCP::Lab->new;
my $prefork = ($ENV{MPTCP_MPM} // 'event') eq 'prefork';

my $backend = MPTCP::Httpd->new(load => [qw(headers http2)], conf => <<'END');
MPTCPListen 127.0.0.1:9080
Listen      127.0.0.1:9081
MPTCPListen 127.0.0.1:9082
MPTCPListen 127.0.0.1:9083
Listen      127.0.0.1:9084
MPTCPListen 127.0.0.1:9095
CustomLog logs/requests "%U"
KeepAliveTimeout 60
# Which connection it was
Header always set X-Connection "expr=%{REMOTE_PORT}"
<VirtualHost 127.0.0.1:9082>
    KeepAlive Off
</VirtualHost>
<VirtualHost 127.0.0.1:9083>
    Protocols h2c http/1.1
</VirtualHost>
END
$backend->write_file($_, "document\n") for qw(index.html a check);
$backend->write_file('empty', '');
$backend->start or BAIL_OUT($backend->error_log);

my $responder = write_responder();
my %responder = (fcgi => 9090, ajp => 9091, websocket => 9092, fcgi_tcp => 9093,
    ftp => 9094);
for my $name (sort keys %responder) {
    my ($kind, $tcp) = split /_/, $name;
    $lab->spawn(undef, { err => $backend->root . '/logs/responder' }, $^X,
        $responder, $kind, $responder{$name}, $tcp ? 0 : 1);
}
for my $port (values %responder) {
    $lab->wait_until(10, sub { grep { $_->{local} eq "127.0.0.1:$port" }
            $lab->ss(undef, '-lt') }) or BAIL_OUT("no responder on $port");
}

# Workers of one host and port are one worker, with the first one's
# parameters; so the parameters that are to differ get an address each.
my $workers = <<"END";
ProxyPass /on/       http://127.0.0.1:9080/     multipathtcp=On
ProxyPass /off/      http://127.0.0.1:9084/     multipathtcp=Off
ProxyPass /fallback/ http://127.0.0.1:9081/     multipathtcp=On
ProxyPass /closing/  http://127.0.0.1:9082/     multipathtcp=On
ProxyPass /dead/     http://127.0.0.1:9/        multipathtcp=On
ProxyPass /fcgi/     fcgi://127.0.0.1:9090/     multipathtcp=On enablereuse=On
ProxyPass /fcgi-tcp/ fcgi://127.0.0.1:9093/     multipathtcp=On
ProxyPass /ajp/      ajp://127.0.0.1:9091/      multipathtcp=On
ProxyPass /ws/       http://127.0.0.1:9092/     multipathtcp=On upgrade=websocket
ProxyPass /wstunnel/ ws://127.0.0.1:9092/       multipathtcp=On
ProxyPass /ftp/      ftp://127.0.0.1:9094/      multipathtcp=On
ProxyPass /h2/       h2c://127.0.0.1:9083/      multipathtcp=On
# The lower lbset is tried first: by the first request, which finds out.
<Proxy balancer://to-tcp>
    BalancerMember http://127.0.0.1:9           multipathtcp=On lbset=0
    BalancerMember http://127.0.0.1:9084        multipathtcp=Off lbset=1
</Proxy>
ProxyPass /lb-off/ balancer://to-tcp/
<Proxy balancer://to-mptcp>
    BalancerMember http://127.0.0.1:8           multipathtcp=Off lbset=0
    BalancerMember http://127.0.0.1:9080        multipathtcp=On lbset=1
</Proxy>
ProxyPass /lb-on/ balancer://to-mptcp/
# Health checks are requests without a client.
<Proxy balancer://checked>
    BalancerMember http://127.0.0.1:9095        multipathtcp=On hcmethod=GET hcuri=/check hcinterval=1
</Proxy>
ProxyPass /checked/ balancer://checked/
<Proxy balancer://to-nothing>
    BalancerMember http://127.0.0.1:8           lbset=0
</Proxy>
ProxyPass /lb-dead/ balancer://to-nothing/
END
my @modules = qw(headers include mime proxy proxy_http proxy_fcgi proxy_ajp
    proxy_wstunnel proxy_ftp proxy_connect proxy_http2 http2 proxy_balancer
    lbmethod_byrequests slotmem_shm proxy_hcheck);
# Some distributions have it built in.
my $libexec = qx{@{[ $ENV{APXS} // 'apxs' ]} -q LIBEXECDIR 2>/dev/null};
chomp $libexec;
unshift @modules, 'watchdog' if -e "$libexec/mod_watchdog.so";

for my $order (qw(last first)) {
    my $proxy = MPTCP::Httpd->new(load => \@modules, order => $order,
        conf => <<"END");
MPTCPListen 127.0.0.1:8080
Listen 127.0.0.1:8081
MPTCPListen 127.0.0.1:8082
# One child, since each has connections of its own to the backends
ServerLimit 1
StartServers 1
@{[ $prefork ? 'MaxRequestWorkers 1' : "ThreadsPerChild 10\nMaxRequestWorkers 10\nMinSpareThreads 1\nMaxSpareThreads 10" ]}
TypesConfig /dev/null
<Directory />
    Options +Includes
    AddType text/html .shtml
    AddOutputFilter INCLUDES .shtml
</Directory>
LogFormat "%{X-Id}i %>s %{MPTCP}^mp %{MPTCP_BACKEND}^mp %{MPTCP_BACKEND}e" backend
<VirtualHost 127.0.0.1:8080>
    CustomLog logs/values backend
    MPTCPEnvVars On
    Header always set X-Env  "%{MPTCP_BACKEND}e"
    Header always set X-Expr "expr=<%{MPTCP_BACKEND}>"
    ErrorDocument 404 /error.html
    ProxyPass /error.html !
    ProxyPass /local !
    ProxyErrorOverride On 404
    AllowCONNECT 9080
    ProxyRequests On
    $workers
</VirtualHost>
<VirtualHost 127.0.0.1:8082>
    CustomLog logs/values backend
    MPTCPProxyDefault On
    AllowCONNECT 9080
    ProxyRequests On
</VirtualHost>
<VirtualHost 127.0.0.1:8081>
    CustomLog logs/values backend
    Header always set X-Env  "%{MPTCP_BACKEND}e"
    ProxyPass /on/ http://127.0.0.1:9080/ multipathtcp=On
</VirtualHost>
END
    $proxy->write_file($_, "document\n") for qw(index.html error.html local.html);
    $proxy->write_file('local.shtml', '<!--#include virtual="/on/a" -->');
    $proxy->start or BAIL_OUT($proxy->error_log);
    my $id = 0;

    # One request, of a new connection: its answer, and in it, the log and ss the same.
    my $check = sub {
        my ($path, $status, $state, $name) = @_;
        $id++;
        my $session = connection(8080);
        my $answer  = $session->exchange(join "\r\n", "GET $path HTTP/1.1",
            'Host: x', "X-Id: $id", '', '');
        is($answer->{error} || $answer->{status}, $status, "$name: status");
        my $set = $state eq '-' ? '' : $state;
        is($answer->{headers}{'x-expr'}, "<$set>", "$name: expression");
        is($answer->{headers}{'x-env'}, $set || '(null)', "$name: environment");
        $session->close;
        is(logged($proxy, $id), "$status on $state $state", "$name: log");
        return $answer;
    };

    # mod_proxy's own file: what is not proxied has none
    $check->('/local.html', 200, '-', 'not proxied');

    # Whether a connection is MPTCP is the kernel's to say.
    my @connections = map {
        $check->('/on/a', 200, 'on', "MPTCP backend, request $_")
            ->{headers}{'x-connection'}
    } 1 .. 3;
    is_deeply([@connections[1, 2]], [@connections[0, 0]],
        'the connection to the backend is the same');
    is(scalar(grep { $_->{local} eq "127.0.0.1:$connections[0]"
                && $_->{peer} eq '127.0.0.1:9080' } $lab->ss(undef, '-M')), 1,
        'and ss has it as MPTCP');
    $check->('/on/empty', 200, 'on', 'an answer without a body');
    $check->('/closing/a', 200, 'on', 'a backend that closes');
    $check->("/off/a", 200, 'off', 'TCP backend, request ' . $_) for 1, 2;
    my $before = $lab->counter(undef, 'MPTcpExtMPCapableFallbackSYNACK');
    $check->('/fallback/a', 200, 'fallback', "fallback, request $_") for 1, 2;
    is($lab->counter(undef, 'MPTcpExtMPCapableFallbackSYNACK') - $before, 1,
        'the kernel has counted a fallback');
    $check->('/on/a', 200, 'on', 'MPTCP backend again');

    # Errors and failover
    $check->('/on/missing', 404, 'on', 'an error page in place of an answer');
    $check->('/dead/', 503, '-', 'no backend');
    $check->('/lb-off/a', 200, 'off', "failover to TCP, request $_") for 1, 2;
    $check->('/lb-on/a', 200, 'on', "failover to MPTCP, request $_") for 1, 2;
    $check->('/lb-dead/', 503, '-', 'failover to nothing');

    # Other schemes
    $check->('/fcgi/', 200, 'on', "FastCGI, request $_") for 1 .. 3;
    $check->('/fcgi-tcp/', 200, 'fallback', 'FastCGI, TCP backend');
    $check->('/ajp/', 200, 'on', "AJP, request $_") for 1 .. 3;
    $check->('/ftp/a', 200, 'on', "FTP, request $_") for 1, 2;
    if (!$prefork) {    # which does not serve HTTP/2
        $check->('/h2/a', 200, 'on', "HTTP/2, request $_") for 1, 2;
    }
    my @upgrade = ('Connection: Upgrade', 'Upgrade: websocket',
        'Sec-WebSocket-Key: x', 'Sec-WebSocket-Version: 13');
    # (upgrade= is mod_proxy_http's since 2.4.47, and so is that status)
    my $modern = MPTCP::Httpd::since('2.4.47');
    for my $path ($modern ? '/ws/' : (), '/wstunnel/') {
        my $session = connection(8080);
        $id++;
        my $answer = $session->exchange(
            join "\r\n", "GET $path HTTP/1.1", 'Host: x', "X-Id: $id", @upgrade, '', '');
        is($answer->{error} || $answer->{status}, 101, "$path: upgraded");
        $session->close;
        like(logged($proxy, $id), $modern ? qr/^101 on on / : qr/^200 on on /, "$path: log");
    }
    for my $case ([8080, 'off', 'CONNECT'], [8082, 'on', 'CONNECT by default MPTCP']) {
        my ($port, $state, $name) = @$case;
        my $tunnel = connection($port);
        $id++;
        my $answer = $tunnel->exchange(join "\r\n",
            'CONNECT 127.0.0.1:9080 HTTP/1.1', 'Host: x', "X-Id: $id", '', '');
        is($answer->{error} || $answer->{status}, 200, "$name: connected");
        my $in = $tunnel->get('/index.html');
        is($in->{status}, 200, "$name: a request through the tunnel");
        is(scalar(grep { $_->{local} eq "127.0.0.1:$in->{headers}{'x-connection'}"
                    && $_->{peer} eq '127.0.0.1:9080' } $lab->ss(undef, '-M')),
            $state eq 'on' ? 1 : 0, "$name: ss has it as MPTCP or has not");
        $tunnel->close;
        like(logged($proxy, $id), qr/^200 on $state /, "$name: log");
    }

    # A subrequest is proxied, the request itself is not.
    $id++;
    my $session = connection(8080);
    is($session->get('/local.shtml', "X-Id: $id")->{body}, "document\n",
        'a page that includes a proxied one');
    is(logged($proxy, $id), '200 on - -', 'its log');
    $session->close;

    # Health checks have gone on meanwhile.
    ok($lab->wait_until(20, sub { backend_log() =~ m{^/check$}m }),
        'a health check');
    $check->('/checked/a', 200, 'on', 'a worker with health checks');

    # Where MPTCPEnvVars is off the log has it all the same.
    $session = connection(8081);
    $id++;
    is($session->get('/on/a', "X-Id: $id")->{headers}{'x-env'}, '(null)',
        'no environment without MPTCPEnvVars');
    is(logged($proxy, $id), '200 - on -', 'its log');

    # After a reload with a configuration that does not ask, and one that does
    $session->close;
    my $conf = $proxy->{conf};
    (my $silent = $conf) =~ s/^.*MPTCP_BACKEND.*\n//mg;
    $silent =~ s/^.*(?:logs\/\S+ backend|MPTCPEnvVars).*\n//mg;
    $proxy->set_conf($silent);
    ok($proxy->graceful, 'a reload with a configuration that does not ask');
    $session = connection(8080);
    is($session->get("/on/a")->{status}, 200, 'it proxies');
    $session->close;
    $proxy->set_conf($conf);
    ok($proxy->graceful, 'a reload with one that does');
    $check->('/on/a', 200, 'on', 'after the reload');
    is_deeply([MPTCP::Httpd::findings($proxy->error_log)], [], 'no child has crashed');
    $proxy->stop;
}

done_testing();

# -----------------------------------------------------------------------------

sub connection {
    my ($port) = @_;
    return MPTCP::Session->open(host => '127.0.0.1', port => $port, mptcp => 1);
}

sub logged {
    my ($proxy, $id) = @_;
    return $lab->wait_until(10, sub {
        open my $file, '<', $proxy->root . '/logs/values' or return;
        my ($found) = grep {/^$id /} <$file>;
        return if !defined $found;
        chomp $found;
        return $found =~ s/^\S+ //r;
    }) || "no line with $id in the log";
}

sub backend_log {
    open my $file, '<', $backend->root . '/logs/requests' or return '';
    local $/;
    return <$file> // '';
}

# A program that answers every request in one of four protocols, and keeps the
# connection if it may.
sub write_responder {
    my $name = "$ENV{TMPDIR}/responder.pl";
    open my $file, '>', $name or die "$name: $!\n";
    print {$file} <<'END';
use strict;
use warnings;
use Socket;

my ($kind, $port, $mptcp) = @ARGV;
$SIG{CHLD} = 'IGNORE';
socket my $listener, PF_INET, SOCK_STREAM, $mptcp ? 262 : 6 or die "socket: $!\n";
setsockopt $listener, SOL_SOCKET, SO_REUSEADDR, 1;
bind $listener, pack_sockaddr_in $port, inet_aton '127.0.0.1' or die "bind: $!\n";
listen $listener, 10 or die "listen: $!\n";
while (1) {
    accept my $socket, $listener or next;
    next if fork;
    1 while main->can($kind)->($socket);
    exit;
}

sub take {
    my ($socket, $length) = @_;
    my $data = '';
    while (length $data < $length) {
        sysread $socket, $data, $length - length $data, length $data or exit;
    }
    return $data;
}

sub fcgi {
    my ($socket) = @_;
    my $keep;
    while (1) {
        my (undef, $type, $id, $length, $padding) = unpack 'C C n n C x', take($socket, 8);
        my $content = take($socket, $length + $padding);
        $keep = (unpack 'n C', $content)[1] & 1 if $type == 1;
        next if $type != 5 || $length;
        my $answer = "Content-Type: text/plain\r\n\r\ndocument\n";
        syswrite $socket, pack('C C n n C x', 1, 6, $id, length $answer, 0) . $answer
            . pack('C C n n C x', 1, 6, $id, 0, 0) . pack('C C n n C x x8', 1, 3, $id, 8, 0);
        return $keep;
    }
}

sub ajp {
    my ($socket) = @_;
    take($socket, unpack 'x2 n', take($socket, 4));
    my $body = "document\n";
    syswrite $socket, join '', map { 'AB' . pack 'n/a', $_ }
        pack('C n n/a x n', 4, 200, 'OK', 1) . pack('n n/a x', 0xA003, length $body),
        pack('C n/a x', 3, $body), pack('C C', 5, 1);
    return 1;
}

sub ftp {
    my ($socket) = @_;
    socket my $data, PF_INET, SOCK_STREAM, 6 or die "socket: $!\n";
    bind $data, pack_sockaddr_in 0, inet_aton '127.0.0.1' or die "bind: $!\n";
    listen $data, 1 or die "listen: $!\n";
    my ($data_port) = unpack_sockaddr_in getsockname $data;
    my %reply = (USER => '331 password', PASS => '230 logged in', TYPE => '200 fine',
        PWD => '257 "/"', SIZE => '213 9', QUIT => '221 bye', CWD => '550 no directory',
        EPSV => "229 here (|||$data_port|)", MDTM => '550 no time');
    syswrite $socket, "220 ready\r\n";
    while (1) {
        my $line = '';
        $line .= take($socket, 1) while $line !~ /\n/;
        my ($command) = $line =~ /^(\w+)/;
        if ($command ne 'RETR') {
            syswrite $socket, ($reply{ uc $command } // '502 unknown') . "\r\n";
            next;
        }
        syswrite $socket, "150 it comes\r\n";
        accept my $to, $data or die "accept: $!\n";
        syswrite $to, "document\n";
        close $to;
        syswrite $socket, "226 done\r\n";
    }
}

sub websocket {
    my ($socket) = @_;
    my $head = '';
    $head .= take($socket, 1) while $head !~ /\r\n\r\n/;
    syswrite $socket, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        . "Connection: Upgrade\r\n\r\n";
    take($socket, 1) while 1;
}
END
    close $file or die "$name: $!\n";
    return $name;
}
