# What recipes.md says under "Switch it off, stop, remove": the module taken away
# by a reload, and by stop and start; a stop while a download runs.

use strict;
use warnings;

use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;
use Time::HiRes qw(sleep);

MPTCP::Lab->enter;
my $lab = MPTCP::Lab->two_paths(rate => '20mbit');
$lab->limits('client', subflows => 2, add_addr_accepted => 0);
$lab->limits('server', subflows => 2);

my $recipe = <<'END';
Listen 80
<IfModule mptcp_module>
    MPTCPListenDefault On
</IfModule>
END
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => $recipe);
$httpd->write_file('large', 'x' x 8_000_000);
$httpd->start or BAIL_OUT($httpd->error_log);
is(joins_in(3), 1, 'with the module: a client that gets a second address joins');

$httpd->{module} = 0;
$httpd->set_conf($recipe);
ok($httpd->graceful, 'the module is taken away by a reload');
my $capable = taken();
is(joins_in(3), 0, '... a client that gets a second address does not join');
is(taken() - $capable, 1, '... as the listener is MPTCP still');

$httpd->stop;
$httpd->start or BAIL_OUT($httpd->error_log);
$capable = taken();
is(get()->wait->{status}, 200, 'stop and start: served');
is(taken() - $capable, 0, '... by TCP');
$httpd->stop;

# graceful-stop
$httpd->{module} = 1;
$httpd->set_conf($recipe);
$httpd->start or BAIL_OUT($httpd->error_log);
my $download = get();
$download->wait_bytes(1e6);
kill 'WINCH', $httpd->pid;
ok($lab->wait_until(10, sub { !grep { $_->{local} =~ /:80$/ } $lab->ss('server', '-Mln') }),
    'graceful-stop: the listener is gone');
my $joined = $lab->counter('server', 'MPTcpExtMPJoinAckRx');
second_address('add');
my $result = $download->wait;
second_address('delete');
is($result->{bytes} . $result->{error}, 8_000_000, '... the download ends well');
is($lab->counter('server', 'MPTcpExtMPJoinAckRx') - $joined, 0,
    '... but takes no further path');
done_testing();

sub get {
    return MPTCP::Client->start(lab => $lab, ns => 'client', port => 80, mptcp => 1,
        host => $lab->address('server', 1), path => '/large');
}

sub taken { return $lab->counter('server', 'MPTcpExtMPCapableACKRX') }

# As a phone that comes into another network.
sub second_address {
    my ($what) = @_;
    if ($what eq 'add') {
        $lab->run('client', qw(ip route replace default via 10.91.2.2 dev c2 table 100));
        $lab->run('client', qw(ip rule add from 10.91.2.1 table 100));
        $lab->endpoint('client', '10.91.2.1', qw(dev c2 id 9 subflow));
    }
    else {
        $lab->run('client', qw(ip rule del from 10.91.2.1 table 100));
        $lab->run(undef, qw(ip -n client mptcp endpoint delete id 9));
    }
    return;
}

# 1 if a second path carries something within so many seconds of a download.
# (With TCP_DEFER_ACCEPT the join's ACK arrives, and nothing comes of it.)
sub joins_in {
    my ($seconds) = @_;
    my $download = get();
    $download->wait_bytes(1e5);
    second_address('add');
    my $bytes = ($lab->device_bytes('server', 's2'))[1];
    my $used  = $lab->wait_until($seconds,
        sub { ($lab->device_bytes('server', 's2'))[1] - $bytes > 1e5 });
    $download->cancel;
    second_address('delete');
    return $used ? 1 : 0;
}
