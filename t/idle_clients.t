# Clients that connect and send nothing: without TCP_DEFER_ACCEPT they have a
# place in httpd at once. With the manual's RequestReadTimeout they lose it soon.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IO::Socket::IP;
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;
use Time::HiRes qw(sleep time);

MPTCP::Lab->enter;

my $manual = dirname(dirname(abs_path(__FILE__))) . '/docs/listeners.md';
open my $file, '<', $manual or die "$manual: $!\n";
my ($recipe) = do { local $/; <$file> } =~ /^```apache\n([^`]*RequestReadTimeout[^`]*)^```/m;

my $room = $ENV{MPTCP_MPM} && $ENV{MPTCP_MPM} eq 'prefork' ? <<'END' : <<'END';
ServerLimit 30
StartServers 30
MaxSpareServers 30
END
ServerLimit 2
StartServers 2
ThreadsPerChild 15
MaxSpareThreads 30
END
my $httpd = MPTCP::Httpd->new(load => ['reqtimeout'],
    conf => "MPTCPListen 127.0.0.1:80\n${room}MaxRequestWorkers 30\n$recipe");
$httpd->write_file('index.html', "document\n");
$httpd->start or BAIL_OUT($httpd->error_log);
is(request(10), 200, 'served, while nobody is idle');

my $since = time;
my @idle = map { IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => 80) or die "$@\n" } 1 .. 40;
sleep 0.5;
is(request(1), 0, '40 clients that send nothing have all 30 places');
is(request(20), 200, 'served again');
my $after = time - $since;
cmp_ok($after, '<', 15, sprintf '... after %.1f s, when mod_reqtimeout has ended some', $after);
done_testing();

sub request {
    my ($patience) = @_;
    return MPTCP::Client::get(host => '127.0.0.1', port => 80, timeout => $patience)->{status};
}
