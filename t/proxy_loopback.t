# A backend at 127.0.0.1, and an endpoint that is subflow: the kernel tries a path
# that there is not. That is said, and what is written in its place ends it.

use strict;
use warnings;

use MPTCP::Lab;
use MPTCP::ProxyLab;
use Test::More;

MPTCP::Lab->enter;

my $lab = MPTCP::ProxyLab->new(paths => 2);
my $said = qr/mptcp:warn.*backends on this host have no second path.*write 'multipathtcp=Off' for /
    . quotemeta 'http://127.0.0.1:81/, http://localhost:81/';

for my $case (['On', 'subflow', 1], ['On', 'subflow fullmesh', 1], ['On', 'signal', 0],
    ['Off', 'subflow', 0])
{
    my ($on, $flags, $wrong) = @$case;
    my $httpd = $lab->proxy(<<"END");
MPTCPListen 127.0.0.1:81
MPTCPEndpoint 10.91.2.1 dev c2 $flags
ProxyPass /p/ http://127.0.0.1:81/ multipathtcp=$on disablereuse=On
ProxyPass /l/ http://localhost:81/ multipathtcp=$on disablereuse=On
ProxyPass /o/ http://10.91.1.2:81/ multipathtcp=On
END
    $httpd->write_file('file', "content\n");
    my $name = "multipathtcp=$on, MPTCPEndpoint $flags";
    is($lab->times_logged($said) > 0 ? 1 : 0, $wrong, "$name: " . ($wrong ? 'said' : 'nothing is said'));
    # a short connection may be over before
    my ($asked, %status);
    $lab->run('proxy', qw(ip neigh flush dev c2));
    $lab->wait_until($wrong ? 20 : 1, sub {
        $status{ ($lab->request('/p/file'))[0] } = 1;
        $asked = $lab->run('proxy', qw(ip neigh show dev c2)) =~ /^127\.0\.0\.1 /m;
    });
    is_deeply([keys %status], [200], '    requests are answered');
    is($asked ? 1 : 0, $wrong, '    127.0.0.1 is asked for by ARP there: ' . ($wrong ? 'yes' : 'no'));
}
done_testing();
