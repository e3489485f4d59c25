# What `httpd -t` says of wrong directives: it stops, and names the directive,
# the value and what is allowed.

use strict;
use warnings;

use Test::More;
use MPTCP::Httpd;
use MPTCP::Lab;

MPTCP::Lab->enter;

my @proxy = qw(proxy proxy_http);

# --- MPTCPListen

accepted('MPTCPListen 127.0.0.1:8001');
accepted('MPTCPListen 8001');
accepted('MPTCPListen *:8001');
accepted('MPTCPListen [::1]:8001');
accepted('MPTCPListen 127.0.0.1:8001 https');
accepted("MPTCPListen 127.0.0.1:8001\nListen 127.0.0.1:8002\nMPTCPListen 8003 ftp");

my $allowed = qr/\Q[IP-address:]portnumber [protocol]\E/;
refused('MPTCPListen',                     qr/MPTCPListen takes one or two arguments: $allowed/);
refused('MPTCPListen 8001 http more',      qr/MPTCPListen takes one or two arguments: $allowed/);
refused('MPTCPListen 127.0.0.1',           qr/MPTCPListen 127\.0\.0\.1: Port must be specified .*$allowed/);
refused('MPTCPListen 127.0.0.1:port',      qr/MPTCPListen 127\.0\.0\.1:port: .*$allowed/);
refused('MPTCPListen 127.0.0.1:0',         qr/MPTCPListen 127\.0\.0\.1:0: .*$allowed/);
refused('MPTCPListen 127.0.0.1:65536',     qr/MPTCPListen 127\.0\.0\.1:65536: Invalid address or port .*$allowed/);
refused('MPTCPListen [::1:8001',           qr/MPTCPListen \[::1:8001: .*$allowed/);
refused("MPTCPListen 8001\nMPTCPListen 8001", qr/MPTCPListen 8001: 'MPTCPListen 8001' in line \d+ of \S+ is the same listener; remove one/);
refused("<VirtualHost *:80>\nMPTCPListen 8001\n</VirtualHost>",
    qr/MPTCPListen cannot occur within <VirtualHost> section/);

# --- Listen with options, in trunk's grammar

accepted('Listen 8001 options=multipathtcp');
accepted('Listen 127.0.0.1:8001 https options=multipathtcp');
refused('Listen 8001 options=freebind',
    qr/Listen option 'freebind' in 'options=freebind' is not known: allowed in this httpd is multipathtcp/);
refused('Listen 8001 http options=multipathtcp,v6only',
    qr/Listen option 'v6only' in 'options=multipathtcp,v6only'/);
refused('Listen 8001 options=multipathtcp options=freebind',
    qr/Listen option 'freebind' in 'options=multipathtcp,freebind' is not known/);
refused('Listen 8001 options=', qr/Listen 'options=' names no option: allowed/);
refused('Listen 8001 http more options=multipathtcp',
    qr/Listen takes one or two arguments: $allowed, then options=/);
refused('Listen 127.0.0.1 options=multipathtcp', qr/Listen 127\.0\.0\.1: Port must be specified/);
refused("<VirtualHost *:80>\nListen 8001 options=multipathtcp\n</VirtualHost>",
    qr/Listen (?:cannot occur within <VirtualHost>|requires)/);

# --- Server-wide switches

accepted("MPTCP${_}") for map { ("$_ On", "$_ Off") } qw(ListenDefault Fallback);
for my $directive (qw(MPTCPListenDefault MPTCPFallback)) {
    refused("$directive maybe", qr/$directive must be On or Off/);
    refused("<VirtualHost *:80>\n$directive On\n</VirtualHost>",
        qr/$directive cannot occur within <VirtualHost> section/);
}

# --- multipathtcp, and every other worker parameter

my $url = 'http://127.0.0.1:8009/';
for my $order (qw(first last)) {
    my %o = (load => \@proxy, order => $order);
    accepted("ProxyPass /a/ $url multipathtcp=On",  %o);
    accepted("ProxyPass /a/ $url multipathtcp=off", %o);
    accepted("ProxyPass /a/ $url MultipathTCP=ON timeout=5", %o);
    refused("ProxyPass /a/ $url multipathtcp=maybe",
        qr/ProxyPass multipathtcp=maybe: allowed is On or Off/, %o);
    refused("ProxyPass /a/ $url multipathtcp=",
        qr/ProxyPass multipathtcp=: allowed is On or Off/, %o);
    refused("ProxyPass /a/ $url multipath=On",
        qr/ProxyPass unknown Worker parameter/, %o);
    refused("ProxyPass /a/ $url hcmethod=GET",
        qr/ProxyPass unknown Worker parameter/, %o);

    # Passed on to mod_proxy_hcheck, which finds what is wrong itself.
    my %with = (%o, load => [@proxy, qw(proxy_balancer slotmem_shm proxy_hcheck lbmethod_byrequests)]);
    accepted("ProxyPass /a/ $url hcmethod=GET hcinterval=3 multipathtcp=On", %with);
    refused("ProxyPass /a/ $url hcmethod=NONSENSE", qr/Method must be|hcmethod|unknown/i, %with);
    refused("ProxyPass /a/ $url hcnonsense=1", qr/unknown Worker hcheck parameter/, %with);
}

# --- mod_proxy absent: the module needs nothing of it

accepted('MPTCPListen 8001', load => []);

# --- loading alone changes nothing

accepted('Listen 8001');
done_testing();

sub check {
    my ($conf, %o) = @_;
    $conf = "Listen 127.0.0.1:8000\n$conf" if $conf !~ /^(?:MPTCP)?Listen /;
    my ($status, $output) = MPTCP::Httpd->new(conf => $conf, %o)->config_test;
    return ($status, $output, $conf =~ s/\n/ | /gr . ($o{order} ? " (loaded $o{order})" : ''));
}

sub accepted {
    my ($status, $output, $name) = check(@_);
    is($status, 0, "accepted: $name") or diag $output;
    return;
}

sub refused {
    my ($conf, $message, %o) = @_;
    my ($status, $output, $name) = check($conf, %o);
    subtest "refused: $name" => sub {
        isnt($status, 0, 'exit status');
        like($output, $message, 'message');
        unlike($output, qr/exit signal|Segmentation/, 'no crash');
    };
    return;
}
