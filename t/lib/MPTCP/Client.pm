package MPTCP::Client;

# An HTTP client that notices what Multipath TCP does to it.
#
#   my $result = MPTCP::Client::get(lab => $lab, ns => 'client',
#       host => '10.91.1.2', port => 80, path => '/file', mptcp => 1);
#
#   my $download = MPTCP::Client->start(... the same ...);
#   $download->wait_bytes(10e6) or die;
#   $lab->cut(2);
#   my $result = $download->wait;
#
# Options:
#   lab, ns      where it runs; without ns where the script does
#   host, port   a numeric address, of either family
#   path         '/' unless given
#   mptcp        1: a socket of protocol 262, 0: plain TCP
#   local        the source address, if it matters
#   headers      more lines: ['Range: bytes=0-9']; method  'GET' unless given
#   upload       name of a file to send as the body of a POST
#   timeout      of the whole thing, in seconds (60)
#   keep         1: keep the body, see below
#   md5          1: MD5 in place of SHA-256, of which a slow machine does no more
#                than 14 MB/s; the result then has md5 and sent_md5
#   on_progress  called with (bytes of the body so far, seconds since the start)
#                about twenty times a second, while wait or wait_bytes runs
#
# Result, a hash:
#   error          '' or what went wrong; the rest is then what was seen so far
#   status         of HTTP, 0 if none came
#   headers        { lower-case name => value }
#   bytes          of the body, as transferred with any chunking removed
#   sha256         of those, in hexadecimal
#   body           those, if `keep` was set
#   seconds        from connect() to the end
#   rate           bytes / second, of the body, from its first to its last byte
#   longest_stall  seconds, the longest time between two reads that brought
#                  something, from the first of the body on
#   is_mptcp       1 if the kernel still called it MPTCP at the last look
#   fallback       1 if MPTCP was asked for, and it is not (or no longer) that
#   subflows_seen  the most at the same time, the first one included; 0 unless
#                  it was MPTCP
# With `upload` there is also
#   sent, sent_sha256
#                  what bytes and sha256 are for the other direction
# and rate and longest_stall are those of the upload, as the peer's kernel
# acknowledges it; on_progress counts those bytes.

use strict;
use warnings;
use Carp qw(croak);
use Cwd ();
use Digest::MD5 ();
use Digest::SHA ();
use Errno qw(EAGAIN EINPROGRESS EINTR);
use File::Basename qw(dirname);
use JSON::PP ();
use POSIX ();
use Socket qw(:DEFAULT getaddrinfo AI_NUMERICHOST IPPROTO_TCP);
use Time::HiRes qw(time);

use constant {
    IPPROTO_MPTCP => 262,
    SOL_MPTCP     => 284,
    MPTCP_INFO    => 1,
    TCP_IS_MPTCP  => 43,      # Linux 6.10
    FLAG_FALLBACK => 1,       # of mptcpi_flags
    SIOCOUTQ      => 0x5411,
    LOOK_EVERY    => 0.05,    # seconds, at the socket's state
    ACK_EVERY     => 0.005,   # seconds, at what is acknowledged of an upload
};

# ---- The caller's side ------------------------------------------------------

# Runs one request to its end, and returns the result.
sub get {
    my (%o) = @_;
    return __PACKAGE__->start(%o)->wait;
}

# Begins one request, in a process of its own.
sub start {
    my ($class, %o) = @_;
    my $on_progress = delete $o{on_progress};
    my ($lab, $ns) = delete @o{qw(lab ns)};
    croak "MPTCP::Client: 'ns' needs 'lab'" if defined $ns && !$lab;
    croak "MPTCP::Client: '$_' is missing" for grep { !defined $o{$_} } qw(host port);

    my $lib = dirname(dirname(Cwd::abs_path(__FILE__)));
    my @command = (($lab ? $lab->ns($ns) : ()), $^X, "-I$lib", '-MMPTCP::Client',
        '-e', 'MPTCP::Client::_child(@ARGV)', '--', JSON::PP->new->ascii->encode(\%o));
    my $pid = open(my $from, '-|', @command) // die "MPTCP::Client: @command[0 .. 2]: $!\n";
    return bless {
        owner => $$, pid => $pid, from => $from, pending => '',
        bytes => 0, seconds => 0, on_progress => $on_progress,
    }, $class;
}

# Waits until so many bytes of the body have come: true; false if the request
# has ended before.
sub wait_bytes {
    my ($self, $bytes) = @_;
    while (!$self->{result}) {
        return 1 if $self->{bytes} >= $bytes;
        $self->_hear;
    }
    return $self->{bytes} >= $bytes;
}

# Waits for the end, and returns the result.
sub wait {
    my ($self) = @_;
    $self->_hear while !$self->{result};
    return $self->{result};
}

# Bytes of the body as last heard of.
sub bytes { my ($self) = @_; return $self->{bytes} }

# True once wait would return at once; hears what there is to hear.
sub done {
    my ($self) = @_;
    while (!$self->{result}) {
        my $ready = '';
        vec($ready, fileno($self->{from}), 1) = 1;
        last if select($ready, undef, undef, 0) < 1;
        $self->_hear;
    }
    return $self->{result} ? 1 : 0;
}

# Ends it at once, in the middle of whatever it is doing.
sub cancel {
    my ($self) = @_;
    kill 'KILL', $self->{pid} if !$self->{result};
    return $self->wait;
}

# Takes in what the child has written, at least something.
sub _hear {
    my ($self) = @_;
    my $count = sysread $self->{from}, $self->{pending}, 65536, length $self->{pending};
    return if !defined $count && $! == EINTR;
    if (!$count) {
        close $self->{from};
        $self->{result} //= { error => "the client's process has ended (status $?)",
            status => 0, headers => {}, bytes => $self->{bytes}, sha256 => '', body => '',
            seconds => $self->{seconds}, rate => 0, longest_stall => 0, is_mptcp => 0,
            fallback => 0, subflows_seen => 0 };
        return;
    }
    while ($self->{pending} =~ s/^([^\n]*)\n//) {
        my $message = JSON::PP->new->ascii->decode($1);
        if (ref $message eq 'HASH') {
            close $self->{from};         # waits for the child, which is done
            $self->{bytes}  = $message->{bytes};
            $self->{result} = $message;
            return;
        }
        @$self{qw(bytes seconds)} = @$message;
        $self->{on_progress}->(@$message) if $self->{on_progress};
    }
    return;
}

sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner} || $self->{result};
    local ($?, $!, $@);
    kill 'KILL', $self->{pid};
    close $self->{from};
    return;
}

# ---- The child's side -------------------------------------------------------
# One JSON value a line on standard output: [bytes, seconds] while it works,
# the result at the end.

sub _child {
    my ($json) = @_;
    my $o = JSON::PP->new->ascii->decode($json);
    $| = 1;
    $SIG{PIPE} = 'IGNORE';               # an error of write() says more
    my $t = {
        options => $o, started => time, wanted => $o->{mptcp} ? 1 : 0,
        deadline => time + ($o->{timeout} // 60), looked => 0,
        digest => _digest($o), in => '', stage => 'head',
        result => { error => '', status => 0, headers => {}, bytes => 0, sha256 => '',
            seconds => 0, rate => 0, longest_stall => 0, is_mptcp => 0, fallback => 0,
            subflows_seen => 0 },
    };
    my $r = $t->{result};
    eval {
        _connect($t);
        _send($t);
        _upload($t) if defined $t->{options}{upload};
        _receive($t);
        1;
    } or do {
        chomp(my $error = $@);
        $r->{error} = $error;
        # A transfer that stands still until it is given up has stalled.
        _note_stall($t, time) if defined $t->{last_read};
    };
    $r->{seconds} = time - $t->{started};
    my $digest = $o->{md5} ? 'md5' : 'sha256';
    $r->{$digest} = $t->{digest}->hexdigest;
    if ($t->{sending}) {
        $r->{$_} = $t->{sending}{$_} for qw(sent rate longest_stall);
        $r->{"sent_$digest"} = $t->{sending}{digest};
    }
    elsif (defined $t->{first_read} && $t->{last_read} > $t->{first_read}) {
        $r->{rate} = $r->{bytes} / ($t->{last_read} - $t->{first_read});
    }
    print JSON::PP->new->ascii->encode($r), "\n";
    return;
}

sub _connect {
    my ($t) = @_;
    my $o = $t->{options};
    my $peer = _address($o->{host}, $o->{port});
    my $protocol = $t->{wanted} ? IPPROTO_MPTCP : IPPROTO_TCP;
    socket($t->{socket}, $peer->{family}, SOCK_STREAM, $protocol)
        or die "socket, protocol $protocol: $!\n";
    if (defined $o->{local}) {
        bind $t->{socket}, _address($o->{local}, 0)->{addr} or die "bind to $o->{local}: $!\n";
    }
    $t->{socket}->blocking(0);
    if (!connect $t->{socket}, $peer->{addr}) {
        die "connect: $!\n" if $! != EINPROGRESS;
        _await($t, 'write');
        local $! = unpack 'i', getsockopt($t->{socket}, SOL_SOCKET, SO_ERROR);
        die "connect: $!\n" if $! != 0;
    }
    $t->{connected} = 1;
    return;
}

sub _digest {
    my ($o) = @_;
    return $o->{md5} ? Digest::MD5->new : Digest::SHA->new(256);
}

sub _address {
    my ($host, $port) = @_;
    my ($error, $first) = getaddrinfo($host, $port,
        { flags => AI_NUMERICHOST, socktype => SOCK_STREAM });
    die "address $host: $error\n" if $error;
    return $first;
}

sub _send {
    my ($t) = @_;
    my $o = $t->{options};
    my $host = $o->{host} =~ /:/ ? "[$o->{host}]" : $o->{host};
    my @lines = @{ $o->{headers} // [] };
    unshift @lines, "Host: $host:$o->{port}" if !grep { /^host:/i } @lines;
    my $path = $o->{path} // '/';
    my $method = $o->{method} // 'GET';
    if (defined $o->{upload}) {
        $method = $o->{method} // 'POST';
        push @lines, 'Content-Length: ' . (-s $o->{upload} // die "$o->{upload}: $!\n");
    }
    push @lines, 'Connection: close' if !grep { /^connection:/i } @lines;
    my $request = join "\r\n", "$method $path HTTP/1.1", @lines, '', '';
    while (length $request) {
        my $count = syswrite $t->{socket}, $request;
        if (defined $count) { substr($request, 0, $count) = ''; next }
        die "send: $!\n" if $! != EAGAIN && $! != EINTR;
        _await($t, 'write');
    }
    return;
}

# Sends the body, and waits until the peer's kernel has all of it.
sub _upload {
    my ($t) = @_;
    open my $file, '<:raw', $t->{options}{upload} or die "$t->{options}{upload}: $!\n";
    my $digest = _digest($t->{options});
    my $up = $t->{sending} = { sent => 0, digest => '', rate => 0, longest_stall => 0,
        acknowledged => 0, started => time, last => time };
    my $buffer = '';
    while (1) {
        if (!length $buffer) {
            read $file, $buffer, 262144 or last;
            $digest->add($buffer);
        }
        my $count = syswrite $t->{socket}, $buffer;
        if (defined $count) {
            substr($buffer, 0, $count, '');
            $up->{sent} += $count;
        }
        elsif ($! != EAGAIN && $! != EINTR) { die "send: $!\n" }
        _note_acknowledged($t, defined $count ? 0 : ACK_EVERY);
    }
    $up->{digest} = $digest->hexdigest;
    _note_acknowledged($t, ACK_EVERY) while $up->{acknowledged} < $up->{sent};
    return;
}

# Waits so long for room in the send buffer, then sees what has gone.
sub _note_acknowledged {
    my ($t, $wait) = @_;
    my $up = $t->{sending};
    if ($wait) {
        # Room is not reported before a third of the buffer is free, and an
        # early answer is none of this loop's business: just a short rest.
        select undef, undef, undef, $wait;
    }
    my $queued = pack 'i', 0;
    ioctl $t->{socket}, SIOCOUTQ, $queued or die "SIOCOUTQ: $!\n";
    my ($now, $acknowledged) = (time, $up->{sent} - unpack 'i', $queued);
    my $gap = $now - $up->{last};
    $up->{longest_stall} = $gap if $gap > $up->{longest_stall};
    if ($acknowledged > $up->{acknowledged}) {
        $up->{acknowledged} = $acknowledged;
        $up->{last} = $now;
        $up->{rate} = $acknowledged / ($now - $up->{started});
    }
    _look_and_tell($t) if $now - $t->{looked} >= LOOK_EVERY;
    return;
}

sub _receive {
    my ($t) = @_;
    while ($t->{stage} ne 'done') {
        my $count = sysread $t->{socket}, $t->{in}, 262144, length $t->{in};
        if (!defined $count) {
            die "receive: $!\n" if $! != EAGAIN && $! != EINTR;
            _await($t, 'read');
            next;
        }
        if ($count == 0) {
            _look($t);
            die "the connection ended too early\n" if $t->{stage} ne 'rest';
            last;
        }
        _take($t, time);
        _look_and_tell($t) if time - $t->{looked} >= LOOK_EVERY;
    }
    _look($t);
    return;
}

# What has come goes through the stages of a response:
#   head -> length | rest | size;   size -> chunk -> size;   size -> trailer;
#   and all of them end in done
sub _take {
    my ($t, $now) = @_;
    my $before = $t->{result}{bytes};
    1 while $t->{stage} ne 'done' && _take_one($t);
    return if $t->{result}{bytes} == $before;
    _note_stall($t, $now) if defined $t->{last_read};
    $t->{first_read} //= $now;
    $t->{last_read} = $now;
    return;
}

# True if it got any further.
sub _take_one {
    my ($t) = @_;
    my $stage = $t->{stage};
    if ($stage eq 'head') {
        $t->{in} =~ s/^(.*?)\r?\n\r?\n//s or return 0;
        _read_head($t, $1);
        return 1;
    }
    if ($stage eq 'size') {
        $t->{in} =~ s/^([0-9a-fA-F]+)[^\n]*\n// or return 0;
        @$t{qw(left stage)} = (hex $1, 'chunk');
        $t->{stage} = 'trailer' if $t->{left} == 0;
        return 1;
    }
    if ($stage eq 'trailer') {
        $t->{in} =~ s/^(?:[^\n]+\n)*?\r?\n// or return 0;
        $t->{stage} = 'done';
        return 1;
    }
    if ($stage eq 'chunk' && $t->{left} == 0) {
        $t->{in} =~ s/^\r?\n// or return 0;
        $t->{stage} = 'size';
        return 1;
    }
    return 0 if !length $t->{in};
    my $count = length $t->{in};
    $count = $t->{left} if $stage ne 'rest' && $count > $t->{left};
    _body($t, substr $t->{in}, 0, $count, '');
    return 1 if $stage eq 'rest';
    $t->{left} -= $count;
    $t->{stage} = 'done' if $stage eq 'length' && $t->{left} == 0;
    return 1;
}

sub _read_head {
    my ($t, $head) = @_;
    my ($first, @lines) = split /\r?\n/, $head;
    my $r = $t->{result};
    ($r->{status}) = $first =~ m{^HTTP/\d\.\d (\d{3})} or die "no HTTP: '$first'\n";
    $r->{status} += 0;
    for (@lines) {
        $r->{headers}{ lc $1 } = $2 if /^([^:]+):\s*(.*?)\s*$/;
    }
    return if $r->{status} == 100;       # another head follows
    my $length = $r->{headers}{'content-length'};
    if (($r->{headers}{'transfer-encoding'} // '') =~ /chunked/i) {
        $t->{stage} = 'size';
    }
    elsif (($t->{options}{method} // 'GET') eq 'HEAD' || $r->{status} =~ /^(?:204|304)$/
        || defined $length && $length == 0)
    {
        $t->{stage} = 'done';
    }
    else {
        @$t{qw(left stage)} = defined $length ? ($length, 'length') : (0, 'rest');
    }
    return;
}

sub _body {
    my ($t, $data) = @_;
    $t->{digest}->add($data);
    $t->{result}{bytes} += length $data;
    # As characters 0 to 255, which is how it travels in JSON.
    $t->{result}{body} .= $data if $t->{options}{keep};
    return;
}

sub _note_stall {
    my ($t, $now) = @_;
    my $gap = $now - $t->{last_read};
    $t->{result}{longest_stall} = $gap if $gap > $t->{result}{longest_stall};
    return;
}

# Waits until the socket is ready, and looks at it now and then meanwhile.
sub _await {
    my ($t, $for) = @_;
    while (1) {
        die "timeout\n" if time > $t->{deadline};
        my $bits = '';
        vec($bits, fileno($t->{socket}), 1) = 1;
        my ($read, $write) = $for eq 'read' ? ($bits, undef) : (undef, $bits);
        return if select($read, $write, undef, LOOK_EVERY) > 0;
        _look_and_tell($t);
    }
}

sub _look_and_tell {
    my ($t) = @_;
    die "timeout\n" if time > $t->{deadline};
    $t->{looked} = time;
    _look($t);
    my $bytes = $t->{sending} ? $t->{sending}{acknowledged} : $t->{result}{bytes};
    printf "[%d,%.3f]\n", $bytes, time - $t->{started};
    return;
}

# What the kernel says of the connection right now.
sub _look {
    my ($t) = @_;
    return if !$t->{wanted} || !$t->{connected};
    # Once fallen back, the option is plain TCP's to answer, which knows no
    # SOL_MPTCP and refuses.
    my $info = getsockopt $t->{socket}, SOL_MPTCP, MPTCP_INFO;
    my ($subflows, $flags) = defined $info ? unpack 'C x7 L', $info : (0, FLAG_FALLBACK);
    my $is_mptcp = !($flags & FLAG_FALLBACK);
    my $says = getsockopt $t->{socket}, IPPROTO_TCP, TCP_IS_MPTCP;
    $is_mptcp = unpack 'i', $says if defined $says;

    my $r = $t->{result};
    $r->{is_mptcp} = $is_mptcp ? 1 : 0;
    $r->{fallback} = $is_mptcp ? 0 : 1;
    $r->{subflows_seen} = $subflows + 1 if $is_mptcp && $subflows + 1 > $r->{subflows_seen};
    return;
}

1;
