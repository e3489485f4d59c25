# Which worker connects by MPTCP: multipathtcp= wherever mod_proxy takes a
# worker parameter, MPTCPProxyDefault, what virtual hosts inherit, members that
# come at run time, health checks, and workers that several lines share.

use strict;
use warnings;

use MPTCP::Lab;
use MPTCP::ProxyLab;
use Test::More;

MPTCP::Lab->enter;

my $lab = MPTCP::ProxyLab->new;
my $b   = $lab->{backend};
my $u   = "http://$b:7001";
$lab->backends(7001 => 'http', 7002 => 'http', 7003 => 'http', 7004 => 'echo',
    7005 => 'connect', 7006 => 'fcgi');

# --- Everywhere that mod_proxy takes a parameter. Each worker has a URL of its
# own, and a new connection for each request.

$lab->proxy(<<"END");
ProxyPass /pass-on/      $u/1/ multipathtcp=On  disablereuse=On
ProxyPass /pass-off/     $u/2/ multipathtcp=Off disablereuse=On
ProxyPass /pass-unset/   $u/3/ disablereuse=On
ProxyPass /pass-case/    $u/4/ MultipathTCP=oN  disablereuse=On
ProxyPassMatch ^/match-on/(.*)\$  $u/5/\$1 multipathtcp=On
ProxyPassMatch ^/match-off/(.*)\$ $u/6/\$1 multipathtcp=Off
ProxyPass ~ ^/tilde/(.*)\$  $u/16/\$1 multipathtcp=On
<Location /location/>
    ProxyPass $u/7/ multipathtcp=On disablereuse=On
</Location>

ProxyPass /section/ $u/10/
<Proxy $u/10/ multipathtcp=On disablereuse=On>
</Proxy>
ProxyPass /set-section/ $u/11/
<Proxy $u/11/>
    ProxySet multipathtcp=On disablereuse=On
</Proxy>
ProxyPass /set-url/ $u/12/ disablereuse=On
ProxySet $u/12/ multipathtcp=On
ProxyPass /set-location/ $u/13/ disablereuse=On
<Location /elsewhere/>
    ProxySet $u/13/ multipathtcp=On
</Location>
ProxyPass /set-off/ $u/14/ multipathtcp=On disablereuse=On
ProxySet $u/14/ multipathtcp=Off
<Proxy $u/15/>
    ProxySet multipathtcp=On disablereuse=On
</Proxy>
ProxyPass /set-before/ $u/15/

<Proxy balancer://on>
    BalancerMember $u/20 multipathtcp=On disablereuse=On
</Proxy>
ProxyPass /member-on/ balancer://on/
<Proxy balancer://off>
    BalancerMember $u/20 multipathtcp=Off disablereuse=On
</Proxy>
ProxyPass /member-off/ balancer://off/
BalancerMember balancer://outside $u/21 multipathtcp=On disablereuse=On
ProxyPass /member-outside/ balancer://outside/

RewriteEngine On
RewriteRule ^/rewrite-on/(.*)\$ $u/1/\$1 [P]
RewriteRule ^/rewrite-none/(.*)\$ http://$b:7002/\$1 [P]
<Location /handler/>
    SetHandler proxy:fcgi://$b:7006
</Location>
<Proxy fcgi://$b:7006>
    ProxySet multipathtcp=On
</Proxy>
END

$lab->is_mptcp('/pass-on/',        'ProxyPass multipathtcp=On');
$lab->is_tcp('/pass-off/',         'ProxyPass multipathtcp=Off');
$lab->is_tcp('/pass-unset/',       'ProxyPass without it');
$lab->is_mptcp('/pass-case/',      'ProxyPass MultipathTCP=oN');
# (patterns are looked for since 2.4.47)
my $is_match = MPTCP::Httpd::since('2.4.47') ? 'is_mptcp' : 'is_tcp';
$lab->$is_match('/tilde/some',         'ProxyPass ~ multipathtcp=On');
$lab->$is_match('/match-on/some',      'ProxyPassMatch multipathtcp=On');
$lab->is_tcp('/match-off/some',        'ProxyPassMatch multipathtcp=Off');
$lab->is_mptcp('/location/',       'ProxyPass in <Location>');
$lab->is_mptcp('/section/',        '<Proxy url multipathtcp=On>');
$lab->is_mptcp('/set-section/',    'ProxySet in <Proxy url>');
$lab->is_mptcp('/set-url/',        'ProxySet url');
$lab->is_mptcp('/set-location/',   'ProxySet url in <Location>');
$lab->is_tcp('/set-off/',          'ProxySet multipathtcp=Off after On');
$lab->is_mptcp('/set-before/',     'ProxySet in <Proxy url> before ProxyPass');
$lab->is_mptcp('/member-on/',      'BalancerMember multipathtcp=On');
$lab->is_tcp('/member-off/',       'the same URL in another balancer, Off');
$lab->is_mptcp('/member-outside/', 'BalancerMember outside of <Proxy>');
$lab->is_mptcp('/rewrite-on/',     'RewriteRule [P] to a URL with a worker that says On');
$lab->is_tcp('/rewrite-none/',     'RewriteRule [P] to a URL without a worker');
$lab->is_mptcp('/handler/',        'SetHandler proxy: to a worker that says On');

for my $where (
    ['ProxyPass',      "ProxyPass /a/ $u/ multipathtcp=Maybe"],
    ['ProxyPass', "ProxyPassMatch ^/a/ $u/ multipathtcp=Maybe"],
    ['BalancerMember', "BalancerMember balancer://a $u multipathtcp=Maybe"],
    ['ProxySet',       "<Proxy $u>\nProxySet multipathtcp=Maybe\n</Proxy>"],
    ['<Proxy',         "<Proxy $u multipathtcp=Maybe>\n</Proxy>"],
    )
{
    like($lab->refusal($where->[1]),
        # ours, or trunk's own
        qr/\Q$where->[0]\E.*multipathtcp(?:=Maybe: allowed is On or Off| must be On\|Off)/,
        "$where->[0] multipathtcp=Maybe is refused, and told what is allowed");
}
like($lab->refusal("ProxyPass /a/ $u/ multipath=On"), qr/unknown Worker (?:hcheck )?parameter/,
    "a parameter that nobody knows is refused as mod_proxy does it");
like($lab->refusal('MPTCPProxyDefault Perhaps'), qr/MPTCPProxyDefault must be On or Off/,
    'MPTCPProxyDefault Perhaps is refused');
like($lab->refusal("<VirtualHost *:8000>\nMPTCPFallback Off\n</VirtualHost>"),
    qr/MPTCPFallback cannot occur within <VirtualHost> section/,
    'MPTCPFallback in a virtual host is refused');

# --- Virtual hosts

my @listen = map {"Listen 127.0.0.1:$_\n"} 8001 .. 8009;
$lab->proxy(<<"END");
@listen
ProxyPass /inherited-on/  $u/1/ multipathtcp=On  disablereuse=On
ProxyPass /inherited-off/ $u/2/ multipathtcp=Off disablereuse=On
ProxyPass /unset/         $u/3/ disablereuse=On
<Proxy balancer://inherited>
    BalancerMember $u/4 multipathtcp=On disablereuse=On
</Proxy>
ProxyPass /member/ balancer://inherited/
<Proxy balancer://unset>
    BalancerMember $u/5 disablereuse=On
</Proxy>
ProxyPass /member-unset/ balancer://unset/

<VirtualHost 127.0.0.1:8001>
    ProxyPass /same/ $u/same/ multipathtcp=On disablereuse=On
</VirtualHost>
<VirtualHost 127.0.0.1:8002>
    ProxyPass /same/ $u/same/ multipathtcp=Off disablereuse=On
    ProxyPass /again/ $u/1/ multipathtcp=Off disablereuse=On
</VirtualHost>
# nothing of mod_proxy in here
<VirtualHost 127.0.0.1:8003>
    MPTCPProxyDefault On
</VirtualHost>
<VirtualHost 127.0.0.1:8004>
    ServerName of-nothing
</VirtualHost>
END
my $at = sub { "http://127.0.0.1:$_[0]$_[1]" };
$lab->is_mptcp($at->(8001, '/same/'), 'the same URL in two virtual hosts, On');
$lab->is_tcp($at->(8002, '/same/'),   'the same URL in two virtual hosts, Off');
for my $port (8001, 8003, 8004) {
    $lab->is_mptcp($at->($port, '/inherited-on/'), "$port: an inherited worker with On");
    $lab->is_tcp($at->($port, '/inherited-off/'),  "$port: an inherited worker with Off");
    $lab->is_mptcp($at->($port, '/member/'),       "$port: an inherited member with On");
}
$lab->is_tcp($at->(8002, '/again/'), 'Off of a virtual host over an inherited On');
$lab->is_mptcp($at->(8000, '/inherited-on/'), 'which stays On where it was');
$lab->is_mptcp($at->(8003, '/unset/'), "MPTCPProxyDefault of a virtual host, inherited worker");
$lab->is_tcp($at->($_, '/unset/'), "$_: none") for 8000, 8001, 8004;
$lab->is_tcp($at->(8003, '/member-unset/'),
    "a shared member has the default of the server that defines it");

# --- MPTCPProxyDefault

$lab->proxy(<<"END");
@listen
MPTCPProxyDefault On
ProxyPass /unset/ $u/1/ disablereuse=On
ProxyPass /off/   $u/2/ disablereuse=On multipathtcp=Off
<Proxy balancer://main>
    BalancerMember $u/3 disablereuse=On
    BalancerMember $u/3-off disablereuse=On multipathtcp=Off status=+H
</Proxy>
ProxyPass /member/ balancer://main/

<VirtualHost 127.0.0.1:8001>
    RewriteEngine On
    RewriteRule ^/p/(.*)\$ http://$b:7002/\$1 [P]
</VirtualHost>
<VirtualHost 127.0.0.1:8002>
    MPTCPProxyDefault Off
    RewriteEngine On
    RewriteRule ^/p/(.*)\$ http://$b:7002/\$1 [P]
    ProxyPass /own/ $u/own/ disablereuse=On
    ProxyPass /own-on/ $u/own-on/ disablereuse=On multipathtcp=On
</VirtualHost>
# forward proxies
<VirtualHost 127.0.0.1:8003>
    ProxyRequests On
    AllowCONNECT 7004
    ProxyRemote http://elsewhere.test http://$b:7005
    ProxyRemote http://secure.test http://$b:7005
</VirtualHost>
<VirtualHost 127.0.0.1:8004>
    MPTCPProxyDefault Off
    ProxyRequests On
    AllowCONNECT 7004
    ProxyRemote http://elsewhere.test http://$b:7005
</VirtualHost>
# reverse proxies by way of a remote proxy
<VirtualHost 127.0.0.1:8005>
    ProxyRemote http://elsewhere.test http://$b:7005
    ProxyPass /on/  http://elsewhere.test/on/ disablereuse=On
    ProxyPass /off/ http://elsewhere.test/off/ disablereuse=On multipathtcp=Off
</VirtualHost>
END
$lab->is_mptcp('/unset/',  'MPTCPProxyDefault On: a worker that does not say');
$lab->is_tcp('/off/',      'MPTCPProxyDefault On: a worker that says Off');
$lab->is_mptcp('/member/', 'MPTCPProxyDefault On: a member that does not say');
$lab->is_mptcp($at->(8001, '/unset/'), 'a virtual host inherits it');
# all servers share one default worker: each its own default, whatever the order
for (1, 2) {
    $lab->is_mptcp($at->(8001, '/p/'), 'RewriteRule [P], inherited On');
    $lab->is_tcp($at->(8002, '/p/'),   'RewriteRule [P], MPTCPProxyDefault Off');
}
$lab->is_tcp($at->(8002, '/own/'),      'MPTCPProxyDefault Off: a worker that does not say');
$lab->is_tcp($at->(8002, '/unset/'),    'MPTCPProxyDefault Off: an inherited one');
$lab->is_mptcp($at->(8002, '/own-on/'), 'MPTCPProxyDefault Off: a worker that says On');
$lab->is_mptcp($at->(8002, '/member/'),
    'a shared member has the default of the server that defines it');

$lab->is_mptcp("http://$b:7002/", 'a forward proxy, On', -x => '127.0.0.1:8003');
$lab->is_tcp("http://$b:7002/",   'a forward proxy, Off', -x => '127.0.0.1:8004');
$lab->is_mptcp('http://elsewhere.test/', 'ProxyRemote, On', -x => '127.0.0.1:8003');
$lab->is_tcp('http://elsewhere.test/',   'ProxyRemote, Off', -x => '127.0.0.1:8004');
$lab->is_mptcp($at->(8005, '/on/'), 'a worker behind ProxyRemote, by default');
$lab->is_tcp($at->(8005, '/off/'),  'a worker behind ProxyRemote, Off');
for ([8003, 'On', 1], [8004, 'Off', 0]) {
    my ($port, $on, $mptcp) = @$_;
    my $text;
    my $counted = $lab->counted(sub { $text = tunnel($port) });
    is($text, 'hello', "CONNECT, $on: the tunnel carries");
    is_deeply($counted, { connections => 1, mptcp => $mptcp },
        "CONNECT, $on: " . ($mptcp ? 'MPTCP' : 'TCP'));
}

# --- Members that come at run time, by the balancer manager

my $managed = <<"END";
    <Proxy balancer://pool>
        BalancerMember http://$b:7001 multipathtcp=Off
        ProxySet growth=4
    </Proxy>
    ProxyPass /bm/ !
    ProxyPass / balancer://pool/
    <Location /bm/>
        SetHandler balancer-manager
    </Location>
END
for ([On => 1], [Off => 0]) {
    my ($on, $mptcp) = @$_;
    my $other = $on eq 'On' ? 'Off' : 'On';
    $lab->proxy(<<"END");
@listen
MPTCPProxyDefault $other
<VirtualHost 127.0.0.1:8001>
    MPTCPProxyDefault $on
    $managed
</VirtualHost>
END
    add_member(8001, "http://$b:7003");
    # Every child has its own records, and learns of new members when it needs
    # one: many requests at once, so that several children answer.
    my $output;
    my $counted = $lab->counted(sub {
        (undef, $output) = $lab->try('proxy', qw(curl -q -sS --max-time 30 --parallel
            --parallel-immediate --parallel-max 20 -o /dev/null -w), "\n%{http_code}\n",
            $at->(8001, '/[1-40]'));
    });
    is(scalar(() = $output =~ /^200$/mg), 40, "a member added at run time, default $on: answers")
        or diag($output);
    cmp_ok($counted->{connections}, '>', 0, 'by new connections');
    is($counted->{mptcp}, $mptcp ? $counted->{connections} : 0,
        'all of them ' . ($mptcp ? 'MPTCP' : 'TCP'));
}

# A virtual host that inherits the balancer shares the new member, in the child
# that has learnt of it: here there is only one. The default is not its own.
for ([On => 1], [Off => 0]) {
    my ($on, $mptcp) = @$_;
    my $other = $on eq 'On' ? 'Off' : 'On';
    $lab->proxy(<<"END");
@listen
<IfModule mpm_prefork_module>
    StartServers 1
    ServerLimit 1
    MaxRequestWorkers 1
</IfModule>
<IfModule !mpm_prefork_module>
    ServerLimit 1
    MaxRequestWorkers 25
</IfModule>
MPTCPProxyDefault $on
$managed
<VirtualHost 127.0.0.1:8001>
    MPTCPProxyDefault $other
</VirtualHost>
END
    add_member(8000, "http://$b:7003");
    $lab->is_counted($at->(8001, '/x'), $mptcp, 1,
        "a member added at run time, default $on, virtual host $other: " . ($mptcp ? 'MPTCP' : 'TCP'));
}

# --- Health checks connect as their worker does

for ([On => 1], [Off => 0]) {
    my ($on, $mptcp) = @$_;
    my $default = $on eq 'On' ? 'Off' : 'On';
    my $check   = "multipathtcp=$on hcinterval=1";
    my $httpd   = $lab->proxy(<<"END");
MPTCPProxyDefault $default
LogLevel proxy_hcheck:debug
<Proxy balancer://checked>
    BalancerMember http://$b:7001 $check hcmethod=TCP
    BalancerMember http://$b:7002 $check hcmethod=OPTIONS
    BalancerMember http://$b:7003 $check hcmethod=GET hcuri=/health
</Proxy>
ProxyPass / balancer://checked/
END
    is_checked($mptcp, 6, "health checks, multipathtcp=$on");
    for my $method (qw(TCP OPTIONS GET)) {
        like($httpd->error_log, qr/AH03251: Health check $method Status \(0\)/,
            "$method among them, with success");
    }
}
# a member that comes at run time is checked as its balancer's default says
$lab->proxy("MPTCPProxyDefault On\n$managed");
add_member(8000, "http://$b:7003", w_hm => 'TCP', w_hi => 1000);
is_checked(1, 2, 'health checks of a member added at run time, MPTCPProxyDefault On');

# --- Workers that several lines share: mod_proxy ignores the parameters of the
# later one, and the log says which line that was and what to write.

my $conf    = qr{/conf/httpd\.conf};
my $remarks = $lab->remarks(my $shared = <<"END");
ProxyPass /a/ $u/
ProxyPass /b/ $u/b/ multipathtcp=On
ProxyPass /c/ http://$b:7002/ multipathtcp=On
ProxyPass /d/ http://$b:7002/ multipathtcp=On
<Proxy balancer://two>
    BalancerMember $u multipathtcp=On
    BalancerMember $u/b multipathtcp=Off
</Proxy>
<Proxy http://$b:7003/>
    Require all granted
</Proxy>
<VirtualHost *:8000>
    <Location /e/>
        ProxyPass http://$b:7003/ multipathtcp=Off
    </Location>
    ProxyPass /f/ http://$b:7003/f multipathtcp=On
    ProxyPass /g/ $u/ multipathtcp=On
    ProxyPass /h/ http://$b:7002/ multipathtcp=On
    ProxySet http://$b:7002/ multipathtcp=Off
</VirtualHost>
END
ignored('ProxyPass /b/', 'On', "$u/", 'ProxyPass /a/',
    "TCP. Write multipathtcp=On there, or to have both put this line, of the longer URL, before");
ignored("BalancerMember $u/b", 'Off', $u, "BalancerMember $u ", 'MPTCP');
ignored('ProxyPass /f/', 'On', "http://$b:7003/", "ProxyPass http://$b:7003/", 'TCP');
is(scalar(() = $remarks =~ /has no effect/g), 3,
    'nothing is said of lines that agree, override or have a worker of their own')
    or diag($remarks);

# A backend at a Unix domain socket
my $unix = $lab->remarks(<<'END');
MPTCPProxyDefault On
ProxyPass /a/ unix:/run/a|http://a/ multipathtcp=On
ProxyPass /b/ unix:/run/b|http://b/
ProxyPass /c/ unix:/run/c|http://c/ multipathtcp=Off
<Proxy balancer://unix>
    BalancerMember unix:/run/d|http://d/ multipathtcp=On
</Proxy>
END
is_deeply([$unix =~ m{\d+: multipathtcp=On has no effect: unix:/run/(\w) is no TCP$}mg], [qw(a d)],
    'a Unix domain socket') or diag $unix;

# and what was said is so
$lab->proxy(join '', "Listen 127.0.0.1:8001\n", $shared =~ s/\*:8000/127.0.0.1:8001/r);
$lab->is_tcp('/b/x', 'the ignored line connects as the winning one');
my ($proper) = $shared =~ /\A((?:.*\n){2})/;
$proper = join '', reverse split /(?<=\n)/, $proper;
unlike($lab->remarks($proper), qr/has no effect/, 'the advice is good: nothing is said');
$lab->proxy($proper);
$lab->is_mptcp('/b/x', 'and the line of the longer URL connects by MPTCP');
$lab->is_tcp('/a/x', 'the other one does not');

# A virtual host has what its own line says, and else shares what the main server
# says of the same URL.
for my $case ([' multipathtcp=On', ' multipathtcp=Off'], [' multipathtcp=Off', ' multipathtcp=On'],
    ['', ' multipathtcp=On'], [' multipathtcp=On', ''])
{
    my ($main, $virtual) = @$case;
    my $text = <<"END";
Listen 127.0.0.1:8001
ProxyPass /a/ $u/$main disablereuse=On
<VirtualHost 127.0.0.1:8001>
    ProxyPass /b/ $u/$virtual disablereuse=On
</VirtualHost>
END
    unlike($lab->remarks($text), qr/has no effect/, "main server$main, virtual host$virtual: no warning");
    $lab->proxy($text);
    my @wants = map {/On/ ? 1 : 0} $main, $virtual || $main;
    $lab->is_counted('/a/x', $wants[0], 1, '    the main server');
    $lab->is_counted("http://127.0.0.1:8001/$_/x", $wants[1], 1, "    the virtual host, /$_/")
        for qw(a b);
}

# A Unix domain socket with that URL is a worker of its own.
for my $said ('', ' multipathtcp=Off') {
    $lab->proxy(<<"END");
Listen 127.0.0.1:8001
ProxyPass /a/ $u/ multipathtcp=On disablereuse=On
<VirtualHost 127.0.0.1:8001>
    ProxyPass /b/ unix:/nonexistent/socket|$u/$said
</VirtualHost>
END
    $lab->is_counted('http://127.0.0.1:8001/a/x', 1, 1, "a URL that a Unix domain socket has, too$said");
}

# A member of a balancer is no worker to ProxySet: mod_proxy refuses its URL, and
# a section for it makes another worker.
my $member = "<Proxy balancer://x>\nBalancerMember $u disablereuse=On\n</Proxy>\nProxyPass / balancer://x/\n";
like($lab->refusal("${member}ProxySet $u multipathtcp=On"), qr/ProxySet can not find '\Q$u\E' Worker/,
    "ProxySet with a member's URL is refused by mod_proxy");
my $section = "$member<Proxy $u>\nProxySet multipathtcp=On\n</Proxy>\n";
like($lab->remarks($section), qr{$conf:\d+: multipathtcp=On does not concern the member \Q$u\E of balancer://x: write it in the BalancerMember line},
    "<Proxy> with a member's URL: what to write");
unlike($lab->remarks($section =~ s/disablereuse/multipathtcp=On $&/r), qr/does not concern/,
    'nothing is said where they agree');
$lab->proxy($section);
$lab->is_tcp('/x', 'the member is as its own line says');

# --- A worker without MPTCP, and a configuration without any

$lab->proxy("ProxyPass / unix:/nonexistent/socket|http://localhost/ multipathtcp=On\n");
my ($status) = $lab->request('/');
is($status, 503, 'a Unix-domain socket is left to mod_proxy');
is($lab->times_logged(qr/AH02454: .*attempt to connect to Unix domain socket/), 1,
    'which tried to connect to it');

done_testing();

# Is it said that a line is ignored, because of another one's worker?
sub ignored {
    my ($line, $value, $worker, $winner, $more) = @_;
    my ($number, $other) = map { line_of($_) } $line, $winner;
    my $pattern = join '', "$conf:$number: multipathtcp=$value has no effect: ",
        "mod_proxy uses the worker \Q$worker\E of \\S*$conf:$other, ",
        "which connects by \Q$more\E";
    like($remarks, qr/$pattern/, "$line is ignored: said with the line that wins");
    return;
}

# The number of the line in the last configuration that contains a text.
sub line_of {
    my ($text) = @_;
    my @lines = split /\n/, do {
        open my $file, '<', $lab->new_proxy($shared)->conf_file or die $!;
        local $/;
        <$file>;
    };
    my @found = grep { index($lines[ $_ - 1 ], $text) >= 0 } 1 .. @lines;
    die "'$text' stands in lines @found\n" if @found != 1;
    return $found[0];
}

# What the echo server returns through a CONNECT tunnel.
sub tunnel {
    my ($port) = @_;
    my ($status, $output) = $lab->try('proxy', $^X, '-MIO::Socket::INET', '-e', <<'END', $port, "$b:7004");
my ($port, $to) = @ARGV;
alarm 20;
my $s = IO::Socket::INET->new("127.0.0.1:$port") or die "connect: $!";
print {$s} "CONNECT $to HTTP/1.1\r\nHost: $to\r\n\r\n";
my $status = <$s>;
while (my $line = <$s>) { last if $line =~ /^\r?\n/ }
$status =~ / 200 / or do { print $status; exit };
print {$s} 'hello';
read $s, my $text, 5;
print $text;
END
    return $output;
}

# Sends a form of the balancer manager; the nonce is on its page.
sub manage {
    my ($port, %field) = @_;
    my $url = $at->($port, '/bm/');
    my (undef, $page) = $lab->request($url);
    my ($nonce) = $page =~ /b=pool&(?:amp;)?(?:w=[^"&]*&(?:amp;)?)?nonce=([-0-9a-f]+)/
        or die "no nonce of the balancer in:\n$page\n";
    my %all = (b => 'pool', nonce => $nonce, %field);
    my ($status, $body) = $lab->request($url, '-H', "Referer: $url",
        map { ('--data-urlencode', "$_=$all{$_}") } sort keys %all);
    die "balancer manager: $status\n$body\n" if $status != 200;
    return;
}

# Adds a member to the balancer, and puts it in the place of the others.
sub add_member {
    my ($port, $url, %field) = @_;
    manage($port, b_wyes => 1, b_nwrkr => $url);
    manage($port, w => $url, w_status_D => 0, %field);
    manage($port, w => "http://$b:7001", w_status_D => 1);
    return;
}

# So many checks come, and all of them are MPTCP, or none is. Ends the proxy, so
# that no check is counted at one end only.
sub is_checked {
    my ($mptcp, $wanted, $name) = @_;
    my ($proxy, $backend) = ($lab->counters('proxy'), $lab->counters('backend'));
    my $connections = sub {
        $lab->counter('backend', 'TcpPassiveOpens') - $backend->{TcpPassiveOpens};
    };
    $lab->wait_until(15, sub { $connections->() >= $wanted });
    $lab->{httpd}->stop;
    my $made = $connections->();
    my $syns = $lab->counter('proxy', 'MPTcpExtMPCapableSYNTX') - $proxy->{MPTcpExtMPCapableSYNTX};
    cmp_ok($made, '>=', $wanted, "$name: are made");
    is($syns, $mptcp ? $made : 0, "$name: all of them by " . ($mptcp ? 'MPTCP' : 'TCP'));
    return;
}
