# Many requests at once on a cold pool, half of them for a worker with
# multipathtcp=On, half for one with Off, through the same processes and
# threads: not one connection of the first is plain TCP, and not one of the
# second is MPTCP. The backend holds all requests until the last has come, so
# each has a connection of its own, and asks the kernel for each one's protocol.

use strict;
use warnings;

use Cwd ();
use File::Basename qw(dirname);
use File::Temp ();
use MPTCP::Lab;
use MPTCP::ProxyLab;
use Test::More;

MPTCP::Lab->enter;

my $lab = MPTCP::ProxyLab->new;
my $b   = $lab->{backend};
my $lib = Cwd::abs_path(dirname(__FILE__)) . '/lib';

# A process for each request is more than a thread for each.
my $mpm   = $ENV{MPTCP_MPM} // 'event';
my $count = $mpm eq 'prefork' ? 200 : 1000;
my $half  = $count / 2;

my @limit = ('sh', '-c', 'ulimit -n 8192 && exec "$@"', 'sh');
my $out = File::Temp->new(TMPDIR => 1);
$lab->spawn('backend', { out => "$out" }, @limit, $^X, "-I$lib", '-MMPTCP::Backend', '-e',
    'MPTCP::Backend::hold(@ARGV)', '--', $count, 7001, 7002);
is(said(1), 'ready', 'the backend is there');

$lab->proxy(<<"END", before => \@limit);
LogLevel warn
ListenBacklog 4096
<IfModule mpm_prefork_module>
    ServerLimit 250
    MaxRequestWorkers 250
    StartServers 210
    MaxSpareServers 250
</IfModule>
# a child may accept more than its share: each could serve all of them
<IfModule !mpm_prefork_module>
    ServerLimit 2
    ThreadLimit 1000
    ThreadsPerChild 1000
    StartServers 2
    MaxRequestWorkers 2000
    MaxSpareThreads 2000
</IfModule>
ProxyTimeout 60
ProxyPass /on/  http://$b:7001/ multipathtcp=On
ProxyPass /off/ http://$b:7002/ multipathtcp=Off
END

my ($made, $rounds);
for my $round ('a cold pool', 'a pool that has connections') {
    my ($answers, $protocols);
    my $counted = $lab->counted(sub {
        $answers = $lab->capture('proxy', @limit, $^X, '-e', <<'END', $count);
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
alarm 30;
my $select = IO::Select->new;
for my $n (1 .. $ARGV[0]) {
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1:8000') or die "connect: $@";
    my $path = $n % 2 ? 'on' : 'off';
    print {$s} "GET /$path/$n HTTP/1.0\r\n\r\n";
    $s->flush;
    $select->add($s);
}
my ($good, %text) = 0;
while ($select->count) {
    for my $s ($select->can_read) {
        if (!sysread $s, $text{$s}, 4096, length($text{$s} // '')) {
            $good++ if ($text{$s} // '') =~ m{^HTTP/1\.1 200 .*\r\n\r\nheld\n\z}s;
            $select->remove($s);
        }
    }
}
print $good;
END
    });
    is($answers, $count, "$round: $count requests at the same time are answered");
    my @now = split ' ', said(++$rounds + 1);
    my @new = map { $now[$_] - ($made ? $made->[$_] : 0) } 0 .. 3;
    $made = \@now;
    if ($round =~ /cold/) {
        is_deeply(\@new, [$half, 0, 0, $half],
            "$round: $half MPTCP connections for On, $half of TCP for Off, and no other");
    }
    else {
        is($new[1] + $new[2], 0, "$round: still none of the wrong kind");
        cmp_ok($new[0] + $new[3], '<', $count, "$round: connections are used again");
    }
    is_deeply($counted, { connections => $new[0] + $new[3], mptcp => $new[0] },
        "$round: as many SYNs with MP_CAPABLE as connections for On");
}

done_testing();

# Line n of what the backend has printed, which may take a moment.
sub said {
    my ($n) = @_;
    my $line = $lab->wait_until(10, sub {
        open my $file, '<', "$out" or die "$out: $!";
        my @lines = <$file>;
        return @lines >= $n && $lines[ $n - 1 ];
    }) || '';
    chomp $line;
    return $line;
}
