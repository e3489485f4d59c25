# The recipe "A reverse proxy over two networks": whichever network is lost, and
# however, every request is answered, those that need a new connection too.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use MPTCP::Lab;
use MPTCP::ProxyLab;
use Test::More;
use Time::HiRes qw(sleep time);

MPTCP::Lab->enter;

my $lab = MPTCP::ProxyLab->new(paths => 2);
# For how long requests are made, and when in that time a network is lost.
my ($LASTS, $LOST) = (4, 1);

$lab->hosts(<<'END');
127.0.0.1 localhost
10.91.1.2 backend.example.com
10.91.2.2 backend.example.com
END
my $backend = $lab->new_httpd('backend', "MPTCPListen 80\nMPTCPListen 8080\n"
    . example('two-uplinks'));
my $page = "a page\n" x 1000;
$backend->write_file('page', $page);
$backend->start or die $backend->error_log;
# and one whose worker makes a new connection for each request
my $proxy = example('reverse-proxy') . <<'END';
ProxyPass /new/ http://backend.example.com:8080/ multipathtcp=On connectiontimeout=1 disablereuse=On
ProxyTimeout 10
END

for my $path (1, 2) {
    for my $how (['its link goes down', 'cut', 'restore'], ['silence', 'blackhole', 'unblackhole']) {
        my ($name, $lose, $again) = @$how;
        $name = "network $path, $name";
        # all connections have been made while both networks were there
        $lab->proxy($proxy);
        my @clients = map { clients($_) } qw(/app/ /new/);
        sleep $LOST;
        $lab->$lose($path);
        my $lost = time;
        my $before = $lab->counters('proxy');
        my ($answered, $young, %wrong) = (0, 0);
        my $longest = 0;
        for my $client (@clients) {
            while (my $line = <$client>) {
                chomp $line;
                my ($at, $status, $bytes, $began, $seconds) = split ' ', $line;
                if ("$status $bytes" ne '200 ' . length $page) {
                    # A connection has its second path some milliseconds after its
                    # first: if it has lost that by then, nothing is left of it.
                    if ($at eq '/new/' && $began < $lost) { $young++ }
                    else { $wrong{"$at: $status, $bytes bytes"}++ }
                    next;
                }
                $answered++;
                $longest = $seconds if $seconds > $longest;
            }
            close $client;
        }
        my $after = $lab->counters('proxy');
        cmp_ok($answered, '>', 8, "$name: requests were answered");
        is_deeply(\%wrong, {}, "$name: all of them, and whole");
        cmp_ok($longest, '<', 5, "$name: soon");
        cmp_ok($young, '<=', 2, "$name: no more than was being connected that moment");
        note sprintf '%s: %d requests, the longest %.2f s%s', $name, $answered, $longest,
            $young ? "; lost in their first milliseconds: $young" : '';
        # a SYN/ACK that speaks MPTCP is one of a connection that was made meanwhile
        my $made = $after->{MPTcpExtMPCapableSYNACKRX} - $before->{MPTcpExtMPCapableSYNACKRX};
        cmp_ok($made, '>', 0, "$name: new connections were made, by MPTCP");
        is($after->{MPTcpExtBlackhole} // 0, 0, "$name: the kernel has not given MPTCP up");
        $lab->$again($path);
        ok($lab->reaches('proxy', "10.91.$path.2"), "network $path is back");
    }
}
done_testing();

# An example, with the laboratory's addresses and devices.
sub example {
    my ($name) = @_;
    my $file = dirname(dirname(abs_path(__FILE__))) . "/conf/examples/$name.conf";
    open my $from, '<', $file or die "$file: $!\n";
    return join '', map {
        s/\b192\.0\.2\./10.91.1./gr =~ s/\b198\.51\.100\./10.91.2./gr =~ s/\beth1\b/s2/gr
    } <$from>;
}

# Two clients that ask again and again; each line that can be read is
# (path, status, bytes of the body, when it began, seconds).
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
    printf "%s %s %d %.3f %.2f\n", $at, $status // 'nothing', length $answer, $start, time - $start;
    sleep 0.05;
}
END
        $lines;
    } 1, 2;
}
