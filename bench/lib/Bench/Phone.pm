package Bench::Phone;

# A phone and a server with one address each at a time, and a router between:
#
#   phone ==1: Wi-Fi, 2: mobile== router --9-- server
#
#   my $lab = Bench::Phone->lab(rate => '50mbit');
#   Bench::Phone::arrive($lab, 1);
#
# Whichever network the phone is in, its packets leave by the device that has
# their source address.  The phone's own manager (NetworkManager does so) makes
# an endpoint of each address while it is there.

use strict;
use warnings;
use MPTCP::Lab;

use constant ADDRESS => '10.91.9.2';    # the server's

# rate: of both networks, as MPTCP::Lab has it; and the options of its new()
sub lab {
    my ($class, %o) = @_;
    my $rate = delete $o{rate};
    my $lab = MPTCP::Lab->new(%o);
    $lab->add_host($_) for qw(phone router server);
    $lab->add_path($_, ['phone', "c$_"], ['router', "r$_"], rate => $rate) for 1, 2;
    $lab->add_path(9, ['router', 'r9'], ['server', 's9']);
    $lab->sysctl('router', 'net.ipv4.ip_forward', 1);
    $lab->run(undef, qw(ip -n server route add default via 10.91.9.1));
    $lab->limits($_, subflows => 8, add_addr_accepted => 8) for 'phone', 'server';
    $lab->run(undef, qw(ip -n phone rule add from), "10.91.$_.1", 'table', $_) for 1, 2;
    leave($lab, $_) for 1, 2;
    return $lab;
}

# It is given an address in network $i, or loses it.
sub arrive {
    my ($lab, $i) = @_;
    my @ip = ('ip', '-n', 'phone');
    $lab->run(undef, @ip, 'address', 'add', "10.91.$i.1/24", 'dev', "c$i");
    $lab->run(undef, @ip, 'route', 'add', 'default', 'via', "10.91.$i.2", 'dev', "c$i",
        'table', $i);
    $lab->run(undef, @ip, 'route', 'append', 'default', 'via', "10.91.$i.2", 'dev', "c$i");
    $lab->endpoint('phone', "10.91.$i.1", dev => "c$i", 'id', $i, 'subflow');
    return;
}

sub leave {
    my ($lab, $i) = @_;
    $lab->try(undef, qw(ip -n phone mptcp endpoint delete id), $i);
    # Its routes go with it.
    $lab->run(undef, qw(ip -n phone address flush dev), "c$i");
    return;
}

1;
