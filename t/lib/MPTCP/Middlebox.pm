package MPTCP::Middlebox;

# A path with a box in it that removes TCP options which it does not know, as
# some firewalls and proxies do: it clears MPTCP options (kind 30).
#
#   my $box = MPTCP::Middlebox->new($lab, client => 'client',
#       server => 'server', strip => 'syn');
#   ... connect from $box->address(1) to $box->address(2) ...
#
# strip:
#   syn    every segment: the server never hears of MPTCP
#   ack    all but those with SYN: both sides negotiated it, and then it is gone
#   data   as ack, but the client's first bare ACK passes, which ends the
#          handshake
#   none   nothing: a plain wire
#
# The box is a process that copies frames from one packet socket to another.
# Frames larger than the MTU (segmentation offload) do not pass: it is meant
# for small requests.

use strict;
use warnings;
use Cwd ();
use File::Basename qw(dirname);
use Socket qw(:DEFAULT);

use constant {
    PF_PACKET       => 17,
    ETH_P_ALL       => 3,
    PACKET_OUTGOING => 4,
    IPPROTO_TCP     => 6,
    KIND_MPTCP      => 30,
    SYN             => 0x02,
    PATH            => 200,      # the third number of its addresses
};

sub new {
    my ($class, $lab, %o) = @_;
    my $self = bless { lab => $lab, number => PATH }, $class;
    my $number = $self->{number};
    $lab->add_host('box');
    my $host = 0;
    for my $ns (@o{qw(client server)}) {
        $host++;
        $lab->run(undef, qw(ip link add), "m$host", 'netns', $ns, qw(type veth peer name),
            "b$host", qw(netns box));
        $lab->run(undef, qw(ip -n), $ns, qw(address add), $self->address($host) . '/24',
            'dev', "m$host");
        $lab->run(undef, qw(ip -n), $ns, qw(link set), "m$host", 'up');
        $lab->run(undef, qw(ip -n box link set), "b$host", 'up');
    }
    my $lib = dirname(dirname(Cwd::abs_path(__FILE__)));
    $self->{pid} = $lab->spawn('box', $^X, "-I$lib", '-MMPTCP::Middlebox', '-e',
        'MPTCP::Middlebox::_run(@ARGV)', '--', $o{strip} // 'none');
    return $self;
}

sub address { my ($self, $host) = @_; return "10.91.$self->{number}.$host" }

# Ends the box, and takes its devices away.
sub stop {
    my ($self) = @_;
    $self->{lab}->reap($self->{pid});
    $self->{lab}->run(undef, qw(ip -n box link delete), "b$_") for 1, 2;
    return;
}

# ---- The process of the box -------------------------------------------------

sub _run {
    my ($strip) = @_;
    my @side = map { _packet_socket("b$_") } 1, 2;
    my %seen;                            # client ports whose handshake is over
    while (1) {
        my $ready = '';
        vec($ready, fileno $_, 1) = 1 for @side;
        select $ready, undef, undef, undef;
        for my $i (0, 1) {
            next if !vec $ready, fileno $side[$i], 1;
            my $from = recv $side[$i], my $frame, 65536, 0;
            # what this process itself has sent through the device
            next if !defined $from || (unpack 'S n i S C', $from)[4] == PACKET_OUTGOING;
            _pass(\$frame, $strip, $i == 0, \%seen);
            send $side[ 1 - $i ], $frame, 0;
        }
    }
    return;
}

sub _packet_socket {
    my ($dev) = @_;
    socket my $socket, PF_PACKET, SOCK_RAW, unpack 'S', pack 'n', ETH_P_ALL
        or die "packet socket: $!\n";
    open my $file, '<', "/sys/class/net/$dev/ifindex" or die "$dev: $!\n";
    my $index = <$file> + 0;
    bind $socket, pack 'S n i S C C a8', PF_PACKET, ETH_P_ALL, $index, 0, 0, 0, ''
        or die "bind to $dev: $!\n";
    return $socket;
}

# Changes a frame as the box does.
sub _pass {
    my ($frame, $strip, $from_client, $seen) = @_;
    return if unpack('x12 n', $$frame) != 0x0800 || unpack('x23 C', $$frame) != IPPROTO_TCP;
    my $ip  = 14;
    my $tcp = $ip + 4 * (unpack("x$ip C", $$frame) & 15);
    my $end = $ip + unpack "x${ip} x2 n", $$frame;
    my ($port, $offset, $flags) = unpack "x$tcp n x10 C C", $$frame;
    my $payload = $tcp + 4 * ($offset >> 4);

    my $passes = $strip eq 'none' || $flags & SYN && $strip ne 'syn';
    if ($strip eq 'data' && !($flags & SYN) && $from_client && $payload == $end) {
        $passes ||= !$seen->{$port}++;
    }
    _clear_options($frame, $tcp + 20, $payload) if !$passes;

    # The sum may be one that a device was to complete, so it is made anew.
    substr($$frame, $tcp + 16, 2) = "\0\0";
    my $segment = substr $$frame, $tcp, $end - $tcp;
    my $sum = unpack '%32n*', substr($$frame, $ip + 12, 8)
        . pack('n n', IPPROTO_TCP, length $segment) . $segment
        . (length($segment) % 2 ? "\0" : '');
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    substr($$frame, $tcp + 16, 2) = pack 'n', ~$sum & 0xffff;
    return;
}

# Overwrites the MPTCP options with NOPs.
sub _clear_options {
    my ($frame, $at, $end) = @_;
    while ($at < $end) {
        my ($kind, $length) = unpack "x$at C C", $$frame;
        last if $kind == 0;
        if ($kind == 1) { $at++; next }
        last if $length < 2;
        substr($$frame, $at, $length) = "\x01" x $length if $kind == KIND_MPTCP;
        $at += $length;
    }
    return;
}

1;
