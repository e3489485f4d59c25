# Every scheme that mod_proxy's packaged modules have connects by MPTCP where
# multipathtcp=On, and by TCP where not. Each backend listens by MPTCP; what is
# counted is in the kernel: SYNs with MP_CAPABLE, and connections.

use strict;
use warnings;

use MPTCP::Lab;
use MPTCP::ProxyLab;
use Test::More;

MPTCP::Lab->enter;

my $lab = MPTCP::ProxyLab->new;
my $b   = $lab->{backend};

# --- Backends: a few lines of Perl for each protocol, and an httpd where there
# is TLS or HTTP/2.

my %port = (http => 7001, ajp => 7002, fcgi => 7003, scgi => 7004, uwsgi => 7005,
    ws => 7006, ftp => 7007, echo => 7008, https => 7101, h2 => 7102, h2c => 7103);
$lab->backends(map { $port{$_} => $_ } qw(http ajp fcgi scgi uwsgi ws ftp echo));

# event: prefork serves no HTTP/2
my $backend = $lab->new_httpd('backend', undef, mpm => 'event');
my ($key, $cert) = map { $backend->root . "/$_.pem" } qw(key cert);
$lab->run(undef, qw(openssl req -x509 -nodes -days 2 -subj /CN=backend -newkey ec
    -pkeyopt ec_paramgen_curve:prime256v1 -keyout), $key, '-out', $cert);
$backend->write_file('x', "httpd\n");
my $tls = "SSLEngine On\nSSLCertificateFile $cert\nSSLCertificateKeyFile $key";
$backend->set_conf(<<"END");
MPTCPListen $port{https} https
MPTCPListen $port{h2} https
MPTCPListen $port{h2c}
<VirtualHost *:$port{https}>
    $tls
    # wss: this server takes the TLS off
    ProxyPass /ws ws://127.0.0.1:$port{ws}/ws
</VirtualHost>
<VirtualHost *:$port{h2}>
    $tls
    Protocols h2
</VirtualHost>
<VirtualHost *:$port{h2c}>
    Protocols h2c
</VirtualHost>
END
$backend->start or die $backend->error_log;

# --- The proxy: all schemes twice, on port 8000 with On and on 8001 with Off

my $passes = sub {
    my ($on) = @_;
    my $p = "multipathtcp=$on";
    return <<"END";
    SSLProxyEngine On
    SSLProxyVerify none
    SSLProxyCheckPeerName Off
    SSLProxyCheckPeerExpire Off
    ProxyPass /http/  http://$b:$port{http}/  $p disablereuse=On
    ProxyPass /https/ https://$b:$port{https}/ $p disablereuse=On
    ProxyPass /h2/    h2://$b:$port{h2}/      $p disablereuse=On
    ProxyPass /h2c/   h2c://$b:$port{h2c}/    $p disablereuse=On
    ProxyPass /ajp/   ajp://$b:$port{ajp}/    $p disablereuse=On
    ProxyPass /fcgi/  fcgi://$b:$port{fcgi}/  $p
    ProxyPass /scgi/  scgi://$b:$port{scgi}/  $p
    ProxyPass /uwsgi/ uwsgi://$b:$port{uwsgi}/ $p
    ProxyPass /ws/    ws://$b:$port{ws}/      $p
    ProxyPass /wss/   wss://$b:$port{https}/  $p
    ProxyPass /up/    http://$b:$port{ws}/    $p upgrade=websocket
    ProxyPass /ftp/   ftp://$b:$port{ftp}/    $p
END
};
my $conf = "Listen 127.0.0.1:8001\n";
for ([8000, 'On'], [8001, 'Off']) {
    my ($port, $on) = @$_;
    $conf .= "<VirtualHost 127.0.0.1:$port>\n" . $passes->($on) . "</VirtualHost>\n";
}
$lab->proxy($conf);

my %answer = (https => "httpd\n", h2 => "httpd\n", h2c => "httpd\n", fcgi => "fcgi\n");
for my $scheme (qw(http https h2 h2c ajp fcgi scgi uwsgi)) {
    for ([8000, 'On'], [8001, 'Off']) {
        my ($port, $on) = @$_;
        my ($status, $body);
        my $counted = $lab->counted(
            sub { ($status, $body) = $lab->request("http://127.0.0.1:$port/$scheme/x") });
        is($status, 200, "$scheme $on: is answered") or diag(substr $lab->logged, -3000);
        like($body, $answer{$scheme} ? qr/^\Q$answer{$scheme}\E$/ : qr{^$scheme .*/x$},
            "$scheme $on: by the backend");
        is_deeply($counted, { connections => 1, mptcp => $on eq 'On' ? 1 : 0 },
            "$scheme $on: " . ($on eq 'On' ? 'MPTCP' : 'TCP'));
    }
}

# --- WebSockets: by mod_proxy_wstunnel, over TLS, and by mod_proxy_http

# (upgrade= is mod_proxy_http's since 2.4.47)
for my $scheme (qw(ws wss), MPTCP::Httpd::since('2.4.47') ? 'up' : ()) {
    for ([8000, 'On'], [8001, 'Off']) {
        my ($port, $on) = @$_;
        my $text;
        my $counted = $lab->counted(sub { $text = websocket($port, "/$scheme/ws") });
        is($text, 'hello', "$scheme $on: a WebSocket is echoed")
            or diag(substr $lab->logged, -3000);
        # the backend of wss connects to the one behind it as well
        is_deeply($counted, { connections => $scheme eq 'wss' ? 2 : 1,
            mptcp => $on eq 'On' ? 1 : 0 },
            "$scheme $on: " . ($on eq 'On' ? 'MPTCP' : 'TCP'));
    }
}

# --- FTP: the control connection is the worker's; the data connection is made
# by mod_proxy_ftp itself, and stays TCP.

for ([8000, 'On', 1], [8001, 'Off', 0]) {
    my ($port, $on, $mptcp) = @$_;
    my ($status, $body);
    my $counted = $lab->counted(
        sub { ($status, $body) = $lab->request("http://127.0.0.1:$port/ftp/x") });
    is("$status $body", "200 ftp\n", "ftp $on: is answered") or diag(substr $lab->logged, -3000);
    is_deeply($counted, { connections => 2, mptcp => $mptcp },
        "ftp $on: control and data, $mptcp of them MPTCP");
}

done_testing();

# Sends 'hello' in a WebSocket frame; returns what comes back.
sub websocket {
    my ($port, $path) = @_;
    my ($status, $output) = $lab->try('proxy',
        $^X, '-MIO::Socket::INET', '-e', <<'END', $port, $path);
my ($port, $path) = @ARGV;
alarm 20;
my $s = IO::Socket::INET->new("127.0.0.1:$port") or die "connect: $!";
print {$s} "GET $path HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n",
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
my $status = <$s>;
while (my $line = <$s>) { last if $line =~ /^\r?\n/ }
$status =~ / 101 / or do { print $status; exit };
print {$s} pack('CCN', 0x81, 0x80 | 5, 0), 'hello';
read $s, my $head, 2;
read $s, my $text, ord(substr $head, 1) & 0x7f;
print $text;
END
    return $output;
}
