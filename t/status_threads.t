# The status page by many threads of one process at the same time.  What is
# read there of the configuration is shared by them.

use strict;
use warnings;

use IO::Socket::INET;
use MPTCP::Httpd;
use MPTCP::Lab;
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

MPTCP::Lab->enter;
MPTCP::Lab->new->run(undef, qw(ip link set lo up));

# Workers none of which asks for MPTCP: all of them are looked at.
my $workers = join '', map {"ProxyPass /$_/ http://127.0.0.1:$_/\n"} 7000 .. 7999;
my $httpd = MPTCP::Httpd->new(load => [qw(proxy proxy_http)], conf => <<"END_CONF");
Listen 127.0.0.1:80
<IfModule !mpm_prefork_module>
    ServerLimit 1
    StartServers 1
    ThreadsPerChild 16
    MaxRequestWorkers 16
    MaxSpareThreads 16
</IfModule>
MaxKeepAliveRequests 0
$workers
<Location /mptcp-status>
    SetHandler mptcp-status
</Location>
END_CONF
$httpd->start or BAIL_OUT($httpd->error_log);

my @clients = map { client() } 1 .. 8;
my @failed = grep { waitpid($_, 0) != $_ || $? } @clients;
is(scalar @failed, 0, 'eight clients ask for the page again and again: each gets it each time');
$httpd->stop;
done_testing;

# A process that makes requests on one connection after another, and fails if one
# has no answer. (httpd may end a connection that is kept alive, and does where
# for a moment no thread was idle: on one slow processor.)
sub client {
    my $pid = fork() // die "fork: $!\n";
    return $pid if $pid;
    my $ok = eval {
        my $until = time + 3;
        my $answers = 0;
        local $SIG{PIPE} = 'IGNORE';
        while (time < $until) {
            my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 80)
                or die "connect: $@\n";
            for (my $n = 0; time < $until; $n++) {
                print {$socket} "GET /mptcp-status?json HTTP/1.1\r\nHost: localhost\r\n\r\n";
                my ($length, $line, $head) = (0, '', '');
                while (defined($line = <$socket>) && $line ne "\r\n") {
                    $head .= $line;
                    $length = $1 if $line =~ /^Content-Length: (\d+)/i;
                }
                last if $n && $head eq '';
                my $read = read($socket, my $body, $length);
                die "$!: $read of $length bytes, after\n$head" if !$length || $read != $length;
                $answers++;
            }
        }
        $answers or die "no answer at all\n";
    };
    diag "a client: $@" if !$ok;
    POSIX::_exit($ok ? 0 : 1);
}
