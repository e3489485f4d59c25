# A connection to a backend that loses all of its paths: the kernel keeps it for
# net.mptcp.close_timeout, since another path may come; a request must not wait
# for that. Everything twice, by TCP and by MPTCP: the answers are the same, and
# MPTCP's come soon.

use strict;
use warnings;

use File::Temp ();
use MPTCP::Lab;
use MPTCP::ProxyLab;
use Test::More;
use Time::HiRes qw(sleep time);

MPTCP::Lab->enter;

# What TCP does in a millisecond takes some tenths of a second, on a machine
# that has nothing else to do; close_timeout is a minute.
my $SOON = 5;

my $lab = MPTCP::ProxyLab->new(paths => 2);
my $b   = $lab->{backend};
my %port = (http => 7001, ajp => 7002, fcgi => 7003, ws => 7006, echo => 7008, mute => 7010,
    deaf => 7011, part => 7012, scgi_part => 7013, slow => 7014,
    ftp_part => 7015);
my $pid = $lab->backends(map { $port{$_} => $_ } keys %port);

# One proxy in two virtual hosts, of which each has connections of its own.
my %on = (Off => 8001, On => 8000);
my @mute = qw(http https ajp fcgi scgi uwsgi ws);
my @deaf = qw(http fcgi scgi uwsgi);
my $conf = <<'END';
Listen 127.0.0.1:8001
ProxyTimeout 30
# one pool
<IfModule mpm_prefork_module>
    StartServers 1
    MaxRequestWorkers 1
</IfModule>
END
for my $on (qw(On Off)) {
    my $p = "multipathtcp=$on";
    $conf .= "<VirtualHost 127.0.0.1:$on{$on}>\nSSLProxyEngine On\n"
        . "MPTCPProxyDefault $on\nProxyRequests On\nAllowCONNECT $port{echo}\n"
        # workers are told apart by their URLs, and must not share one here
        . join('', map {"ProxyPass /mute/$_/ $_://$b:$port{mute}/ $p\n"} @mute)
        . join('', map {"ProxyPass /deaf/$_/ $_://$b:$port{deaf}/ $p\n"} @deaf)
        . <<"END" . "</VirtualHost>\n";
ProxyPass /pool/http/ http://$b:$port{http}/ $p
ProxyPass /pool/ajp/  ajp://$b:$port{ajp}/   $p
ProxyPass /pool/fcgi/ fcgi://$b:$port{fcgi}/ $p enablereuse=On
ProxyPass /part/http/  http://$b:$port{part}/       $p
ProxyPass /part/uwsgi/ uwsgi://$b:$port{part}/      $p
ProxyPass /part/scgi/  scgi://$b:$port{scgi_part}/  $p
ProxyPass /part/ftp/   ftp://$b:$port{ftp_part}/    $p
ProxyPass /slow/ http://$b:$port{slow}/ $p
ProxyPass /h2c/  h2c://$b:7103/         $p
ProxyPass /ws/   ws://$b:$port{ws}/     $p
ProxyPass /up/   http://$b:$port{ws}/   $p upgrade=websocket
END
}
$lab->proxy($conf);

# --- A backend that was rebooted, and connections in a pool

my @pooled = qw(http ajp fcgi);
my $fill = sub {
    for my $scheme (@pooled) {
        is((ask("/pool/$scheme/x", $_))[0], 200, "$scheme, $_: a connection in the pool")
            for qw(Off On);
    }
};
$fill->();
$lab->run(undef, qw(ip -n proxy link delete), $_) for qw(c1 c2);
kill 'KILL', $pid, split ' ', $lab->run(undef, qw(ip netns pids backend));
$lab->reap($pid);
$lab->add_host('backend');
$lab->add_path($_, ['proxy', "c$_"], ['backend', "s$_"]) for 1, 2;
$pid = $lab->backends(map { $port{$_} => $_ } keys %port);
for my $scheme (@pooled) {
    alike("$scheme: a pooled connection to a backend that was rebooted",
        sub { ask("/pool/$scheme/x", $_[0]) });
    alike("$scheme: the next request", sub { ask("/pool/$scheme/x", $_[0]) }, 200);
}

# --- Reset while it was idle in the pool: there is a new one, and nobody sees it

reset_all();
for my $scheme (@pooled) {
    my $counted = $lab->counted(sub {
        alike("$scheme: reset in the pool", sub { ask("/pool/$scheme/x", $_[0]) }, 200);
    });
    is_deeply($counted, { connections => 2, mptcp => 1 }, "$scheme: by a new connection");
}

# (event: prefork serves no HTTP/2)
my $h2 = $lab->new_httpd('backend', "MPTCPListen 7103\nProtocols h2c\n", mpm => 'event');
$h2->write_file('x', "httpd\n");
$h2->start or die $h2->error_log;
is((ask('/h2c/x', $_))[0], 200, "h2c, $_: a connection in the pool") for qw(Off On);
reset_all();
alike('h2c: reset in the pool', sub { ask('/h2c/x', $_[0]) }, 200);
$h2->stop;
reset_all();

# --- Reset while a request waits for its answer, or for the rest of it

for my $what ((map {"mute/$_"} @mute), (map {"part/$_"} qw(http uwsgi scgi ftp))) {
    alike("$what: reset while it waits", sub {
        my ($on) = @_;
        my $request = start_asking("/$what/x", $on);
        return answer($request);
    });
}

# --- Reset while a request is being sent

my $file = File::Temp->new(TMPDIR => 1);
truncate $file, 64e6;
for my $scheme (@deaf) {
    alike("deaf/$scheme: reset while it sends", sub {
        my ($on) = @_;
        my $request = start_asking("/deaf/$scheme/x", $on, '-H', 'Expect:', '-T', "$file");
        return answer($request);
    });
}

# --- Tunnels: the client learns of it

# (mod_proxy's own since 2.4.47)
for my $how (MPTCP::Httpd::since('2.4.47') ? qw(connect ws up) : ()) {
    alike("a tunnel, $how", sub {
        my ($on) = @_;
        my $tunnel = tunnel($how, $on{$on});
        my $line = <$tunnel> // '';
        is($line, "hello\n", "a tunnel, $how, $on: is open");
        return answer($tunnel);
    });
}

# --- Another path in time, and the connection goes on. (Joins to the address of
# the first path, by the second one.)

$lab->limits($_, subflows => 2) for qw(proxy backend);
$lab->run(undef, qw(ip -n proxy route add 10.91.1.2 via 10.91.2.2 dev c2 table 7));
$lab->run(undef, qw(ip -n proxy rule add from 10.91.2.1 table 7));
my $counted = $lab->counted(sub {
    my $request = start_asking('/slow/x', 'On');
    sleep 0.2;
    $lab->run('backend', qw(sh -c), 'ss -K sport = :7014 >&2; exec ip -n proxy mptcp'
        . ' endpoint add 10.91.2.1 dev c2 subflow');
    my ($status) = finish($request);
    is($status, 200, 'the last path is lost and there is another: the request is answered');
});
is($counted->{mptcp}, 1, '    by the same connection');
my ($subflow) = $lab->ss('proxy', '-ti', 'dst', $b, 'dport', '=', ":$port{slow}");
like($subflow->{local}, qr/^10\.91\.2\.1\b/, '    over the other path');

unlike($lab->{httpd}->error_log, qr/mptcp:(?:error|crit)/, 'no complaint in the log');
done_testing();

# The same by TCP, then by MPTCP.  The code returns a status, and how many
# seconds the proxy took.
sub alike {
    my ($name, $code, $expected) = @_;
    my @off = $code->('Off');
    my @on  = $code->('On');
    is($off[0], $expected, "$name: TCP's status") if $expected;
    is($on[0], $off[0], "$name: MPTCP's status is TCP's");
    cmp_ok($on[1], '<', $SOON, "$name: soon");
    note sprintf '%s: TCP %s %.2f s, MPTCP %s %.2f s', $name, @off, @on;
    return;
}

# A request, begun; what is returned is to be read from.
sub start_asking {
    my ($path, $on, @more) = @_;
    local @ENV{ grep {/_proxy$/i} keys %ENV };
    my $pid = open my $request, '-|', $lab->ns('proxy'), qw(curl -q -s -o /dev/null --max-time 30
        -w), '%{http_code}', @more, "http://127.0.0.1:$on{$on}$path"
        or die "curl: $!";
    return $request;
}

# (status and curl's exit code, without the latter if it is 0; seconds)
sub finish {
    my ($request) = @_;
    my $start = time;
    local $/;
    my $said = <$request> // '';
    close $request;
    $said .= ' ' . ($? >> 8 || "signal $?") if $?;
    return ($said, time - $start);
}

sub ask { return finish(start_asking(@_)) }

# Resets all connections to backends, once there is one and it has got quiet; and
# what comes of the request.
sub answer {
    my ($request) = @_;
    my $there = $lab->wait_until(10,
        sub { grep { $_->{state} eq 'ESTAB' } $lab->ss('backend', '-tn') });
    diag('no connection to the backend') if !$there;
    sleep 0.3;
    reset_all();
    return finish($request);
}

# RSTs from the backends to the proxy, on all of their connections.
sub reset_all {
    $lab->run('backend', qw(ss -K state established));
    return;
}

# A tunnel: its first line is "hello", and then it ends when the proxy ends it.
sub tunnel {
    my ($how, $port) = @_;
    open my $tunnel, '-|', $lab->ns('proxy'), $^X, '-MIO::Socket::INET', '-e', <<'END',
my ($port, $how, $to) = @ARGV;
alarm 30;
$| = 1;
my $s = IO::Socket::INET->new("127.0.0.1:$port") or die "connect: $!";
print {$s} $how eq 'connect' ? "CONNECT $to HTTP/1.1\r\nHost: $to\r\n\r\n"
    : "GET /$how/ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n"
    . "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
while (my $line = <$s>) { last if $line =~ /^\r?\n/ }
print {$s} $how eq 'connect' ? 'hello' : pack('CCN', 0x81, 0x80 | 5, 0) . 'hello';
read $s, my $head, 2 if $how ne 'connect';
read $s, my $text, 5;
print "$text\n";
read $s, $text, 1;
print 'ended';
END
        $port, $how, "$b:$port{echo}" or die "perl: $!";
    return $tunnel;
}
