# The promises of docs/security.md which can be tested, as far as no other test
# does: see there.

use strict;
use warnings;

use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->new->add_host('host');
my $conf = <<'END';
MPTCPListen 127.0.0.1:8001
<VirtualHost *>
    ProxyPass /proxied/ http://127.0.0.1:8001/ MULTIPATHTCP
</VirtualHost>
<Location /mptcp-status>
    SetHandler mptcp-status
    Require local
</Location>
END
my $ours = <<'END';
MPTCPEndpoint 127.0.0.2 signal
MPTCPLimits subflows=3
MPTCPEnvVars On
END

# Without a worker that asks, nothing of the proxy's modules is changed; with
# one, no page stays writable that was not.
my %modes;
for my $on (0, 1) {
    my $httpd = server($on);
    my ($child) = children($httpd);
    $modes{$on} = modes($child);
    is(get('/proxied/file')->{status}, 200, 'a proxied request');
    $httpd->stop;
}
cmp_ok(scalar @{ $modes{1} }, '>', 4, 'they are mapped');
is_deeply($modes{1}, $modes{0},
    'redirected: their pages have the modes that they have without redirection');
is_deeply([grep {/w.*x/} @{ $modes{1} }], [], '    none is writable and executable');

my $httpd = server(1);
is(get('/mptcp-status')->{status}, 200, 'the status page');
my @children = children($httpd);
cmp_ok(scalar @children, '>', 0, 'there are children');
for my $pid (@children) {
    open my $file, '<', "/proc/$pid/status" or die "status: $!";
    my @held = grep { /^Cap(?:Inh|Prm|Eff|Amb):/ && !/\b0+$/ } <$file>;
    is_deeply(\@held, [], 'a child holds no capability');
    is_deeply([netlink_of($pid)], [], 'a child has no netlink socket');
}
is(scalar(() = netlink_of($httpd->pid)), 1,
    'the parent has one, which hears of addresses');

my @state = glob $httpd->root . '/run/*.mptcp';
is(scalar @state, 1, 'the file that names what was added');
my @stat = stat $state[0];
is(sprintf('%o', $stat[2] & 07777), '600', '    is its owner\'s to read');
is($stat[4], 0, '    and root\'s');

$httpd->stop;
is_deeply([glob $httpd->root . '/run/*.mptcp'], [], 'a stop removes the file');
is_deeply([$lab->endpoints('host')], [], '    and the endpoint');

# What somebody else left in its place is not believed.
for my $case (['nothing', ''], ['too little', 'x' x 100], ['something else', 'x' x 5000]) {
    my ($name, $contents) = @$case;
    open my $file, '>', $httpd->root . '/run/httpd.pid.mptcp' or die "state: $!";
    print {$file} $contents;
    close $file;
    ok($httpd->start, "a file with $name: it starts");
    unlike($httpd->error_log, qr/recognised \d+/, '    nothing is recognised');
    $httpd->stop;
    is_deeply([$lab->endpoints('host')], [], '    a stop removes the endpoint');
}
done_testing();

sub server {
    my ($on) = @_;
    my $value = $on ? 'multipathtcp=On' : '';
    my $server = MPTCP::Httpd->new(lab => $lab, ns => 'host',
        load => [qw(authz_host proxy proxy_http proxy_connect status)],
        conf => ($conf =~ s/MULTIPATHTCP/$value/r) . ($on ? $ours : ''));
    $server->write_file('file', "content\n");
    $server->start or BAIL_OUT($server->error_log);
    return $server;
}

sub get {
    my ($path) = @_;
    return MPTCP::Client::get(lab => $lab, ns => 'host', host => '127.0.0.1', port => 8001,
        path => $path);
}

sub children {
    my ($server) = @_;
    return split ' ', $lab->capture(undef, 'ps', '-o', 'pid=', '--ppid', $server->pid);
}

# The mappings of the objects whose imports are redirected, with their modes:
# mod_proxy's, httpd itself, and libaprutil.
sub modes {
    my ($pid) = @_;
    open my $maps, '<', "/proc/$pid/maps" or die "maps: $!";
    my (%count, @modes);
    for (<$maps>) {
        my ($mode, $name) = m{^\S+ (\S+) .*?(mod_proxy\w*\.so|libaprutil-[\d.]+\.so[\d.]*|/(?:apache2|httpd))$}
            or next;
        push @modes, "$name $mode";
    }
    # a page that was opened and closed again is a mapping of its own
    my %seen;
    return [sort grep { !$seen{$_}++ } @modes];
}

# The netlink sockets of a process: those of its descriptors that the kernel
# lists.
sub netlink_of {
    my ($pid) = @_;
    my %netlink = map { ((split)[-1] => 1) } split /\n/,
        $lab->capture('host', 'cat', '/proc/net/netlink');
    return grep {defined} map { (readlink($_) // '') =~ /^socket:\[(\d+)\]$/ && $netlink{$1}
        ? $1 : undef } glob "/proc/$pid/fd/*";
}
