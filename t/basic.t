# Listening and proxying over the Apache::Test server, as t/conf/extra.conf.in
# configures it. Whether a connection is MPTCP is asked of the kernel: of its
# counters, and of the client's socket.
#
# Client and server are in one network namespace, so one MPTCP connection
# raises the counters of both sides. Nothing else in there speaks MPTCP, so
# every difference is exact.

use strict;
use warnings;

use Apache::Test ();
use MPTCP::Client;
use MPTCP::Lab;
use Test::More;

my $config = Apache::Test::config();
my $vars   = $config->{vars};
my $ipv6   = grep { $_ eq 'IPV6' } split ' ', $vars->{defines};
my $lab    = MPTCP::Lab->new;

# What one connection adds, by the kinds of connection there are.
my @counted = qw(MPCapableSYNTX MPCapableSYNRX MPCapableSYNACKRX
    MPCapableACKRX MPCapableFallbackSYNACK MPCapableFallbackACK);
my %mptcp    = (MPCapableSYNTX => 1, MPCapableSYNRX => 1,
    MPCapableSYNACKRX => 1, MPCapableACKRX => 1);
my %fallback = (MPCapableSYNTX => 1, MPCapableFallbackSYNACK => 1);
my %tcp      = ();

# --- Listening sockets

my %expected = (
    "127.0.0.1:$vars->{v4_port}"      => 'MPTCPListen address:port',
    "*:$vars->{any_port}"             => 'MPTCPListen port',
    "127.0.0.1:$vars->{backend_port}" => 'MPTCPListen of the backend',
    $config->{modules}{'mod_ssl.c'}
        ? ("127.0.0.1:$vars->{tls_port}" => 'MPTCPListen address:port https')
        : (),
    $ipv6 ? ("[::1]:$vars->{v6_port}" => 'MPTCPListen [address]:port') : (),
);
my @listening = map { $_->{local} =~ s/^(?:\[::\]|0\.0\.0\.0):/*:/r }
    $lab->ss(undef, '-lM');
is_deeply([sort @listening], [sort keys %expected],
    'the MPTCP listeners are those of MPTCPListen');
ok((grep { $_->{local} eq "127.0.0.1:$vars->{port}" } $lab->ss(undef, '-lt')),
    'Listen has opened its port');

listener('MPTCPListen address:port', host => '127.0.0.1', port => $vars->{v4_port});
listener('MPTCPListen port, IPv4',   host => '127.0.0.1', port => $vars->{any_port});

SKIP: {
    skip 'this kernel has no IPv6', 2 if !$ipv6;
    listener('MPTCPListen [address]:port', host => '::1', port => $vars->{v6_port});
    listener('MPTCPListen port, IPv6',     host => '::1', port => $vars->{any_port});
}

SKIP: {
    skip 'no mod_ssl', 2 if !$config->{modules}{'mod_ssl.c'};
    my $before = $lab->counters;
    my ($status, $body) = $lab->try(undef, qw(mptcpize run curl -sS --fail
        --max-time 30 --noproxy * --cacert), "$vars->{t_conf}/tls/cert.pem",
        "https://127.0.0.1:$vars->{tls_port}/index.html");
    is($status, 0, 'MPTCPListen address:port https: MPTCP client gets an answer')
        or diag($body);
    added($before, \%mptcp, 'MPTCPListen address:port https: MPTCP client');
}

my $result = request(\%fallback, 'Listen: MPTCP client',
    port => $vars->{port}, mptcp => 1);
ok($result->{fallback}, "Listen: the client's socket says it fell back");
request(\%tcp, 'Listen: TCP client', port => $vars->{port});

# --- mod_proxy. The client is plain TCP, on the plain listener: what is
# counted is the connection to the backend.

request(\%mptcp, "multipathtcp=On, request $_", path => '/mp/index.html')
    for 1 .. 3;
request(\%tcp, 'no multipathtcp',  path => '/tcp/index.html');
request(\%tcp, 'multipathtcp=Off', path => '/off/index.html');
request(\%mptcp, 'multipathtcp=On after the others', path => '/mp/index.html');
request(\%fallback, 'multipathtcp=On, the backend is TCP',
    path => '/mp-to-tcp/index.html');

# mod_proxy_hcheck has got its parameters: it sends the request they say.
request(\%tcp, 'a balancer with health checks', path => '/lb/index.html');
ok($lab->wait_until(20, sub { log_has(qr{"GET /lb/+health HTTP}) }),
    "the health checks are made as hcmethod, hcuri and hcinterval say");

done_testing();

# An MPTCP listener serves MPTCP clients by MPTCP, and others as ever.
sub listener {
    my ($name, %where) = @_;
    my $result = request(\%mptcp, "$name: MPTCP client", %where, mptcp => 1);
    ok($result->{is_mptcp}, "$name: the client's socket says it is MPTCP");
    request(\%tcp, "$name: TCP client", %where);
    return;
}

# Two tests: the request succeeds, and it raises the counters as it should.
sub request {
    my ($adds, $name, %options) = @_;
    my $before = $lab->counters;
    my $result = MPTCP::Client::get(
        host => '127.0.0.1', port => $vars->{port}, path => '/index.html',
        keep => 1, timeout => 30, %options);
    is($result->{error} || "$result->{status} " . ($result->{body} // ''),
        "200 mod_mptcp test document\n", "$name: gets the document");
    added($before, $adds, $name);
    return $result;
}

sub added {
    my ($before, $adds, $name) = @_;
    my $after = $lab->counters;
    my %added = map { ($_ => $after->{"MPTcpExt$_"} - $before->{"MPTcpExt$_"}) }
        @counted;
    return is_deeply(\%added, { (map { ($_ => 0) } @counted), %$adds },
        "$name: the kernel's counters");
}

sub log_has {
    my ($pattern) = @_;
    open my $log, '<', "$vars->{t_logs}/access_log" or return 0;
    return scalar grep { $_ =~ $pattern } <$log>;
}
