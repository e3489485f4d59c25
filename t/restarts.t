# Graceful restarts, restarts and a stop: nothing crashes, no descriptor and
# no mapping of the module is left, and what is served stays what it was.

use strict;
use warnings;

use Test::More;
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->new->add_host('host');
my $conf = <<'END';
Listen 127.0.0.1:8000
MPTCPListen 127.0.0.1:8001
MPTCPListen 8002
ProxyPass /on/ http://127.0.0.1:8001/ multipathtcp=On disablereuse=On
ProxyPass /tcp/ http://127.0.0.2:8002/ disablereuse=On
END

for my $order (qw(first last)) {
    my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'host', order => $order,
        load => [qw(proxy proxy_http)], conf => $conf);
    $httpd->write_file('file', "content\n");
    ok($httpd->start, "mod_mptcp loaded $order: starts") or diag $httpd->error_log;
    serves('at the start');

    # The first restart opens what stays open from then on.
    ok($httpd->graceful, 'first graceful restart');
    my $descriptors = descriptors($httpd->pid);
    my $mapped      = mappings($httpd->pid);
    for my $round (1 .. 3) {
        ok($httpd->graceful, "graceful restart $round");
        serves('after it');
    }
    ok($httpd->restart, 'restart');
    serves('after it');
    is_deeply(descriptors($httpd->pid), $descriptors, 'the same descriptors are open');
    is(mappings($httpd->pid), $mapped, 'the module is mapped once');

    # Without any worker that asks, mod_proxy is as if we were not there.
    $httpd->set_conf($conf =~ s/multipathtcp=On//r);
    ok($httpd->graceful, 'graceful restart without multipathtcp=On');
    # (An old child may still answer at first.)
    ok($lab->wait_until(20, sub { !by_mptcp('/on/file') }), 'the worker connects by TCP');
    $httpd->set_conf($conf);
    ok($httpd->graceful, 'and with it again');
    ok($lab->wait_until(20, sub { by_mptcp('/on/file') }), 'the worker connects by MPTCP');
    serves('after it');

    my $pid = $httpd->pid;
    $httpd->stop;
    is_deeply([$httpd->complaints(qr/:(?:emerg|alert|crit|error)\]/)], [], 'nothing bad in the log');
    is(scalar $lab->ss('host', '-tl'), 0, 'nothing listens after the stop');
}
done_testing();

sub serves {
    my ($when) = @_;
    subtest "serves $when" => sub {
        is(by_mptcp('/on/file'), 1, 'the worker that asks connects by MPTCP');
        is(by_mptcp('/tcp/file'), 0, 'the worker that does not by TCP');
        my @mptcp = sort map { $_->{local} } $lab->ss('host', '-lM');
        is_deeply(\@mptcp, ['*:8002', '127.0.0.1:8001'], 'the MPTCP listeners');
    };
    return;
}

# How many MPTCP connections one request through the proxy makes.
sub by_mptcp {
    my ($path) = @_;
    my $before = $lab->counters('host');
    my $r = MPTCP::Client::get(lab => $lab, ns => 'host', host => '127.0.0.1',
        port => 8000, path => $path);
    is($r->{status}, 200, $path);
    return $lab->counter('host', 'MPTcpExtMPCapableSYNTX') - $before->{MPTcpExtMPCapableSYNTX};
}

# What kinds of descriptors a process has, each with its count.
sub descriptors {
    my ($pid) = @_;
    my %count;
    for my $link (glob "/proc/$pid/fd/*") {
        my $what = readlink $link or next;
        $what =~ s/\[\d+\]|\d+$//;
        $count{$what}++;
    }
    return \%count;
}

sub mappings {
    my ($pid) = @_;
    open my $maps, '<', "/proc/$pid/maps" or die "maps: $!";
    return scalar grep { /mod_mptcp\.so/ && / r-xp / } <$maps>;
}
