# Load of all kinds, while the server is reloaded every second with listeners,
# protocols, endpoints and workers that change, children are killed, a path
# goes and comes, and net.mptcp.enabled is switched. No request fails but
# those of the killed; at the end all is back where it was.
#
#   SOAK_SECONDS  how long (12); make soak sets it from SOAK_MINUTES
#
# Time is cut into slices. Children are killed in every fourth one only: what
# fails there, at most as many requests as there are connections at a time for
# each kill, are their victims. In the other slices nothing may fail.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use List::Util qw(sum0);
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;
use Time::HiRes qw(sleep time);

MPTCP::Lab->enter;

my $SECONDS = $ENV{SOAK_SECONDS} || 12;
my $SLICE   = 3;
my $CLIENTS = 6;                         # connections at a time, each load

srand($ENV{SOAK_SEED} // 1);
my $lab = MPTCP::Lab->two_paths;
$lab->limits('client', subflows => 2, add_addr_accepted => 2);
my $limits = $lab->limits_now('server');

my $backend = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => <<'END');
MPTCPListen 127.0.0.1:9000
KeepAliveTimeout 600
MaxKeepAliveRequests 0
END
$backend->write_file('file', "content\n");
$backend->start or BAIL_OUT('backend: ' . $backend->error_log);

my $root;
my $port_82_comes;                        # at the next reload
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server',
    load => [qw(socache_shmcb ssl http2 slotmem_shm proxy proxy_http env headers status)]);
$root = $httpd->root;
$httpd->write_file('file', "content\n");
$lab->run(undef, qw(openssl req -x509 -nodes -days 2 -subj /CN=server -newkey ec
    -pkeyopt ec_paramgen_curve:prime256v1 -keyout), "$root/conf/key.pem", '-out',
    "$root/conf/cert.pem");

my $common = <<'END';
MPTCPListen 81
MPTCPListen 443
LogLevel warn
GracefulShutdownTimeout 20
<IfModule mpm_prefork_module>
    StartServers 10
    ServerLimit 300
    MaxRequestWorkers 300
</IfModule>
<IfModule !mpm_prefork_module>
    StartServers 2
    ServerLimit 24
    ThreadsPerChild 16
    MinSpareThreads 16
    MaxSpareThreads 64
    MaxRequestWorkers 128
</IfModule>
Protocols h2 h2c http/1.1
SSLSessionCache none
<VirtualHost *:443>
    SSLEngine on
    SSLCertificateFile conf/cert.pem
    SSLCertificateKeyFile conf/key.pem
</VirtualHost>
MPTCPEnvVars On
Header set X-MPTCP "%{MPTCP}e %{MPTCP_BACKEND}e"
<Location /mptcp-status>
    SetHandler mptcp-status
</Location>
END
# (httpd 2.4.71 itself leaks a socket when a Listen for both families, without an
# address, goes and comes; so port 82 has an address.)
my @conf = map {"$common$_"} (<<'ONE', <<'TWO');
Listen 80
MPTCPListen 10.91.1.2:82
ProxyPass /p/ http://127.0.0.1:9000/ multipathtcp=On disablereuse=On
ProxyPass /q/ http://localhost:9000/ multipathtcp=On
MPTCPEndpoint 10.91.2.2 dev s2 signal
MPTCPLimits subflows=2
ONE
MPTCPListen 80
ProxyPass /p/ http://127.0.0.1:9000/ multipathtcp=Off disablereuse=On
MPTCPEndpoint 10.91.2.2 dev s2 signal backup
MPTCPEndpoint fd91:2::2 dev s2 signal
MPTCPLimits subflows=4 add_addr_accepted=3
TWO
my @mptcp_listeners = ([qw(81 82 443)], [qw(80 81 443)]);

$httpd->set_conf($conf[0]);
ok($httpd->start, 'starts') or BAIL_OUT($httpd->error_log);
# Each configuration once or twice, so that what stays open is open.
for my $which (1, 0, 1, 0) {
    ok(reload($which), 'a reload') or BAIL_OUT($httpd->error_log);
}
settle();
my %before = (descriptors => descriptors(), memory => memory(), endpoints => endpoints());

# --- The load

# mod_http2 serves no HTTP/2 in prefork; h2load does with HTTP/1.1 then.
my $http2 = ($ENV{MPTCP_MPM} // '') ne 'prefork';
my ($h2load, $wrk) = map { in_path($_) } qw(h2load wrk);
my @loads;
for my $mptcp (0, 1) {
    my @by = $mptcp ? qw(mptcpize run) : ();
    for my $url ('http://10.91.1.2:80/file', 'http://10.91.1.2:81/p/file',
        'http://10.91.1.2:81/mptcp-status?auto', 'https://10.91.1.2:443/file')
    {
        push @loads, [@by, $wrk, '-t1', "-c$CLIENTS", "-d${SLICE}s", qw(--timeout 10s -H),
            'Connection: close', $url];
    }
    push @loads, ['sh', '-c', "for i in 1 2 3 4; do @by $h2load -n $CLIENTS -c $CLIENTS"
        . ' https://10.91.1.2:443/file; sleep 0.3; done'] if $h2load;
    push @loads, [$^X, abs_path(dirname(__FILE__)) . '/soak_http2.pl', $SLICE,
        'https://10.91.1.2:443/file', @by] if $http2;
}
ok($wrk && $h2load, 'wrk and h2load are there');

my %total = (requests => 0, failed => 0, victims => 0, kills => 0, reloads => 0,
    'HTTP/2' => 0, 'asked again' => 0, 'closed unanswered' => 0, h2load => 0, 'h2load told to go away' => 0);
my $which = 0;
my $end = time + $SECONDS;
for (my $slice = 0; time < $end; $slice++) {
    my $kills = 0;
    my @files;
    for my $i (0 .. $#loads) {
        push @files, my $file = "$root/load.$i";
        unlink $file;
        $lab->spawn('client', { out => $file, err => $file }, @{ $loads[$i] });
    }
    $lab->sysctl('server', 'net.mptcp.enabled', $slice % 5 == 3 ? 0 : 1);
    my $until = time + $SLICE - 0.2;
    while (time < $until) {
        my $next = time + 1;
        $lab->cut(2) if $slice % 3 == 1;
        $which = 1 - $which;
        reload($which) or BAIL_OUT('it has ended: ' . $httpd->error_log);
        $total{reloads}++;
        $lab->restore(2) if $slice % 3 == 1;
        if ($slice % 4 == 2) {
            my @children = children();
            $kills += kill 'KILL', $children[rand @children] if @children;
        }
        sleep 0.02 while time < $next && time < $until;
    }
    # they end by themselves
    wait_for_loads();
    my ($requests, $failed, $what, $again, $closed) = results(grep { !is_by(qr/h2load/, $_) } @files);
    $total{requests} += $requests;
    $total{'asked again'} += $again;
    $total{'closed unanswered'} += $closed if !$kills;
    $total{'HTTP/2'} += (results(grep { is_by(qr/soak_http2/, $_) } @files))[0];
    my ($by_h2load, $away) = results(grep { is_by(qr/h2load/, $_) } @files);
    $total{h2load} += $by_h2load;
    $total{'h2load told to go away'} += $away if !$kills;
    $total{kills}    += $kills;
    $total{ $kills ? 'victims' : 'failed' } += $failed;
    diag("slice $slice: $failed of $requests failed:\n$what") if $failed && !$kills;
    my $most = $kills * $CLIENTS * @loads;
    cmp_ok($failed, '<=', $most, "slice $slice, $kills killed: no more than $most failed")
        if $kills;
}
$lab->sysctl('server', 'net.mptcp.enabled', 1);
is($total{failed}, 0, 'no request has failed but those of the killed');
# A child that is to end says so to a client whose handshake has just ended, by
# GOAWAY, and takes no request of it.  So does httpd 2.4.71 without the module:
# 26 of 15,744 requests in 103 reloads, with it 26 of 15,900 in 99.  A client is
# to ask again (RFC 9113, 6.8), and t/soak_http2.pl does, and loses none; h2load
# does not, and calls it failed.
cmp_ok($total{'h2load told to go away'}, '<=', 2 + $total{h2load} / 50,
    'few requests of HTTP/2 are told to try again');
# On a slow machine it closes such a connection without a word, too: 21 of 6,816
# requests in 125 reloads under t/under/asan without the module.
cmp_ok($total{'closed unanswered'}, '<=', 6 + $total{'HTTP/2'} / 50,
    '    and few must try again without being told');
cmp_ok($total{requests}, '>', 100 * $SECONDS / 10, 'there were requests');
cmp_ok($total{$_}, '>', $SECONDS, "    and some of HTTP/2 ($_)") for $http2 ? 'HTTP/2' : (), 'h2load';
diag(join ', ', map {"$total{$_} $_"} sort keys %total);

# --- All is back

for my $last (1, 0) {
    ok(reload($last), 'a last reload');
    is_deeply(mptcp_ports(), $mptcp_listeners[$last], 'the MPTCP listeners it asks for');
}
ok(settle(), 'old children have ended');
is_deeply(descriptors(), $before{descriptors}, 'the same descriptors are open');
is_deeply(endpoints(), $before{endpoints}, 'the same endpoints and limits');
my $grown = memory() - $before{memory};
diag("the parent's memory has grown by $grown KiB in $total{reloads} reloads");
# what httpd itself keeps of a reload, and what malloc() does not give back
cmp_ok($grown, '<', 3000 + 8 * $total{reloads}, 'no memory to speak of is lost')
    if !$ENV{MPTCP_HTTPD};               # AddressSanitizer keeps what is freed
is_deeply([$httpd->complaints(qr/:(?:emerg|alert|crit)\]/)], [], 'nothing has crashed');
$httpd->stop;
is_deeply([$lab->endpoints('server')], [], 'after the stop: no endpoint');
is_deeply($lab->limits_now('server'), $limits, 'after the stop: the limits of before');
$backend->stop;
is(scalar $lab->ss('server', '-tl'), 0, 'after the stop: no listener');
done_testing();

sub in_path {
    my ($name) = @_;
    my ($found) = grep { -x } map {"$_/$name"} split /:/, $ENV{PATH};
    return $found;
}

# Gives it the other configuration. A Listen that was taken away can only come
# back when no old child has its socket any more, with or without the module;
# they close it at once, but for a sanitizer's pace.
sub reload {
    my ($to) = @_;
    $lab->wait_until(20, sub { !grep { $_->{local} =~ /:82$/ } $lab->ss('server', '-tl') })
        if $port_82_comes && $to == 0;
    $port_82_comes = $to == 1;
    $httpd->set_conf($conf[$to]);
    return $httpd->graceful;
}

sub children {
    my ($status, $output) = $lab->try(undef, 'ps', '-o', 'pid=', '--ppid', $httpd->pid);
    return split ' ', $output;
}

# Waits until there is no listening or old process but the present ones.
sub settle {
    my $seen = 0;
    return $lab->wait_until(30, sub {
        my $now = scalar children();
        sleep 0.3;
        return $now == scalar children() && $now <= 12;
    });
}

sub wait_for_loads {
    waitpid $_, 0 for @{ $lab->{children} };
    $lab->{children} = [];
    return;
}

sub is_by {
    my ($program, $file) = @_;
    my ($i) = $file =~ /(\d+)$/;
    return grep {/$program/} @{ $loads[$i] };
}

# (requests, how many of them failed, what was printed of that, how many were
# asked again, of how many of these the connection was closed without a word)
sub results {
    my (@files) = @_;
    my ($requests, $failed, $what, $again, $closed) = (0, 0, '', 0, 0);
    for my $file (@files) {
        open my $in, '<', $file or die "$file: $!";
        my $text = do { local $/; <$in> } // '';
        my $bad = 0;
        $requests += $_ for $text =~ /^\s*(\d+) requests in/mg, $text =~ /^requests: (\d+) total/mg;
        $bad += $_ for $text =~ /Non-2xx or 3xx responses: (\d+)/g;
        for ($text =~ /Socket errors: (.*)/g) { $bad += sum0(/(\d+)/g) }
        for ($text =~ /^requests: .*?done, (.*)/mg) { $bad += sum0(/(\d+) (?:failed|timeout)/g) }
        for ($text =~ /^status codes: (.*)/mg) { $bad += sum0(/(\d+) [345]xx/g) }
        $bad++ if $text !~ /requests in|^requests:/m;
        $what .= $text if $bad;
        $failed += $bad;
        $again += $_ for $text =~ /^asked again: (\d+)/mg;
        $closed += $_ for $text =~ /^closed unanswered: (\d+)/mg;
    }
    return ($requests, $failed, $what, $again, $closed);
}

sub mptcp_ports {
    return [sort { $a <=> $b } map { $_->{local} =~ /:(\d+)$/ }
        grep { $_->{local} !~ /:9000$/ && !steered_away($_) } $lab->ss('server', '-lM')];
}

# A listener that has changed stays beside the other one: of port 80 there are
# both, and connections tell which is steered to.
sub steered_away {
    my ($socket) = @_;
    return 0 if $socket->{local} !~ /:80$/;
    my $before = $lab->counter('server', 'MPTcpExtMPCapableSYNRX');
    $lab->run('client', qw(mptcpize run curl -s -o /dev/null --max-time 20 http://10.91.1.2:80/file));
    return $lab->counter('server', 'MPTcpExtMPCapableSYNRX') == $before;
}

# What kinds of descriptors the parent has, each with its count.
sub descriptors {
    my %count;
    for my $link (glob '/proc/' . $httpd->pid . '/fd/*') {
        my $what = readlink $link or next;
        $what =~ s/\[\d+\]|\d+$//;
        $count{$what}++;
    }
    return \%count;
}

# Of the parent, in KiB.
sub memory {
    open my $in, '<', '/proc/' . $httpd->pid . '/status' or die "status: $!";
    my ($rss) = do { local $/; <$in> } =~ /^RssAnon:\s*(\d+)/m;
    return $rss;
}

sub endpoints { return [$lab->endpoints('server'), $lab->limits_now('server')] }
