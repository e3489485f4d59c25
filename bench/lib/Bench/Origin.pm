package Bench::Origin;

# The simplest of servers, the same behind every proxy: sends a file for a GET,
# and answers a POST with how many bytes it had, and their SHA-256, in JSON.
#
#   Bench::Origin::start(lab => $lab, ns => 'backend', port => 80, mptcp => 1,
#       file => $name);
#
# With md5 => 1 it says the MD5 instead, which takes a tenth of the time.
# It ends with the laboratory.

use strict;
use warnings;
use Cwd ();
use Digest::MD5 ();
use Digest::SHA ();
use File::Basename qw(dirname);
use Socket qw(:DEFAULT IPPROTO_TCP);

use constant IPPROTO_MPTCP => 262;

sub start {
    my (%o) = @_;
    my $lib = dirname(dirname(Cwd::abs_path(__FILE__)));
    my $pid = $o{lab}->spawn($o{ns}, $^X, "-I$lib", '-MBench::Origin', '-e',
        'Bench::Origin::run(@ARGV)', '--', $o{port}, $o{mptcp} ? IPPROTO_MPTCP : IPPROTO_TCP,
        $o{file} // '/dev/null', $o{md5} // 0);
    $o{lab}->wait_until(10, sub { $o{lab}->ss($o{ns}, '-tl', "sport = :$o{port}") })
        or die "bench: no origin on port $o{port}\n";
    return $pid;
}

sub run {
    my ($port, $protocol, $name, $md5) = @_;
    socket(my $listener, PF_INET, SOCK_STREAM, $protocol) or die "socket: $!\n";
    setsockopt $listener, SOL_SOCKET, SO_REUSEADDR, 1;
    bind $listener, sockaddr_in($port, INADDR_ANY) or die "bind: $!\n";
    listen $listener, 511 or die "listen: $!\n";
    $SIG{CHLD} = 'IGNORE';
    while (1) {
        accept my $socket, $listener or next;
        my $pid = fork() // die "fork: $!\n";
        next if $pid;
        close $listener;
        answer($socket, $name, $md5);
        exit;
    }
}

sub answer {
    my ($socket, $name, $md5) = @_;
    my $in = '';
    while ($in !~ /\r\n\r\n/) {
        sysread $socket, $in, 65536, length $in or return;
    }
    my ($head, $rest) = $in =~ /^(.*?\r\n)\r\n(.*)/s;
    if ($head =~ /^Content-Length:\s*(\d+)/im) {
        my ($length, $bytes) = ($1, 0);
        my $digest = $md5 ? Digest::MD5->new : Digest::SHA->new(256);
        while (1) {
            $digest->add($rest);
            $bytes += length $rest;
            last if $bytes >= $length;
            sysread $socket, $rest, 262144 or return;
        }
        my $body = sprintf "{\"bytes\":%d,\"%s\":\"%s\"}\n", $bytes, $md5 ? 'md5' : 'sha256',
            $digest->hexdigest;
        put($socket, head(length $body) . $body);
        return;
    }
    open my $file, '<:raw', $name or return;
    put($socket, head(-s $file)) or return;
    while (sysread $file, my $block, 262144) {
        put($socket, $block) or return;
    }
    return;
}

sub head {
    my ($length) = @_;
    return "HTTP/1.1 200 OK\r\nContent-Length: $length\r\nConnection: close\r\n\r\n";
}

sub put {
    my ($socket, $data) = @_;
    while (length $data) {
        my $count = syswrite $socket, $data or return 0;
        substr($data, 0, $count, '');
    }
    return 1;
}

1;
