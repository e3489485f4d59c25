package MPTCP::Delay;

# A path on which every packet is so long on its way, for kernels without
# netem.
#
#   my $lab = MPTCP::Lab->two_paths(delay => 0.025);    # seconds, each way
#
# The device of either host ends in a namespace of its own, line<i>, where a
# process copies frames from one to the other, each when its time has come.
# With PACKET_VNET_HDR they keep what offloads are to do with them, so they
# pass as they are: of any size, with sums that are not made yet.

use strict;
use warnings;
use Cwd ();
use File::Basename qw(dirname);
use IO::Handle ();
use Socket qw(:DEFAULT);
use Time::HiRes qw(time);

use constant {
    PF_PACKET              => 17,
    ETH_P_ALL              => 3,
    SOL_PACKET             => 263,
    PACKET_VNET_HDR        => 15,
    PACKET_IGNORE_OUTGOING => 23,
    LARGEST                => 0x11000,
    BUFFER                 => 8 << 20,    # bytes
};

# Makes the devices of path $i, [namespace, device] each, and what is between
# them.
sub link {
    my ($lab, $i, $one, $two, $delay) = @_;
    my $line = "line$i";
    $lab->add_host($line);
    for my $end ([$one, "l${i}a"], [$two, "l${i}b"]) {
        my ($host, $device) = @$end;
        $lab->run(undef, qw(ip link add), $host->[1], 'netns', $host->[0],
            qw(type veth peer name), $device, 'netns', $line);
        $lab->run(undef, 'ip', '-n', $line, qw(link set), $device, 'up');
    }
    my $lib = dirname(dirname(Cwd::abs_path(__FILE__)));
    $lab->spawn($line, $^X, "-I$lib", '-MMPTCP::Delay', '-e', 'MPTCP::Delay::_run(@ARGV)',
        '--', $delay, "l${i}a", "l${i}b");
    return;
}

# ---- The process between them ------------------------------------------------

sub _run {
    my ($delay, @device) = @_;
    my @side = map { _packet_socket($_) } @device;
    my @under_way;                        # [when it arrives, where, frame]
    while (1) {
        my $ready = '';
        vec($ready, fileno $_, 1) = 1 for @side;
        my $wait = @under_way ? $under_way[0][0] - time : undef;
        select $ready, undef, undef, defined $wait && $wait < 0 ? 0 : $wait;
        for my $i (0, 1) {
            while (defined recv $side[$i], my $frame, LARGEST, 0) {
                push @under_way, [time + $delay, $side[ 1 - $i ], $frame];
            }
        }
        while (@under_way && $under_way[0][0] <= time) {
            my (undef, $to, $frame) = @{ shift @under_way };
            # a queue that is full, or a device that is down, loses it
            send $to, $frame, 0;
        }
    }
    return;
}

sub _packet_socket {
    my ($device) = @_;
    socket my $socket, PF_PACKET, SOCK_RAW, unpack 'S', pack 'n', ETH_P_ALL
        or die "packet socket: $!\n";
    setsockopt $socket, SOL_PACKET, $_, 1 or die "packet socket, option $_: $!\n"
        for PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING;
    setsockopt $socket, SOL_SOCKET, SO_RCVBUF, BUFFER;
    open my $file, '<', "/sys/class/net/$device/ifindex" or die "$device: $!\n";
    my $index = <$file> + 0;
    bind $socket, pack 'S n i S C C a8', PF_PACKET, ETH_P_ALL, $index, 0, 0, 0, ''
        or die "bind to $device: $!\n";
    $socket->blocking(0);
    return $socket;
}

1;
