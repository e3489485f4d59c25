package Bench::Requests;

# Small requests one after the other, and what they cost.
#
#   Bench::Requests::make(protocol => 'mptcp', kept => 1, count => 1000);
#   my $before = Bench::Requests::processor_time($httpd->pid);

use strict;
use warnings;
use Socket qw(:DEFAULT inet_aton);

use constant IPPROTO_MPTCP => 262;

# From 127.0.0.1, port 80 unless `host` and `port` say otherwise; kept: all of
# them on one connection; `path` of a file of 1000 times 'x'.
sub make {
    my (%o) = @_;
    my $number = $o{protocol} eq 'mptcp' ? IPPROTO_MPTCP : 0;
    my $peer = sockaddr_in($o{port} // 80, inet_aton($o{host} // '127.0.0.1'));
    my $path = $o{path} // '/file';
    my $socket;
    for (1 .. $o{count}) {
        if (!$socket) {
            socket $socket, PF_INET, SOCK_STREAM, $number or die "socket: $!\n";
            connect $socket, $peer or die "connect: $!\n";
        }
        my $close = $o{kept} ? '' : "Connection: close\r\n";
        my $request = "GET $path HTTP/1.1\r\nHost: localhost\r\n$close\r\n";
        syswrite $socket, $request or die "write: $!\n";
        my $in = '';
        until ($in =~ /\r\n\r\nx{1000}$/) {
            sysread $socket, $in, 65536, length $in or die "bench: no answer: $in\n";
        }
        next if $o{kept};
        # httpd's side closes first; to the end.
        1 while sysread $socket, $in, 65536;
        close $socket;
        undef $socket;
    }
    return;
}

# Nanoseconds that a server's parent and its children have been on a processor,
# in user space and in the kernel, what interrupts did meanwhile included.  In
# a guest in virtual time these are instructions.
sub processor_time {
    my ($parent) = @_;
    my $sum = 0;
    for my $stat (glob '/proc/[0-9]*/stat') {
        open my $file, '<', $stat or next;            # gone
        my @field = split ' ', (<$file> // next) =~ s/^.*\) //sr;
        $stat eq "/proc/$parent/stat" || $field[1] == $parent or next;
        for my $task (glob $stat =~ s{stat$}{task/*/schedstat}r) {
            open my $times, '<', $task or next;
            my ($ran) = split ' ', <$times> // next;
            $sum += $ran;
        }
    }
    return $sum;
}

1;
