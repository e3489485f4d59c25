# A client with two addresses uses both paths of an MPTCPListen listener under
# httpd's default AcceptFilter: at the start, after a graceful restart and
# after a restart.  (TCP_DEFER_ACCEPT, which core sets anew each time, would
# keep the second path idle for about 31 seconds.)

use strict;
use warnings;

use Test::More;
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->two_paths(rate => '50mbit');
$lab->limits('server', subflows => 2);
$lab->limits('client', subflows => 2, add_addr_accepted => 2);
$lab->endpoint('server', $lab->address('server', 2), dev => 's2', 'signal');

my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => <<'END');
Listen 81
MPTCPListen 80
END
my $file = $httpd->write_file('file', 'x' x 4_000_000);
ok($httpd->start, 'httpd starts') or diag $httpd->error_log;

both_paths('after the start');
ok($httpd->graceful, 'graceful restart');
both_paths('after a graceful restart');
ok($httpd->restart, 'restart');
both_paths('after a restart');

# The same server, a plain Listen: nothing of the above.
my $before = $lab->counters('server');
my $r = MPTCP::Client::get(lab => $lab, ns => 'client', path => '/file',
    host => $lab->address('server', 1), port => 81, mptcp => 1);
is($r->{status}, 200, 'plain Listen: an MPTCP client is served');
is($r->{fallback}, 1, '... by TCP');
is(rise('MPTcpExtMPCapableACKRX', $before), 0, '... as the server counts');
done_testing();

sub both_paths {
    my ($when) = @_;
    my $before = $lab->counters('server');
    my @bytes  = map { ($lab->device_bytes('server', "s$_"))[1] } 1, 2;
    my $r = MPTCP::Client::get(lab => $lab, ns => 'client', path => '/file',
        host => $lab->address('server', 1), port => 80, mptcp => 1);

    is($r->{error} . $r->{status}, 200, "$when: served");
    is($r->{bytes}, -s $file, '... whole');
    is(rise('MPTcpExtMPCapableACKRX', $before), 1, '... by MPTCP');
    is(rise('MPTcpExtMPJoinAckRx', $before), 1, '... with one join');
    is($r->{subflows_seen}, 2, '... so two subflows');
    my $second = ($lab->device_bytes('server', 's2'))[1] - $bytes[1];
    cmp_ok($second, '>', 0.2 * -s $file, '... and the second path carried a part');
    return;
}

sub rise {
    my ($name, $before) = @_;
    return $lab->counter('server', $name) - $before->{$name};
}
