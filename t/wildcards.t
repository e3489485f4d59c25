# Wildcard listeners of one port, IPv4 and IPv6 apart: each connection belongs to
# that of its own family. (trunk has them so with options=v6only; here httpd is
# made one that was built without v4-mapped addresses.)

use strict;
use warnings;

use JSON::PP ();
use MPTCP::Faults;
use MPTCP::Lab;
use MPTCP::Session;
use Test::More;

MPTCP::Lab->enter;

my $faults = MPTCP::Faults->new(load => ['headers']);
my $lab    = $faults->lab;
# httpd binds :: after 0.0.0.0 where another listener is between them.
my $httpd  = $faults->server(<<'END_CONF');
Listen      0.0.0.0:8000
MPTCPListen 0.0.0.0:8001
MPTCPListen 0.0.0.0:8002
Listen      127.0.0.1:8003
MPTCPListen [::]:8000
MPTCPListen [::]:8001
Listen      [::]:8002
MPTCPEnvVars On
Header always set X-MPTCP "%{MPTCP}e"
<Location /mptcp-status>
    SetHandler mptcp-status
</Location>
END_CONF
$faults->set('v6only 0');
$httpd->start or BAIL_OUT($httpd->error_log);

# Port, family, the client's protocol: what the connection is.
my @cases = (
    [8000, 4, 0 => '-'],  [8000, 6, 0 => 'off'], [8000, 4, 1 => '-'], [8000, 6, 1 => 'on'],
    [8001, 4, 0 => 'off'], [8001, 6, 0 => 'off'], [8001, 4, 1 => 'on'], [8001, 6, 1 => 'on'],
    [8002, 4, 0 => 'off'], [8002, 6, 0 => '-'],  [8002, 4, 1 => 'on'], [8002, 6, 1 => '-'],
);
for my $case (@cases) {
    my ($port, $family, $mptcp, $expected) = @$case;
    my $session = connected($port, $family, $mptcp);
    is($session->get('/')->{headers}{'x-mptcp'} // '-', $expected,
        "port $port, IPv$family, a client by " . ($mptcp ? 'MPTCP' : 'TCP') . ": $expected");
    $session->close;
}

my @open = map { connected(@$_) } [8000, 4, 1], [8000, 6, 1], [8001, 4, 1], [8001, 6, 1],
    [8002, 4, 1], [8002, 6, 1];
$_->get('/') for @open;
my $status = connected(8003, 4, 0);
my $page = JSON::PP::decode_json($status->get('/mptcp-status?json')->{body});
is_deeply({ map { $_->{address} => "$_->{accepted}{mptcp} $_->{accepted}{tcp}" }
    @{ $page->{listeners} } }, { '[::]:8000' => '2 1', '0.0.0.0:8001' => '2 1',
    '[::]:8001' => '2 1', '0.0.0.0:8002' => '2 1' }, 'each is counted by its own listener');
is_deeply([sort map { $_->{listener} } @{ $page->{live}{connections} }],
    ['0.0.0.0:8001', '0.0.0.0:8002', '[::]:8000', '[::]:8001'], '... and listed with it');
is($page->{live}{tcp}, 0, '... and with no plain listener');

$httpd->stop;
done_testing;

sub connected {
    my ($port, $family, $mptcp) = @_;
    return MPTCP::Session->open(lab => $lab, ns => 'host', port => $port, mptcp => $mptcp,
        host => $family == 6 ? '::1' : '127.0.0.1');
}
