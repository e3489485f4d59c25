# The URL of a worker may have a password: no message of the module, page, metric
# or dump shows it.

use strict;
use warnings;

use MPTCP::Lab;
use MPTCP::ProxyLab;
use Test::More;

MPTCP::Lab->enter;

my $lab = MPTCP::ProxyLab->new;
my $b   = $lab->{backend};
$lab->backends(7001 => 'http', 7007 => 'ftp');

# lines that share a worker; a member of a balancer; a pattern, which is no URL
my $conf = <<"END";
<Location /status>
    SetHandler mptcp-status
</Location>
ProxyPass /status !
ProxyPass /ftp/one/ "ftp://u:secret\@$b:7007/" multipathtcp=On
ProxyPass /ftp/two/ "ftp://u:secret\@$b:7007/" multipathtcp=Off
<Proxy balancer://pool>
    BalancerMember http://u:secret\@$b:7001 multipathtcp=On
</Proxy>
<Proxy http://u:secret\@$b:7001>
    ProxySet multipathtcp=Off
</Proxy>
ProxyPass /pool/ balancer://pool/
END
# (a pattern may stand for the port since 2.4.47)
$conf .= "ProxyPassMatch ^/match/(\\d+)/ http://u:secret\@$b:\$1/ multipathtcp=On\n"
    if MPTCP::Httpd::since('2.4.47');
my $shown = qr{://u:XXXXXXXX\@};

for my $fallback (qw(On Off)) {
    my $httpd = $lab->proxy("MPTCPFallback $fallback\n$conf");
    cmp_ok($lab->times_logged($_), '>', 0, "MPTCPFallback $fallback: a line is pointed out")
        for qr/has no effect: .*$shown/, qr/does not concern the member .*$shown/;
    $lab->sysctl('proxy', 'net.mptcp.enabled', 0);
    $lab->request($_) for qw(/ftp/one/x /pool/x /match/7001/x);
    my $refused = $fallback eq 'On' ? 'connects by plain TCP' : 'cannot connect';
    cmp_ok($lab->times_logged(qr/worker \w+$shown\S* $refused/), '>=', 2,
        "MPTCPFallback $fallback: the log tells of workers that get no MPTCP socket");
    my @pages = map { ($lab->request("/status$_"))[1] } '', '?json', '?openmetrics';
    like($_, $shown, 'a page names them') for @pages;
    my (undef, $dump) = $httpd->run_beside(qw(-t -D DUMP_MPTCP));
    like($dump, $shown, 'the dump names them');
    # mod_proxy has a message of its own that shows it
    is_deeply([grep { /secret/ && !/\[proxy:/ } map { split /\n/ } @pages, $dump], [],
        '    without the password');
    is_deeply([grep {/mptcp:.*secret/} split /\n/, $httpd->error_log], [], 'neither has the log it');
    $lab->sysctl('proxy', 'net.mptcp.enabled', 1);
}

done_testing();
