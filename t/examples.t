# conf/examples: every example, and every line that multipath.conf offers, passes
# `httpd -t`, does in the laboratory what it is there for, as the kernel counts,
# and leaves httpd able to start when the module is gone. Every block of
# configuration in the manual passes `httpd -t`.
#
# 192.0.2.0/24 of the documentation is path 1, 198.51.100.0/24 is path 2.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;

my $top  = dirname(dirname(abs_path(__FILE__)));
my @load = qw(mime env setenvif headers alias rewrite status authz_host
    proxy proxy_http proxy_connect proxy_balancer lbmethod_byrequests slotmem_shm
    proxy_hcheck ssl socache_shmcb);

# For the example with TLS, where it looks for them here.
my $said = qx{openssl req -x509 -nodes -days 2 -subj /CN=www.example.com -newkey ec \\
    -pkeyopt ec_paramgen_curve:prime256v1 -keyout '$ENV{TMPDIR}/privkey.pem' \\
    -out '$ENV{TMPDIR}/fullchain.pem' 2>&1};
$? == 0 or die "openssl: $said\n";

my %example = map { (basename($_, '.conf') => slurp($_)) } glob "$top/conf/examples/*.conf";

# --- multipath.conf

my $shipped = $example{multipath};
unlike($shipped, qr/^(?!<\/?IfModule)[^#\n]/m, 'multipath.conf: no line is in force');
my $offered = $shipped =~ s/^#(?=MPTCP|GlobalLog|<|    )//gmr;
isnt($offered, $shipped, 'multipath.conf: lines are offered');
$example{multipath} = $offered;

# --- Without the module, as after its removal

# which knows some of what the module brings to others
my $is_trunk = MPTCP::Httpd::since('2.5');

for my $name (sort keys %example) {
    my ($status, $output) = checked(example($name, 'lo'), module => 0);
    if ($name eq 'trunk-options' && !$is_trunk) {
        like($output, qr/ProxyPass unknown Worker (?:hcheck )?parameter/,
            "$name.conf does not survive, as the manual says");
        next;
    }
    is($status, 0, "$name.conf passes httpd -t without the module") or diag $output;
}
# What the manual says of single lines.
my %survives = (
    'Listen 80 options=multipathtcp'        => 1,
    'Listen 443 https options=multipathtcp' => $is_trunk ? 1 : 0,
    'MPTCPListen 80'                        => 0,
    "Listen 80\n<IfModule mptcp_module>\nMPTCPListen 80\n</IfModule>" => 1,
    'LogFormat "%{MPTCP}^mp" words'         => 0,
    'Header set X-MPTCP "expr=%{MPTCP}"'    => 0,
    'ProxyPass / http://127.0.0.1:81/ multipathtcp=On' => $is_trunk ? 1 : 0,
);
for my $line (sort keys %survives) {
    my $name = $line =~ s/\n/; /gr;
    my ($status, $output) = checked($line);
    is($status, 0, "with the module: $name") or diag $output;
    ($status) = checked($line, module => 0);
    is($status == 0 ? 1 : 0, $survives{$line}, "... and without it");
}

# --- The manual

for my $page ('README.md', map {"docs/$_"} map { basename($_) } glob "$top/docs/*.md") {
    my $number = 0;
    my $text   = slurp("$top/$page");
    while ($text =~ /^```apache\n(.*?)^```$/msg) {
        # certificates are elsewhere here
        passes("$page, block " . ++$number, $1 =~ s{/etc/ssl/www\.example\.com}{$ENV{TMPDIR}}gr);
    }
}

# --- The examples

my $lab = MPTCP::Lab->two_paths(rate => '50mbit');
my $size = 2_000_000;
my %run  = (
    'mobile-downloads' => \&mobile_downloads,
    'multipath'        => sub { announced('multipath') },
    'two-uplinks'      => sub { announced('two-uplinks') },
    # t/path_manager_nat.t has the router for it
    'cloud'            => sub { passes('cloud.conf', example('cloud', 's2')) },
    'tls-virtual-host' => \&tls_virtual_host,
    'load-balancer'    => \&load_balancer,
    'reverse-proxy'    => \&reverse_proxy,
    'status'           => \&status,
    'trunk-options'    => \&trunk_options,
);
is_deeply([sort keys %run], [sort keys %example], 'every example is run');
for my $name (sort keys %run) {
    reset_paths();
    $run{$name}->();
}
done_testing();

sub slurp {
    my ($file) = @_;
    open my $fh, '<', $file or die "$file: $!\n";
    local $/;
    return scalar <$fh>;
}

sub passes {
    my ($what, $conf) = @_;
    my ($status, $output) = checked($conf);
    is($status, 0, "$what passes httpd -t") or diag $output;
    return;
}

# `httpd -t`, with whatever a fragment takes to be a whole configuration:
# (status, output).
sub checked {
    my ($conf, %o) = @_;
    my $listen = $conf =~ /^\s*(?:MPTCP)?Listen\s/m ? '' : "Listen 80\n";
    my $httpd = MPTCP::Httpd->new(load => \@load, conf => "$listen$conf", %o);
    return $httpd->config_test;
}

# An example, with the laboratory's addresses and devices.
sub example {
    my ($name, $device) = @_;
    my $conf = $example{$name};
    $conf =~ s/\b192\.0\.2\./10.91.1./g;
    $conf =~ s/\b198\.51\.100\./10.91.2./g;
    $conf =~ s/\beth1\b/$device/g;
    $conf =~ s{/etc/ssl/www\.example\.com}{$ENV{TMPDIR}}g;
    return $conf;
}

sub serve {
    my ($name, $ns, $conf, %o) = @_;
    passes("$name.conf", $conf);
    # the kernel refuses joins of a connection whose end is in the buffer
    my $httpd = MPTCP::Httpd->new(lab => $lab, ns => $ns, load => \@load,
        conf => "SendBufferSize 262144\n$conf");
    $httpd->write_file('file', 'x' x $size);
    ok($httpd->start, "$name.conf: httpd starts") or diag $httpd->error_log;
    my @warnings = grep { !$o{warns} || !/$o{warns}/ }
        $httpd->error_log =~ /\[mptcp:(?:warn|error)\].*/g;
    is_deeply(\@warnings, [], '... and warns of nothing');
    return $httpd;
}

# As after boot; what clients are set to is not the server's affair.
sub reset_paths {
    for my $ns (qw(client server)) {
        $lab->run(undef, 'ip', '-n', $ns, 'mptcp', 'endpoint', 'flush');
        $lab->limits($ns, subflows => 2, add_addr_accepted => 0);
        $lab->sysctl($ns, 'net.mptcp.allow_join_initial_addr_port', 1);
    }
    return;
}

# A download by MPTCP uses both paths.
sub uses_both {
    my ($name, %request) = @_;
    my $joined = $lab->counter('server', 'MPTcpExtMPJoinAckRx');
    my $second = ($lab->device_bytes('server', 's2'))[1];
    my $r = MPTCP::Client::get(lab => $lab, ns => 'client', port => 80, mptcp => 1,
        path => '/file', host => '10.91.1.2', %request);
    is($r->{error} . $r->{status}, 200, "$name.conf: served");
    is($r->{bytes}, $size, '... whole');
    cmp_ok($lab->counter('server', 'MPTcpExtMPJoinAckRx') - $joined, '>=', 1,
        '... a second path is joined');
    cmp_ok(($lab->device_bytes('server', 's2'))[1] - $second, '>', $size / 5,
        '... and has a part of the bytes');
    return $r;
}

sub announced {
    my ($name) = @_;
    my $httpd = serve($name, 'server', "Listen 80\n" . example($name, 's2'));
    $lab->limits('client', add_addr_accepted => 2);
    uses_both($name);
    return $httpd;
}

sub load_balancer {
    $lab->sysctl('server', 'net.mptcp.allow_join_initial_addr_port', 0);
    announced('load-balancer');
    return;
}

# The server's one address is that of path 1; the client's second address
# reaches it by path 2.
sub mobile_downloads {
    my $httpd = serve('mobile-downloads', 'server',
        "Listen 80\n" . example('mobile-downloads'),
        warns => qr/clients learn of no second address/);
    $lab->endpoint('client', '10.91.2.1', 'dev', 'c2', 'subflow');
    $lab->run('client', qw(ip route add default via 10.91.2.2 dev c2 table 100));
    $lab->run('client', qw(ip rule add from 10.91.2.1 table 100));
    uses_both('mobile-downloads');
    works_as_the_readme_checks();
    return;
}

# "Check that it works", as it stands there.
sub works_as_the_readme_checks {
    my ($check) = slurp("$top/README.md") =~ /^## Check that it works\n.*?^```sh\n(.*?)^```/ms;
    my $said = $lab->capture('server', 'sh', '-ec', "unset http_proxy\n$check");
    like($said, qr/^LISTEN .*:80 /m, 'README: the listener is there');
    my ($before, $after) = $said =~ /^MPTcpExtMPCapableACKRX +(\d+)/mg;
    is($after, $before + 1, '... and takes a client by MPTCP');
    return;
}

# The client's host is the proxy's; whoever asks it speaks TCP.
sub reverse_proxy {
    my $backend = announced('two-uplinks');
    $lab->hosts(<<'END');
127.0.0.1 localhost
10.91.1.2 backend.example.com
10.91.2.2 backend.example.com
END
    my $proxy   = serve('reverse-proxy', 'client', "Listen 80\n" . example('reverse-proxy'));
    uses_both('reverse-proxy', host => '127.0.0.1', mptcp => 0, path => '/app/file');
    return;
}

# From this host alone, and it tells of the listener.
sub status {
    # a virtual host that passes on all there is
    my $httpd = serve('status', 'server', "MPTCPListen 80\n" . example('status')
            . "<VirtualHost *:80>\nProxyPass / http://127.0.0.1:9/\n</VirtualHost>\n",
        warns => qr/clients learn of no second address/);
    my %page = map {
        ($_->[0] => MPTCP::Client::get(lab => $lab, ns => $_->[0], port => 80, keep => 1,
            host => $_->[1], path => '/mptcp-status?json'))
    } [server => '127.0.0.1'], [client => '10.91.1.2'];
    is($page{server}{status}, 200, 'status.conf: there for this host');
    like($page{server}{body}, qr/"address": *"\[::\]:80"/, '... with the listener');
    is($page{client}{status}, 403, '... and not for another');
    return;
}

# A client with TLS, which its users have.
sub tls_virtual_host {
    my $httpd = serve('tls-virtual-host', 'server', example('tls-virtual-host'),
        warns => qr/clients learn of no second address/);
    my $before = $lab->counter('server', 'MPTcpExtMPCapableACKRX');
    my $bytes  = $lab->capture('client', qw(mptcpize run curl -k -sS --noproxy * -o /dev/null
        -w %{size_download} https://10.91.1.2/file));
    is($bytes, $size, 'tls-virtual-host.conf: served by TLS');
    is($lab->counter('server', 'MPTcpExtMPCapableACKRX') - $before, 1, '... and MPTCP');
    return;
}

sub trunk_options {
    my $httpd = serve('trunk-options', 'server', example('trunk-options'),
        warns => qr/clients learn of no second address|no connection to a backend gets a second/);
    my $before = $lab->counter('server', 'MPTcpExtMPCapableACKRX');
    my $r = MPTCP::Client::get(lab => $lab, ns => 'client', port => 80, mptcp => 1,
        path => '/file', host => '10.91.1.2');
    is($r->{status}, 200, 'trunk-options.conf: served');
    is($lab->counter('server', 'MPTcpExtMPCapableACKRX') - $before, 1, '... by MPTCP');
    # its backend is itself
    $r = MPTCP::Client::get(lab => $lab, ns => 'client', port => 80,
        path => '/app/file', host => '10.91.1.2');
    is($r->{status}, 200, '... and as a proxy');
    is($lab->counter('server', 'MPTcpExtMPCapableACKRX') - $before, 2, '... by MPTCP');
    return;
}
