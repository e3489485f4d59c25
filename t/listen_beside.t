# A Listen line beside an MPTCPListen line of the same address and port: one
# listener, and it is MPTCP.  (Debian's ports.conf has such lines, and what
# gets certificates adds them.)

use strict;
use warnings;

use Test::More;
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->two_paths(paths => 1);
my $address  = $lab->address('server', 1);
my $address6 = $lab->address6('server', 1);
$lab->hosts("$address many\n$address6 many\n127.0.0.1 localhost\n");

# --- Whatever the order, the file and the address

my $dir = MPTCP::Httpd->new(lab => $lab);        # for what is included
my $ports   = $dir->write_file('ports.conf', "Listen 80\nListen 81\n");
my $certbot = $dir->write_file('ssl.conf', <<'END');
<IfModule mod_ssl.c>
    Listen 443
</IfModule>
<IfModule mod_gnutls.c>
    Listen 443
</IfModule>
END
my $mptcp   = $dir->write_file('mptcp.conf', "MPTCPListen 443\n");

listens('Listen, then MPTCPListen', "Listen 80\nMPTCPListen 80\n", ['*:80']);
listens('MPTCPListen, then Listen', "MPTCPListen 80\nListen 80\n", ['*:80']);
listens('Listen is in a file before', "Include $ports\nMPTCPListen 80\n", ['*:80'], tcp => ['*:81']);
listens('Listen is in a file after',  "MPTCPListen 80\nInclude $ports\n", ['*:80'], tcp => ['*:81']);
listens('each in a file, one more port', "Include $ports\nInclude $mptcp\nInclude $certbot\n", ['*:443'],
    load => ['ssl'], tcp => ['*:80', '*:81']);
listens('... the other way round', "Include $certbot\nInclude $mptcp\nListen 80\n", ['*:443'],
    load => ['ssl'], tcp => ['*:80']);
listens('explicit addresses', <<"END", ["$address:80", "[$address6]:80"]);
Listen $address:80
MPTCPListen [$address6]:80
MPTCPListen $address:80
Listen [$address6]:80
END
listens('other addresses stay what they are', <<"END", ["$address:80", '*:81'], tcp => ["[$address6]:80", "$address:82"]);
MPTCPListen $address:80
Listen [$address6]:80
Listen $address:82
Listen 81
MPTCPListen 81
END
listens('* and nothing are one', "Listen *:80\nMPTCPListen 80\nMPTCPListen *:81\nListen 81\n",
    ['*:80', '*:81']);
listens('a name of several addresses', "Listen many:80\nMPTCPListen many:80\n",
    ["$address:80", "[$address6]:80"]);
listens('trunk\'s spelling', <<'END', ['*:80', '*:81']);
Listen 80 options=multipathtcp
Listen 80
listen 81
LISTEN 81 Options=multipathtcp
END
listens('MPTCPListenDefault', "MPTCPListenDefault On\nListen 80\nMPTCPListen 80\nListen 81\n",
    ['*:80', '*:81']);
listens('within IfModule, IfDefine and Use', <<"END", ['*:80', '*:81', '*:82'], load => ['macro']);
<Macro Two \$port>
    Listen \$port
    MPTCPListen \$port
</Macro>
<IfModule mod_mptcp.c>
    MPTCPListen 80
    <IfDefine !NONSENSE>
        MPTCPListen 81
    </IfDefine>
</IfModule>
<IfModule unixd_module>
    Listen 80
    Listen 81
</IfModule>
Use Two 82
<IfModule !mod_mptcp.c>
    MPTCPListen 80
    Listen 80
</IfModule>
END
listens('the IPv4 wildcard beside that of both, which takes its place',
    "Listen 80\nMPTCPListen 0.0.0.0:80\nListen [::]:81\nMPTCPListen 0.0.0.0:81\n"
        . "MPTCPListen 0.0.0.0:82\nListen [::]:82\n", ['*:80', '*:81', '*:82']);

# The line that stays serves when the module has gone.
{
    my $conf = "<IfModule mod_mptcp.c>\nMPTCPListen 80\n</IfModule>\nListen 80\n";
    my $httpd = started($conf, module => 0);
    is_deeply([locals('-tl')], ['*:80'], 'without the module it is a Listen line');
    is_deeply([locals('-lM')], [], '... by TCP');
    $httpd->stop;
    $httpd = started($conf);
    is_deeply([locals('-lM')], ['*:80'], '... and by MPTCP with it');
    my $r = MPTCP::Client::get(lab => $lab, ns => 'client', host => $address, port => 80,
        path => '/file', mptcp => 1);
    is("$r->{error}$r->{status} mptcp=$r->{is_mptcp}", '200 mptcp=1', '... which serves');
}

# --- The protocol that one of them names

for my $lines ('Listen 8443 https|MPTCPListen 8443', 'MPTCPListen 8443|Listen 8443 https',
    'MPTCPListen 8443 HTTPS|Listen 8443', 'MPTCPListen 8443 https|Listen 8443 HTTPS',
    'Listen 8443|Listen 8443 https options=multipathtcp', 'MPTCPListen 8443 https')
{
    # What core does with a listener's protocol is to look for its AcceptFilter.
    my $trace = File::Temp->new;
    my $httpd = started("AcceptFilter http none\nAcceptFilter https data\n" . ($lines =~ s/\|/\n/r) . "\n",
        # -D: the process that was started is httpd, which ends when it is told to
        before => [qw(strace -D -qq -e trace=setsockopt -o), "$trace"]);
    $httpd->stop;
    my $set = $lab->wait_until(10, sub {
        seek $trace, 0, 0;
        return scalar grep { /TCP_DEFER_ACCEPT, \[30\]/ } <$trace>;
    });
    cmp_ok($set, '>', 0, "$lines: core takes it for https");
}

# --- What stays an error, with both places

my $second = $dir->write_file('second.conf', "\n\nMPTCPListen *:80\n");
refused("MPTCPListen 80\nListen 81\nMPTCPListen 80\n",
    qr/Syntax error on line \d+ of .*httpd\.conf:\nMPTCPListen 80: .*'MPTCPListen 80' .*line \d+ of \S*httpd\.conf/);
refused("MPTCPListen 80\nInclude $second\n",
    qr/Syntax error on line 3 of .*second\.conf:\nMPTCPListen \*:80: .*'MPTCPListen 80' .*line \d+ of \S*httpd\.conf/);
refused("Include $second\nListen 80 options=multipathtcp\n",
    qr/Syntax error on line \d+ of .*httpd\.conf:\nListen 80 options=multipathtcp: .*'MPTCPListen \*:80' .*line 3 of \S*second\.conf/);
refused("Include $second\nListen 80\nListen 80\n",
    qr/Syntax error on line \d+ of .*httpd\.conf:\nListen 80: .*'Listen 80' .*line \d+ of \S*httpd\.conf/);
refused("Listen 80 http\nMPTCPListen 80 https\n",
    qr/Syntax error on line \d+ of .*httpd\.conf:\nListen 80 http: .*'MPTCPListen 80 https' .*line \d+ of \S*httpd\.conf.*protocol/);
refused("MPTCPListen 80 https\nListen 80 http\n",
    qr/Syntax error on line \d+ of .*httpd\.conf:\nListen 80 http: .*'MPTCPListen 80 https' .*line \d+ of \S*httpd\.conf.*protocol/);
refused("Listen 80\nListen 80\nMPTCPListen 81\n", qr/Cannot define multiple Listeners on the same IP:port/);

# --- A reload finds the listener again, whichever line made it

{
    my $httpd = started("Listen 80\nMPTCPListen 80\n");
    my $inode = sub { return join ' ', map { $_->{info} =~ /ino:(\d+)/ } $lab->ss('server', '-lMe') };
    my $before = $inode->();
    for my $conf ("MPTCPListen 80\nListen 80\n", "MPTCPListen 80\n", "Listen 80 options=multipathtcp\nListen 80\n") {
        $httpd->set_conf($conf);
        ok($httpd->graceful, 'a reload with ' . $conf =~ s/\n/ | /gr);
        is_deeply([locals('-lM')], ['*:80'], '... is MPTCP');
        is($inode->(), $before, '... and the same socket');
    }
    $httpd->set_conf("Listen 80\n");
    ok($httpd->graceful, 'the plain line alone');
    my $r = MPTCP::Client::get(lab => $lab, ns => 'client', host => $address, port => 80,
        path => '/file', mptcp => 1);
    is("$r->{error}$r->{status} mptcp=$r->{is_mptcp}", '200 mptcp=0', '... is TCP');
}
done_testing();

sub new_httpd {
    my ($conf, %o) = @_;
    my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => $conf, %o);
    $httpd->write_file('file', "content\n");
    return $httpd;
}

sub started {
    my ($conf, %o) = @_;
    my $httpd = new_httpd($conf, %o);
    $httpd->start or diag "httpd did not start with: $conf\n" . $httpd->error_log;
    return $httpd;
}

sub locals {
    my (@args) = @_;
    return sort map { $_->{local} } $lab->ss('server', @args);
}

# What listens, in ss's notation: $expected by MPTCP, $o{tcp} by TCP alone.
sub listens {
    my ($name, $conf, $expected, %o) = @_;
    my $tcp = delete $o{tcp} // [];
    my $httpd = started($conf, %o);
    is_deeply([locals('-lM')], [sort @$expected], $name);
    is_deeply([locals('-tl')], [sort @$expected, @$tcp], '... and nothing else');
    my ($status, $output) = $httpd->config_test;
    is($status, 0, '... httpd -t is content') or diag $output;
    return;
}

sub refused {
    my ($conf, $message) = @_;
    my ($status, $output) = new_httpd($conf)->config_test;
    my $name = 'refused: ' . $conf =~ s/\n/ | /gr;
    ok($status != 0 && $output =~ $message, $name) or diag "status $status: $output";
    return;
}
