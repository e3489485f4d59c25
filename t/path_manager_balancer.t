# Behind a load balancer: two servers with one shared address behind a router
# that spreads connections over both by addresses and ports. A join has other
# ports than the first subflow, and goes to either. The recipe: servers forbid
# joins to the shared address, and each announces one of its own.
#
#   client ==(1, 2)== router --(3)-- one
#                            --(4)-- two      shared: 10.99.0.1
#
# Nothing in here is random, but the ports and the router's hash are: that all
# of twenty joins go right by luck has the probability of 2 to the -20.

use strict;
use warnings;

use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;

my $connections = 20;
my $at_a_time   = 4;
my $size        = 800_000;
my $shared      = '10.99.0.1';
my %server      = (
    one => { path => 3, address => '10.99.1.1' },
    two => { path => 4, address => '10.99.1.2' },
);
my $deny = 'net.mptcp.allow_join_initial_addr_port';

my $lab = build();
my %httpd;

# --- Without the recipe

serve();
my %seen = download();
is($seen{complete}, $connections, 'without the recipe: every download is complete');
cmp_ok($seen{refused}, '>', 0, '    some joins reach the other server, and are refused');
cmp_ok($seen{two_paths}, '<', $connections, '    so these downloads have one path');
note "without: $seen{two_paths} of $connections with two paths, $seen{refused} joins refused";

# --- With it

$lab->sysctl($_, $deny, 0) for keys %server;
for my $name (keys %server) {
    $httpd{$name}->set_conf(conf_of("MPTCPEndpoint $server{$name}{address} signal"));
    $httpd{$name}->graceful or BAIL_OUT($httpd{$name}->error_log);
    my ($last) = $httpd{$name}->error_log =~ /.*(\[mptcp:notice\] .*)\z/s;
    unlike($last, qr/\[mptcp:warn\]/, "with the recipe: server $name has nothing to warn of");
}
%seen = download();
is($seen{complete}, $connections, '    every download is complete');
is($seen{refused}, 0, '    no join is refused');
is($seen{two_paths}, $connections, '    every download has two paths');
cmp_ok($_->{begun}, '>', 0, "    server $_->{name} has its share") for @{ $seen{servers} };
# (A client of 6.1 makes two of some.)
cmp_ok($_->{joined}, '>=', $_->{begun}, "    every join reached its own server, $_->{name}")
    for @{ $seen{servers} };
cmp_ok($seen{share}, '>', 0.25, '    and both paths are used');
note sprintf 'with: %d of %d with two paths, path 2 has %.0f %% of the bytes',
    $seen{two_paths}, $connections, 100 * $seen{share};

done_testing();

# ----

sub build {
    my $net = MPTCP::Lab->new;
    $net->add_host($_) for qw(client router one two);
    $net->add_path($_, ['client', "c$_"], ['router', "r$_"], rate => '30mbit') for 1, 2;
    $net->add_path(3, ['router', 'r3'], ['one', 'o3']);
    $net->add_path(4, ['router', 'r4'], ['two', 't4']);

    my $ip = sub { my ($ns, $words) = @_; $net->run(undef, 'ip', '-n', $ns, split ' ', $words) };
    $net->sysctl('router', 'net.ipv4.ip_forward', 1);
    $net->sysctl('router', 'net.ipv4.fib_multipath_hash_policy', 1);    # layer 4
    $ip->('router', "route add $shared nexthop via 10.91.3.2 nexthop via 10.91.4.2");
    for my $name (keys %server) {
        my ($path, $address) = @{ $server{$name} }{qw(path address)};
        $ip->('router', "route add $address via 10.91.$path.2");
        $ip->($name, "address add $_/32 dev lo") for $shared, $address;
        $ip->($name, "route add default via 10.91.$path.1");
    }
    # The client has two uplinks: what has an uplink's address leaves by it.
    for my $i (1, 2) {
        $ip->('client', "rule add from 10.91.$i.1 table $i");
        $ip->('client', "route add default via 10.91.$i.2 table $i");
    }
    $ip->('client', 'route add default via 10.91.1.2');
    $net->limits('client', subflows => 2, add_addr_accepted => 2);
    $net->endpoint('client', '10.91.2.1', qw(dev c2 subflow fullmesh));
    return $net;
}

# A small buffer: once all is in it the server closes its side, and the kernel
# refuses joins.
sub conf_of { return join "\n", 'MPTCPListen 80', 'SendBufferSize 131072', @_ }

sub serve {
    for my $name (keys %server) {
        my $httpd = $httpd{$name} = MPTCP::Httpd->new(lab => $lab, ns => $name,
            conf => conf_of());
        $httpd->write_file('big', 'x' x $size);
        $httpd->start or BAIL_OUT($httpd->error_log);
    }
    return;
}

sub download {
    my %before = map { ($_ => $lab->counters($_)) } keys %server;
    my @bytes  = map { ($lab->device_bytes('client', "c$_"))[0] } 1, 2;
    my @results;
    for (1 .. $connections / $at_a_time) {
        my @downloads = map {
            MPTCP::Client->start(lab => $lab, ns => 'client', host => $shared, port => 80,
                path => '/big', mptcp => 1, local => '10.91.1.1', timeout => 40)
        } 1 .. $at_a_time;
        push @results, map { $_->wait } @downloads;
    }
    my @now = map { ($lab->device_bytes('client', "c$_"))[0] } 1, 2;
    my @servers;
    for my $name (sort keys %server) {
        my $after = $lab->counters($name);
        my %added = map { ($_ => $after->{"MPTcpExt$_"} - $before{$name}{"MPTcpExt$_"}) }
            qw(MPCapableACKRX MPJoinAckRx MPJoinNoTokenFound);
        push @servers, { name => $name, begun => $added{MPCapableACKRX},
            joined => $added{MPJoinAckRx}, refused => $added{MPJoinNoTokenFound} };
    }
    my $refused = 0;
    $refused += $_->{refused} for @servers;
    my @of = map { $now[$_] - $bytes[$_] } 0, 1;
    return (
        complete  => scalar(grep { !$_->{error} && $_->{bytes} == $size } @results),
        two_paths => scalar(grep { $_->{subflows_seen} > 1 } @results),
        refused   => $refused,
        servers   => \@servers,
        share     => $of[1] / ($of[0] + $of[1]),
    );
}
