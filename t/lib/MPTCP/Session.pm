package MPTCP::Session;

# One connection on which several requests are made, one after the other, with
# whatever happens to the network in between.
#
#   my $session = MPTCP::Session->open(lab => $lab, ns => 'client',
#       host => '10.91.1.2', port => 80, mptcp => 1);
#   my $answer = $session->get('/', 'Accept: text/plain');
#   print $answer->{status}, $answer->{headers}{server}, $answer->{body};
#   $session->close;
#
# Options: lab, ns, host, port, mptcp as for MPTCP::Client.
#
# An answer also has `bytes`, the length of the body (which is left out if that
# is more than a mebibyte), `sent` and `read`, the bytes of the connection's
# payload up to now.  (The socket lives in a process of its own, in the namespace.)

use strict;
use warnings;
use Cwd ();
use File::Basename qw(dirname);
use IPC::Open2 qw(open2);
use JSON::PP ();
use Socket qw(:DEFAULT getaddrinfo AI_NUMERICHOST IPPROTO_TCP SO_LINGER);

use constant IPPROTO_MPTCP => 262;
use constant PATIENCE      => 30;        # seconds, for each answer
use constant LARGE         => 0x100000;  # bytes

my $json = JSON::PP->new->ascii->canonical;

sub open {
    my ($class, %o) = @_;
    my ($lab, $ns) = delete @o{qw(lab ns)};
    my $lib = dirname(dirname(Cwd::abs_path(__FILE__)));
    my $self = bless { owner => $$ }, $class;
    $self->{pid} = open2($self->{from}, $self->{to}, ($lab ? $lab->ns($ns) : ()),
        $^X, "-I$lib", '-MMPTCP::Session', '-e', 'MPTCP::Session::_child(@ARGV)', '--',
        $json->encode(\%o));
    my $answer = $self->_hear;
    die "MPTCP::Session: $answer->{error}\n" if $answer->{error};
    return $self;
}

# A request, and its whole answer; dies when there is none.
sub get {
    my ($self, $path, @headers) = @_;
    my $answer = $self->exchange(join "\r\n", "GET $path HTTP/1.1", 'Host: localhost',
        @headers, '', '');
    die "MPTCP::Session: GET $path: $answer->{error}\n" if $answer->{error};
    return $answer;
}

# Sends anything and reads one answer.
sub exchange { my ($self, $text) = @_; return $self->_do(exchange => $text) }

# The same in two steps, between which the caller goes on.
sub begin  { my ($self, $text) = @_; return $self->_tell(exchange => $text) }
sub finish { my ($self) = @_; return $self->_hear }

# Sends anything, and reads nothing.
sub send { my ($self, $text) = @_; return $self->_do(send => $text) }

# The connection's own port.
sub port { my ($self) = @_; return $self->_do('port')->{port} }

# Ends the connection: in peace, or by a reset.
sub close { my ($self) = @_; return $self->_end('close') }
sub reset { my ($self) = @_; return $self->_end('reset') }

sub _do {
    my ($self, @command) = @_;
    $self->_tell(@command);
    return $self->_hear;
}

sub _tell {
    my ($self, @command) = @_;
    print { $self->{to} } $json->encode(\@command), "\n";
    $self->{to}->flush;
    return;
}

sub _hear {
    my ($self) = @_;
    my $line = readline $self->{from};
    return defined $line ? $json->decode($line) : { error => 'the process has ended' };
}

sub _end {
    my ($self, $how) = @_;
    my $pid = delete $self->{pid} or return;
    $self->_do($how);
    CORE::close $self->{to};
    CORE::close $self->{from};
    waitpid $pid, 0;
    return;
}

sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner} || !$self->{pid};
    local ($?, $!, $@);
    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
    return;
}

# ---- The process with the socket --------------------------------------------

sub _child {
    my ($options) = @_;
    my $o = $json->decode($options);
    $| = 1;
    $SIG{PIPE} = 'IGNORE';
    my $t = { in => '', sent => 0, read => 0 };
    _say($t, eval { _connect($t, $o); {} } // { error => $@ });
    while (defined(my $line = readline STDIN)) {
        my ($command, $text) = @{ $json->decode($line) };
        alarm PATIENCE;
        if ($command eq 'reset') {
            setsockopt $t->{socket}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
        }
        if ($command eq 'close' || $command eq 'reset') {
            CORE::close $t->{socket};
            _say($t, {});
            return;
        }
        if ($command eq 'port') {
            my ($port) = sockaddr_family(getsockname $t->{socket}) == AF_INET
                ? unpack_sockaddr_in(getsockname $t->{socket})
                : unpack_sockaddr_in6(getsockname $t->{socket});
            _say($t, { port => $port });
            next;
        }
        _say($t, eval {
            local $SIG{ALRM} = sub { die "timeout\n" };
            _write($t, $text);
            $command eq 'exchange' ? _answer($t) : {};
        } // { error => $@ });
    }
    return;
}

sub _say {
    my ($t, $answer) = @_;
    chomp $answer->{error} if $answer->{error};
    @$answer{qw(sent read)} = @$t{qw(sent read)};
    print $json->encode($answer), "\n";
    return;
}

sub _connect {
    my ($t, $o) = @_;
    my ($error, $peer) = getaddrinfo($o->{host}, $o->{port},
        { flags => AI_NUMERICHOST, socktype => SOCK_STREAM });
    die "address $o->{host}: $error\n" if $error;
    socket $t->{socket}, $peer->{family}, SOCK_STREAM,
        $o->{mptcp} ? IPPROTO_MPTCP : IPPROTO_TCP or die "socket: $!\n";
    connect $t->{socket}, $peer->{addr} or die "connect: $!\n";
    return;
}

sub _write {
    my ($t, $text) = @_;
    while (length $text) {
        my $count = syswrite $t->{socket}, $text or die "send: $!\n";
        $t->{sent} += $count;
        substr $text, 0, $count, '';
    }
    return;
}

sub _read {
    my ($t) = @_;
    my $count = sysread $t->{socket}, $t->{in}, 65536, length $t->{in};
    die "receive: $!\n" if !defined $count;
    die "the connection has ended\n" if !$count;
    $t->{read} += $count;
    return;
}

# One answer, which has a length, is chunked or has no body at all.
sub _answer {
    my ($t) = @_;
    _read($t) while $t->{in} !~ s/^(.*?)\r\n\r\n//s;
    my ($first, @lines) = split /\r\n/, $1;
    my ($status) = $first =~ m{^HTTP/\d\.\d (\d{3})} or die "no HTTP: '$first'\n";
    my %header = map { /^([^:]+):\s*(.*?)\s*$/ ? (lc $1 => $2) : () } @lines;
    my $body = '';
    if (($header{'transfer-encoding'} // '') =~ /chunked/i) {
        while (1) {
            _read($t) while $t->{in} !~ s/^([0-9a-fA-F]+)[^\n]*\n//;
            my $size = hex $1;
            _read($t) while length $t->{in} < $size + 2;
            $body .= substr $t->{in}, 0, $size, '';
            $t->{in} =~ s/^\r\n//;
            last if !$size;
        }
    }
    elsif (defined(my $length = $header{'content-length'})) {
        _read($t) while length $t->{in} < $length;
        $body = substr $t->{in}, 0, $length, '';
    }
    return { status => $status + 0, headers => \%header, bytes => length $body,
        body => length $body > LARGE ? '' : $body };
}

1;
