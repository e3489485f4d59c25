package MPTCP::Backend;

# Backends for a proxy, as small as each protocol allows: every request is
# answered with the protocol's name and the path that was asked for.
#
#   perl -It/lib -MMPTCP::Backend -e 'MPTCP::Backend::serve(@ARGV)' -- \
#       7001 http 7002 fcgi 7003 http/tcp
#
# Listens on all addresses, by MPTCP unless a protocol ends in '/tcp'.  One
# process for each connection; prints "ready" once all ports are open.

use strict;
use warnings;
use Digest::SHA qw(sha1_base64);
use IO::Handle ();
use IO::Select ();
use POSIX ();
use Socket;

use constant IPPROTO_MPTCP => 262;

my %serve = (
    http  => \&_http,
    ajp   => \&_ajp,
    fcgi  => \&_fcgi,
    scgi  => \&_scgi,
    uwsgi => \&_uwsgi,
    ws    => \&_ws,
    ftp   => \&_ftp,
    mute  => \&_mute,                   # says nothing
    deaf  => \&_deaf,                   # and reads nothing
    slow  => \&_slow,                   # http, after a second
    part  => \&_part,                   # http and uwsgi: half of an answer
    scgi_part => \&_scgi_part,          # the same of scgi
    ftp_part => \&_ftp_part,            # a greeting
    echo  => \&_echo,
    connect => \&_connect,               # an HTTP proxy for CONNECT and GET
);

sub serve {
    my (%protocol) = @_;
    my (%name, @listening);
    for my $port (keys %protocol) {
        my ($name, $tcp) = $protocol{$port} =~ m{^(\w+)(/tcp)?$};
        $serve{ $name // '' } or die "no protocol '$protocol{$port}'\n";
        my $socket = _listen($port, $tcp ? 0 : IPPROTO_MPTCP);
        $name{$socket} = $name;
        push @listening, $socket;
    }
    $SIG{CHLD} = 'IGNORE';
    STDOUT->autoflush;
    print "ready\n";
    my $select = IO::Select->new(@listening);
    while (1) {
        for my $socket ($select->can_read) {
            accept my $connection, $socket or next;
            my $pid = fork() // die "fork: $!";
            if ($pid) { close $connection; next }
            close $_ for @listening;
            $SIG{CHLD} = 'DEFAULT';
            binmode $connection;
            $connection->autoflush;
            eval { $serve{ $name{$socket} }->($connection) };
            close $connection;
            POSIX::_exit(0);
        }
    }
}

# One process that holds all requests until so many have come to its two ports
# together, and then answers them; again and again.  Each time it prints what
# the kernel says of all connections so far, "mptcp tcp" for either port.
sub hold {
    my ($together, @ports) = @_;
    my @listening = map { _listen($_, IPPROTO_MPTCP) } @ports;
    my @count = map { +{ mptcp => 0, tcp => 0 } } @ports;
    my ($select, @waiting, %port) = IO::Select->new(@listening);
    $port{ $listening[$_] } = $_ for 0 .. $#ports;
    STDOUT->autoflush;
    print "ready\n";
    while (1) {
        for my $socket ($select->can_read) {
            if (defined(my $port = $port{$socket})) {
                accept my $connection, $socket or next;
                my $protocol = unpack 'i', getsockopt $connection, SOL_SOCKET, 38; # SO_PROTOCOL
                $count[$port]{ $protocol == IPPROTO_MPTCP ? 'mptcp' : 'tcp' }++;
                $select->add($connection);
            }
            elsif (sysread $socket, my $request, 65536) {
                # a whole one: it is short
                push @waiting, $socket if $request =~ /\r\n\r\n\z/;
            }
            else {
                $select->remove($socket);
                close $socket;
            }
        }
        next if @waiting < $together;
        syswrite $_, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nheld\n" for @waiting;
        @waiting = ();
        print join(' ', map {"$_->{mptcp} $_->{tcp}"} @count), "\n";
    }
}

sub _listen {
    my ($port, $protocol) = @_;
    socket my $socket, PF_INET, SOCK_STREAM, $protocol or die "socket: $!\n";
    setsockopt $socket, SOL_SOCKET, SO_REUSEADDR, 1;
    bind $socket, pack_sockaddr_in($port, INADDR_ANY) or die "bind $port: $!\n";
    listen $socket, 4096 or die "listen: $!\n";
    return $socket;
}

# So many bytes, or dies.
sub _bytes {
    my ($connection, $count) = @_;
    my $data = '';
    while (length $data < $count) {
        read $connection, $data, $count - length $data, length $data
            or die "end of file\n";
    }
    return $data;
}

# The lines up to an empty one, without their ends; none at end of file.
sub _head {
    my ($connection) = @_;
    my @lines;
    while (defined(my $line = <$connection>)) {
        $line =~ s/\r?\n\z//;
        return @lines if $line eq '';
        push @lines, $line;
    }
    return;
}

sub _http {
    my ($connection) = @_;
    while (my ($request) = _head($connection)) {
        my ($path) = $request =~ /^\S+ (\S+)/;
        my $body = "http $path\n";
        $body = '' if $request =~ /^HEAD/;
        print {$connection} "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n",
            'Content-Length: ', length $body, "\r\n\r\n$body";
    }
    return;
}

sub _scgi {
    my ($connection) = @_;
    local $/ = ':';
    my $length = <$connection>;
    chop $length;
    my %param = unpack '(Z*)*', _bytes($connection, $length);
    print {$connection} "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n",
        "scgi $param{REQUEST_URI}\n";
    return;
}

sub _uwsgi {
    my ($connection) = @_;
    my (undef, $length) = unpack 'CvC', _bytes($connection, 4);
    my %param = unpack '(v/a)*', _bytes($connection, $length);
    print {$connection} "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n",
        "uwsgi $param{REQUEST_URI}\n";
    return;
}

sub _fcgi {
    my ($connection) = @_;
    while (1) {
        my (undef, $type, $id, $length, $padding) =
            unpack 'CCnnCx', _bytes($connection, 8);
        my $content = _bytes($connection, $length + $padding);
        next if $type != 5 || $length;  # wait for the end of standard input
        my $body = "Content-Type: text/plain\r\n\r\nfcgi\n";
        print {$connection} pack('CCnnCx', 1, 6, $id, length $body, 0), $body,
            pack('CCnnCx', 1, 6, $id, 0, 0),
            pack('CCnnCx', 1, 3, $id, 8, 0), pack('NCx3', 0, 0);
    }
    return;
}

sub _ajp {
    my ($connection) = @_;
    my $send = sub {
        my ($payload) = @_;
        print {$connection} 'AB', pack 'n/a', $payload;
    };
    while (1) {
        my (undef, $length) = unpack 'nn', _bytes($connection, 4);
        my $packet = _bytes($connection, $length);
        my $code = ord $packet;
        if ($code == 10) {               # CPing
            $send->(chr 9);
        }
        elsif ($code == 2) {             # forward request, without a body
            my ($path) = (unpack 'CC n/a x n/a x', $packet)[3];
            my $body = "ajp $path\n";
            $send->(pack 'C n n/a x n n n/a x', 4, 200, 'OK', 1, 0xA001, 'text/plain');
            $send->(pack 'C n/a x', 3, $body);
            $send->(pack 'CC', 5, 1);
        }
    }
    return;
}

# Answers each frame of a WebSocket with the same text.
sub _ws {
    my ($connection) = @_;
    my %header = map { /^([^:]+): *(.*)$/ ? (lc $1 => $2) : () } _head($connection);
    my $accept = sha1_base64(
        $header{'sec-websocket-key'} . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . '=';
    print {$connection} "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nSec-WebSocket-Accept: $accept\r\n\r\n";
    while (1) {
        my ($type, $length) = unpack 'CC', _bytes($connection, 2);
        $length &= 0x7f;                 # short ones only
        my $mask = _bytes($connection, 4);
        my $text = _bytes($connection, $length)
            ^ substr $mask x (1 + $length / 4), 0, $length;
        print {$connection} pack('CC', $type, $length), $text;
    }
    return;
}

sub _mute {
    my ($connection) = @_;
    1 while sysread $connection, my $data, 65536;
    return;
}

sub _deaf { return sleep 3600 }

sub _slow {
    my ($connection) = @_;
    while (_head($connection)) {
        sleep 1;
        print {$connection} "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nslow\n";
    }
    return;
}

sub _part {
    my ($connection) = @_;
    sysread $connection, my $request, 65536;
    print {$connection} "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    return _mute($connection);
}

sub _scgi_part {
    my ($connection) = @_;
    sysread $connection, my $request, 65536;
    print {$connection} "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nhalf";
    return _mute($connection);
}

sub _ftp_part {
    my ($connection) = @_;
    print {$connection} "220 ready\r\n";
    return _mute($connection);
}

sub _echo {
    my ($connection) = @_;
    while (sysread $connection, my $data, 65536) {
        syswrite $connection, $data;
    }
    return;
}

# A proxy that is the origin server too: the answer says what was asked of it.
sub _connect {
    my ($connection) = @_;
    my ($request) = _head($connection) or return;
    if ($request =~ /^CONNECT (\S+)/) {
        print {$connection} "HTTP/1.1 200 OK\r\n\r\n";
        return _echo($connection);
    }
    my ($url) = $request =~ /^\S+ (\S+)/;
    my $body = "remote proxy $url\n";
    print {$connection} "HTTP/1.1 200 OK\r\nContent-Length: ", length $body,
        "\r\nConnection: close\r\n\r\n$body";
    return;
}

# Enough FTP for mod_proxy_ftp to fetch a file.
sub _ftp {
    my ($connection) = @_;
    my $data;
    print {$connection} "220 ready\r\n";
    while (defined(my $line = <$connection>)) {
        my ($command, $argument) = $line =~ /^(\w+) ?(.*?)\r?\n/ or next;
        my %simple = (
            USER => '230 welcome', PASS => '230 welcome', TYPE => '200 fine',
            CWD => '250 there', PWD => '257 "/"', SYST => '215 UNIX',
            SIZE => '213 4', MDTM => '500 no', QUIT => '221 bye',
        );
        if (defined $simple{$command}) {
            print {$connection} "$simple{$command}\r\n";
        }
        elsif ($command eq 'EPSV') {
            $data = _listen(0, IPPROTO_MPTCP);
            my ($port) = unpack_sockaddr_in(getsockname $data);
            print {$connection} "229 here (|||$port|)\r\n";
        }
        elsif ($command eq 'RETR') {
            print {$connection} "150 coming\r\n";
            accept my $transfer, $data or die "accept: $!";
            print {$transfer} "ftp\n";
            close $transfer;
            print {$connection} "226 done\r\n";
        }
        else {
            print {$connection} "500 unknown\r\n";
        }
        last if $command eq 'QUIT';
    }
    return;
}

1;
