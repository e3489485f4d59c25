# Lines whose requests mod_proxy serves by its default worker, whatever they say
# of multipathtcp=: `httpd -t` says so of just those which the kernel shows to
# connect by TCP, and what it says to write helps. And MPTCPProxyDefault without
# mod_proxy.

use strict;
use warnings;

use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;
my $lab = MPTCP::Lab->new;
my @load = qw(proxy proxy_http proxy_balancer lbmethod_byrequests slotmem_shm setenvif);

# [what the line is, directory of the backend, 1: it has no effect]; bytes, not
# characters
my $uml = "\xc3\xb6";
my @lines = (
    ['ProxyPass /a/ http://127.0.0.1:81/b/ multipathtcp=On',             'b',     0],
    ["ProxyPass /a/ http://127.0.0.1:81/${uml}/ multipathtcp=On",        $uml,    1],
    ["ProxyPass /a/ http://127.0.0.1:81/${uml}/ nocanon multipathtcp=On", $uml,   0],
    ['ProxyPass /a/ "http://127.0.0.1:81/<b/" multipathtcp=On',          '<b',    1],
    ['ProxyPass /a/ "http://127.0.0.1:81/\\"b/" multipathtcp=On',        '"b',    1],
    ["ProxyPass /a/ \"http://127.0.0.1:81/'b/\" multipathtcp=On",        "'b",    0],
    ['ProxyPass /a/ "http://127.0.0.1:81/b c/" multipathtcp=On',         'b c',   1],
    ['ProxyPass /a/ "http://127.0.0.1:81/b~(c),d/" multipathtcp=On',     'b~(c),d', 0],
    ['ProxyPass /a/ http://127.0.0.1:81/b/ interpolate multipathtcp=On', 'b',     0],
    ['ProxyPass /a/ http://${BACK}/b/ interpolate multipathtcp=On',      'b',     1],
    ["<Location /a/>\nProxyPass \"http://127.0.0.1:81/b c/\" multipathtcp=On\n</Location>", 'b c', 1],
    ["<Proxy balancer://x>\nBalancerMember \"http://127.0.0.1:81/b c\" multipathtcp=On\n</Proxy>\n"
            . 'ProxyPass /a/ balancer://x/',                             'b c',   0],
    # (patterns are looked for since 2.4.47)
    ['ProxyPassMatch ^/(a/.*)$ http://127.0.0.1:81/c$1 multipathtcp=On', 'ca',
        MPTCP::Httpd::since('2.4.47') ? 0 : 1],
    ['ProxyPass ~ ^/(a/.*)$ http://127.0.0.1:81/c$1 multipathtcp=On', 'ca',
        MPTCP::Httpd::since('2.4.47') ? 0 : 1],
    ["ProxyPass /a/ \"http://127.0.0.1:81/b c/\"\n"
            . 'ProxySet "http://127.0.0.1:81/b c/" multipathtcp=On',     'b c',   1],
);
for (@lines) {
    my ($line, $dir, $expected) = @$_;
    my $conf = "ProxyPassInterpolateEnv On\nSetEnvIf Host . BACK=127.0.0.1:81\n$line\n";
    my ($is_mptcp, $said) = request($conf, $dir);
    my $name = $line =~ s/\n/ /gr =~ s/$uml/o:/r;
    is($is_mptcp, $expected ? 0 : 1, "$name: " . ($expected ? 'TCP' : 'MPTCP'));
    is(scalar(() = $said =~ /multipathtcp=On has no effect: .* by its default worker; write 'MPTCPProxyDefault On'/g),
        $expected, '... and httpd -t says ' . ($expected ? 'so' : 'nothing')) or diag $said;
    next if !$expected;
    ($is_mptcp, $said) = request("MPTCPProxyDefault On\n$conf", $dir);
    is($is_mptcp, 1, '... with MPTCPProxyDefault On it is MPTCP');
    unlike($said, qr/has no effect/, '... and nothing is said');
}

my $httpd = MPTCP::Httpd->new(conf => "Listen 80\n<VirtualHost *:80>\nMPTCPProxyDefault On\n</VirtualHost>\n");
my ($status, $said) = $httpd->config_test;
is($status, 0, 'MPTCPProxyDefault On without mod_proxy is no error');
is(scalar(() = $said =~ /MPTCPProxyDefault On has no effect: mod_proxy is not loaded/g), 1,
    '... and is said to have no effect') or diag $said;
$httpd->set_conf("Listen 80\nMPTCPProxyDefault Off\n");
unlike(($httpd->config_test)[1], qr/no effect/, '... nothing is said of Off');
done_testing();

# Was a backend's connection MPTCP, as the kernel says; and what httpd -t says.
sub request {
    my ($conf, $dir) = @_;
    my $server = MPTCP::Httpd->new(load => \@load, conf => "MPTCPListen 80\nMPTCPListen 81\n$conf");
    mkdir $server->docroot . "/$dir" or die "$dir: $!\n";
    $server->write_file("$dir/f", "document\n");
    my ($failed, $output) = $server->config_test;
    BAIL_OUT($output) if $failed;
    $server->start or BAIL_OUT($server->error_log);
    my $before = $lab->counter(undef, 'MPTcpExtMPCapableSYNTX');
    my $r = MPTCP::Client::get(host => '127.0.0.1', port => 80, path => '/a/f');
    is($r->{status}, 200, 'served');
    return ($lab->counter(undef, 'MPTcpExtMPCapableSYNTX') - $before, $output);
}
