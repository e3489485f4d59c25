# All that the module does for a request, asked for by many connections at the
# same time, in one child that has just begun: each answer is the right one and
# each connection is counted. (make check-tsan looks at the threads meanwhile.)

use strict;
use warnings;

use JSON::PP ();
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;

my $CLIENTS = 12;                        # at a time; each makes as many rounds
my $ROUNDS  = 8;

my $lab   = MPTCP::Lab->new->add_host('host');
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'host',
    load => [qw(env headers http2 status slotmem_shm proxy proxy_http proxy_connect
        proxy_balancer lbmethod_byrequests)],
    conf => <<'END');
MPTCPListen 127.0.0.1:8000
Listen 127.0.0.1:8001
MPTCPListen 127.0.0.1:8002
Listen 127.0.0.1:8003
LogLevel warn
KeepAlive Off
Protocols h2c http/1.1
<IfModule mpm_prefork_module>
    StartServers 40
    ServerLimit 60
    MaxRequestWorkers 60
</IfModule>
<IfModule !mpm_prefork_module>
    StartServers 1
    ServerLimit 1
    ThreadsPerChild 60
    MaxRequestWorkers 60
    MinSpareThreads 1
    MaxSpareThreads 60
</IfModule>
LogFormat "%{MPTCP}^mp %{MPTCP_BACKEND}^mp" v
CustomLog logs/variables v
MPTCPEnvVars On
Header set X-MPTCP "%{MPTCP}e %{MPTCP_BACKEND}e"
<Location /mptcp-status>
    SetHandler mptcp-status
</Location>
<Location /server-status>
    SetHandler server-status
</Location>
ProxyPass /mptcp/    http://127.0.0.1:8002/ multipathtcp=On disablereuse=On
ProxyPass /fallback/ http://127.0.0.1:8001/ multipathtcp=On disablereuse=On
ProxyPass /tcp/      http://127.0.0.2:8003/ disablereuse=On
ProxyPass /reused/   http://localhost:8002/ multipathtcp=On
<Proxy balancer://both>
    BalancerMember http://127.0.0.3:8002 multipathtcp=On
    BalancerMember http://127.0.0.4:8002 multipathtcp=Off
</Proxy>
ProxyPass /both/ balancer://both/
Listen 127.0.0.1:8004
<VirtualHost 127.0.0.1:8004>
    ProxyRequests On
    AllowCONNECT 8001
    MPTCPProxyDefault On
</VirtualHost>
# every address of the above, for what is reused or balanced
MPTCPListen 127.0.0.3:8002
MPTCPListen 127.0.0.4:8002
Listen 127.0.0.2:8003
END
$httpd->write_file('file', "content\n");
$httpd->start or BAIL_OUT($httpd->error_log);

# What is asked for, and what X-MPTCP is to say: of the connection, which the
# client makes by MPTCP, and of the backend's; in a tunnel the backend says it.
my @asked = (
    # first, because for this the kernel is asked what it has
    ['GET /fallback/file'            => 'on fallback'],
    ['GET /file'                     => 'on .null.'],
    ['GET /mptcp/file'               => 'on on'],
    ['GET /tcp/file'                 => 'on off'],
    ['GET /reused/file'              => 'on on'],
    ['GET /both/file'                => 'on (?:on|off)'],
    ['GET /mptcp-status'             => 'on .null.'],
    ['GET /mptcp-status?json'        => 'on .null.'],
    ['GET /mptcp-status?openmetrics' => 'on .null.'],
    ['GET /server-status?auto'       => 'on .null.'],
    ['CONNECT 127.0.0.1:8001'        => '- .null.'],
);
my $client = <<'END';
use strict;
use warnings;
use Socket;
my ($protocol, $clients, $rounds, @asked) = @ARGV;
alarm 200;
$| = 1;

# Returns all that comes, of one connection that says so.
sub ask {
    my ($what) = @_;
    my $tunnel = $what =~ /^CONNECT/;
    socket my $s, PF_INET, SOCK_STREAM, $protocol or die "socket: $!";
    connect $s, sockaddr_in($tunnel ? 8004 : 8000, INADDR_LOOPBACK) or return "connect: $!";
    my $in = '';
    syswrite $s, "$what HTTP/1.0\r\n\r\n";
    if ($tunnel) {                       # and what is asked for in it
        sysread $s, $in, 65536;
        syswrite $s, "GET /file HTTP/1.0\r\n\r\n";
    }
    1 while sysread $s, $in, 65536, length $in;
    return $in;
}

for (1 .. $clients) {
    my $pid = fork // die "fork: $!";
    next if $pid;
    for (1 .. $rounds) {
        for my $what (@asked) {
            my $answer = ask($what);
            my ($status) = $answer =~ m{^HTTP/\S+ (\d+)};
            my ($says)   = $answer =~ m{^X-MPTCP: (.*?)\r$}m;
            syswrite STDOUT, join("\t", $what, $status // $answer, $says // '') . "\n";
        }
    }
    exit;
}
1 while wait > 0;
END

my $each    = $CLIENTS * $ROUNDS;
my %answers = load(262, map { $_->[0] } @asked);
for (@asked) {
    my ($what, $says) = @$_;
    my $good = 0;
    /^200\t$says$/ and $good += $answers{$what}{$_} for keys %{ $answers{$what} };
    is($good, $each, "$what: $each are answered, and say: $says")
        or diag explain $answers{$what};
}

my $status = JSON::PP->new->decode($lab->capture('host', qw(curl -sS --max-time 30),
    'http://127.0.0.1:8001/mptcp-status?json'));
my %listener = map { $_->{address} => $_->{accepted} } @{ $status->{listeners} };
my %worker   = map { $_->{name} => $_->{connected} } @{ $status->{workers} };
is_deeply($listener{'127.0.0.1:8000'}, { mptcp => $each * (@asked - 1), fallback => 0, tcp => 0 },
    'the listener has counted them all');
is_deeply($worker{'http://127.0.0.1:8002/'}, { mptcp => $each, fallback => 0, tcp => 0 },
    'a worker has, by MPTCP');
is_deeply($worker{"$_"}, { mptcp => 0, fallback => $each, tcp => 0 }, "$_, fallen back")
    for 'http://127.0.0.1:8001/', '(others)';

# One line for each request, the proxied and those of the proxy itself.
ok($lab->wait_until(10, sub { logged('on fallback') == $each }),
    'the log has the connections that fell back') or diag logged('on fallback');

# Streams of HTTP/2: other threads, and one connection for many of them.
for my $port (8000, 8001) {
    my $says = $lab->capture('host', qw(h2load -p h2c -n 1000 -c 25 -m 40),
        "http://127.0.0.1:$port/file");
    like($says, qr/^requests: 1000 total, .* 1000 succeeded/m, "HTTP/2, port $port");
}

# Now the kernel gives no MPTCP socket, which is said once.
$lab->sysctl('host', 'net.mptcp.enabled', 0);
my $refused = 'GET /mptcp/file';
%answers = load(6, $refused);
is_deeply($answers{$refused}, { "200\toff off" => $each }, 'backends are reached by plain TCP');
my @said = $httpd->error_log =~ m{worker http://127\.0\.0\.1:8002/ connects by plain TCP}g;
is(scalar @said, 1, 'one of the threads or processes says so');
$httpd->stop;
done_testing();

# What is answered how many times: { asked => { answer => times } }
sub load {
    my ($protocol, @what) = @_;
    my %times;
    my @command = ($^X, '-e', $client, $protocol, $CLIENTS, $ROUNDS, @what);
    for (split /\n/, $lab->capture('host', @command)) {
        my ($what, $answer) = split /\t/, $_, 2;
        $times{$what}{$answer}++;
    }
    return %times;
}

sub logged {
    my ($line) = @_;
    open my $log, '<', $httpd->root . '/logs/variables' or die "variables: $!";
    return scalar grep { $_ eq "$line\n" } <$log>;
}
