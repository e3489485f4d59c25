# The recipe "A reverse proxy over two networks": whichever network is lost, and
# however, every request is answered, those that need a new connection too.

use strict;
use warnings;

use MPTCP::Lab;
use MPTCP::ProxyLab;
use Test::More;
use Time::HiRes qw(sleep);

MPTCP::Lab->enter;

my $lab = MPTCP::ProxyLab->new(paths => 2);
# For how long requests are made, and when in that time a network is lost.
my ($LASTS, $LOST) = (5, 1.5);

$lab->hosts(<<'END');
127.0.0.1 localhost
10.91.1.2 backend.test
10.91.2.2 backend.test
END
my $backend = $lab->new_httpd('backend', <<'END');
MPTCPListen 7001
MPTCPListen 7002
MPTCPEndpoint 10.91.1.2 dev s1 signal
MPTCPEndpoint 10.91.2.2 dev s2 signal
MPTCPLimits subflows=2
END
my $page = "a page\n" x 1000;
$backend->write_file('page', $page);
$backend->start or die $backend->error_log;
my $words = 'multipathtcp=On connectiontimeout=1';
$lab->proxy(<<"END");
MPTCPLimits subflows=2 add_addr_accepted=2
ProxyPass /pool/ http://backend.test:7001/ $words
ProxyPass /new/  http://backend.test:7002/ $words disablereuse=On
END

for my $path (1, 2) {
    for my $how (['its link goes down', 'cut', 'restore'], ['silence', 'blackhole', 'unblackhole']) {
        my ($name, $lose, $again) = @$how;
        $name = "network $path, $name";
        my @clients = map { clients($_) } qw(/pool/ /new/);
        sleep $LOST;
        $lab->$lose($path);
        my $before = $lab->counters('proxy');
        my ($answered, %wrong, $longest);
        for my $client (@clients) {
            while (my $line = <$client>) {
                chomp $line;
                my ($status, $bytes, $seconds) = split ' ', $line;
                $answered++;
                $wrong{"$status, $bytes bytes"}++ if "$status $bytes" ne '200 ' . length $page;
                $longest = $seconds if $seconds > ($longest // 0);
            }
            close $client;
        }
        my $after = $lab->counters('proxy');
        cmp_ok($answered, '>', 8, "$name: requests were made");
        is_deeply(\%wrong, {}, "$name: each was answered, and whole");
        cmp_ok($longest, '<', 5, "$name: soon");
        note sprintf '%s: %d requests, the longest %.2f s', $name, $answered, $longest;
        # a SYN/ACK that speaks MPTCP is one of a connection that was made meanwhile
        my $made = $after->{MPTcpExtMPCapableSYNACKRX} - $before->{MPTcpExtMPCapableSYNACKRX};
        cmp_ok($made, '>', 0, "$name: new connections were made, by MPTCP");
        is($after->{MPTcpExtBlackhole} // 0, 0, "$name: the kernel has not given MPTCP up");
        $lab->$again($path);
        ok($lab->reaches('proxy', "10.91.$path.2"), "network $path is back");
    }
}
done_testing();

# Two clients that ask again and again; each line that can be read is
# (status, bytes of the body, seconds).
sub clients {
    my ($at) = @_;
    return map {
        open my $lines, '-|', $lab->ns('proxy'), $^X, '-MIO::Socket::INET', '-MTime::HiRes=time,sleep',
            '-e', <<'END', $at, $LASTS or die "perl: $!";
my ($at, $lasts) = @ARGV;
my $end = time + $lasts;
while ((my $start = time) < $end) {
    my $s = IO::Socket::INET->new('127.0.0.1:8000') or die "connect: $!";
    print {$s} "GET ${at}page HTTP/1.0\r\n\r\n";
    my $answer = do { local $/; <$s> } // '';
    my ($status) = $answer =~ /^\S+ (\d+)/;
    $answer =~ s/^.*?\r\n\r\n//s;
    printf "%s %d %.2f\n", $status // 'nothing', length $answer, time - $start;
    sleep 0.05;
}
END
        $lines;
    } 1, 2;
}
