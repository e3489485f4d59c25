# While the server runs, the kernel does not say which addresses the host has, or
# which connections: endpoints stay as they are, and follow as soon as it does. See
# t/fault/fault.c.

use strict;
use warnings;

use Errno qw(EMFILE ENOBUFS);
use MPTCP::Faults;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;

my $faults = MPTCP::Faults->new;
my $lab    = $faults->lab;
my $v6     = $lab->has_ipv6 ? "MPTCPEndpoint ::1 signal\n" : '';
add_address(1);
my $httpd = $faults->starts('', "MPTCPListen 127.0.0.1:8001\nMPTCPEndpoint dev lo signal\n$v6");
my @at_start = endpoints();
is(scalar @at_start, $v6 ? 2 : 1, 'endpoints at start') or diag explain \@at_start;

# The parent looks every ten seconds if the host has changed, and on until it has
# been told.
my $added = 1;
for my $fault ('netlink ' . EMFILE, 'route.refuse ' . ENOBUFS, 'route.torn 0', 'socket6 ' . EMFILE) {
    next if $fault =~ /socket6/ && !$v6;
    $faults->set($fault);
    add_address(++$added);
    sleep 12;
    is_deeply([gone()], [], "$fault: endpoints stay as they are");
}

$faults->set('');
$lab->wait_until(15, sub { endpoints() == @at_start + $added - 1 });
is(scalar(() = endpoints()), @at_start + $added - 1, 'then all that has changed is followed')
    or diag explain [endpoints()];
is_deeply([gone()], [], '    and what was there stays the same');
unlike($httpd->error_log, qr/is not in force|is removed/, 'nothing is said to be gone')
    or diag $httpd->error_log;

# Which connections need an endpoint that is to go is not known at this moment.
$faults->set('diag.refuse ' . ENOBUFS);
$httpd->set_conf("MPTCPListen 127.0.0.1:8001\n");
ok($httpd->graceful, 'a reload, and connections cannot be listed');
is_deeply([gone()], [], '    no endpoint is removed');
$faults->set('');
ok($lab->wait_until(15, sub { !endpoints() }), '    but as soon as they can be') or diag explain [endpoints()];

$httpd->set_conf("MPTCPListen 127.0.0.1:8001\nMPTCPEndpoint 192.0.2.1 signal\n");
ok($httpd->graceful, 'one is there again');
$faults->set('diag.refuse ' . ENOBUFS);
$faults->stop;
is(scalar(() = $lab->endpoints('host')), 0, 'a stop removes all');

done_testing();

sub add_address {
    my ($i) = @_;
    return $lab->run('host', qw(ip address add), "192.0.2.$i/32", qw(dev lo));
}

sub endpoints { my @all = sort $lab->endpoints('host'); return @all }

# With their ids: one that was removed and added again has another.
sub gone {
    my %now = map { $_ => 1 } endpoints();
    return grep { !$now{$_} } @at_start;
}
