# Pools of connections: they are used again, whatever asked for them stays what
# it was, and a request on a connection that is there costs no system call more
# with multipathtcp=On than with Off: before it is used again, the kernel is
# asked for its subflows where that of TCP is polled.

use strict;
use warnings;

use File::Temp ();
use MPTCP::Lab;
use MPTCP::ProxyLab;
use Test::More;
use Time::HiRes qw(sleep);

MPTCP::Lab->enter;

my $lab = MPTCP::ProxyLab->new;
my $b   = $lab->{backend};
$lab->backends(7001 => 'http');

my $pools = <<"END";
KeepAlive On
ProxyPass /on/  http://$b:7001/on/  multipathtcp=On
ProxyPass /off/ http://$b:7001/off/ multipathtcp=Off
ProxyPass /ttl/ http://$b:7001/ttl/ multipathtcp=On ttl=1
ProxyPass /no/  http://$b:7001/no/  multipathtcp=On disablereuse=On
ProxyPassMatch ^/reuse/(.*)\$ http://$b:7001/reuse/\$1 multipathtcp=On enablereuse=On
END
$lab->proxy($pools);

# Ten requests on one connection of the client, so by one child.
sub ten { my ($path) = @_; return map {"http://127.0.0.1:8000$path"} 1 .. 10 }
for ([on => 1, 1], [off => 0, 1], [no => 10, 10],
    # (a pattern's worker is found since 2.4.47)
    MPTCP::Httpd::since('2.4.47') ? [reuse => 1, 1] : ()) {
    my ($path, $mptcp, $connections) = @$_;
    my $counted = $lab->counted(sub { $lab->request(ten("/$path/some-page")) });
    is_deeply($counted, { mptcp => $mptcp, connections => $connections },
        "/$path/: ten requests, $connections connections, $mptcp by MPTCP");
}
my $counted = $lab->counted(sub { for (1 .. 2) { $lab->request('/ttl/x'); sleep 1.5 } });
is_deeply($counted, { connections => 2, mptcp => 2 }, 'ttl=1: a new connection, by MPTCP');

# --- The order of LoadModule lines does not matter, and neither do restarts

my $one = "ProxyPass / http://$b:7001/ multipathtcp=%s disablereuse=On\n";
for my $order (qw(first last)) {
    my $httpd = $lab->proxy(sprintf($one, 'On'), order => $order);
    $lab->is_mptcp('/x', "mod_mptcp is loaded $order");
    for my $how (qw(graceful restart)) {
        ok($httpd->$how, "$order: $how");
        $lab->is_mptcp('/x', "$order: after $how");
    }
    my $conf = $httpd->{conf};
    $httpd->set_conf($conf =~ s/multipathtcp=On/multipathtcp=Off/r);
    $httpd->graceful;
    $lab->is_tcp('/x', "$order: a reload with Off");
    $httpd->set_conf($conf);
    $httpd->graceful;
    $lab->is_mptcp('/x', "$order: a reload with On");
}

# --- What a request costs. The thread that serves it may change, so only calls
# on sockets are compared.

my $trace = File::Temp->new(TMPDIR => 1);
$lab->proxy($pools, before => 
    ['strace', '-D', '-f', '-qq', '-e', 'trace=%net,read,writev,poll,ppoll', '--seccomp-bpf', '-o', "$trace"]);
my $compared = qr/^(?:socket|connect|bind|shutdown|[gs]etsockopt|get(?:peer|sock)name|writev
    |send\w+|looks)$/x;
my %calls;
for my $path (qw(off on)) {
    # on one connection of the client: a warm-up, then ten between two marks
    # (request's first argument is the last that it asks for)
    $lab->request(map {"http://127.0.0.1:8000/$path/$_"} 'end', 'warm-up', 'begin', ('x') x 10);
    open my $lines, '<', "$trace" or die "$trace: $!";
    my ($inside, %of, %serves) = (0);
    while (my $line = <$lines>) {
        my ($thread, $call) = $line =~ /^(\d+) +(?:(\w+)\()?/ or next;
        $inside = 1 if $line =~ m{GET /$path/begin};
        $inside = 0 if $line =~ m{GET /$path/end};
        next if !$inside;
        # a poll that does not wait; how often one waits for the backend, or whether
        # it has answered already, is chance
        $call = 'looks'
            if $line =~ / poll\(.*, 0(?:\)| <unf)| ppoll\(.*tv_sec=0, tv_nsec=0\}/;
        $serves{$thread} = 1 if $line =~ m{GET /$path/};
        $of{$thread}{$call}++ if ($call // '') =~ $compared;
    }
    # not those of a child that httpd starts meanwhile
    for my $thread (keys %serves) {
        $calls{$path}{$_} += $of{$thread}{$_} for keys %{ $of{$thread} };
    }
}
cmp_ok($calls{off}{writev} // 0, '>=', 10, 'requests on an open connection have been traced');
ok(!exists $calls{on}{connect} && !exists $calls{off}{connect}, 'and no connection was made');
my $requests = $calls{off}{looks};
cmp_ok($requests // 0, '>=', 10, 'with Off, it is polled before each request');
is(delete $calls{on}{getsockopt}, $requests, 'with On, the kernel is asked for its subflows');
is($calls{on}{looks}, undef, '    in place of that');
delete $calls{off}{looks};
is_deeply($calls{on}, $calls{off}, '    and all other system calls are the same');

done_testing();
