# A client whose last path is reset, by a firewall say, while it downloads: it
# holds a worker until net.mptcp.close_timeout is over, in case it comes back by
# another path, or Timeout. docs/listeners.md says what to set.

use strict;
use warnings;

use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;
use Time::HiRes qw(time);

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->two_paths(paths => 1, rate => '40mbit');
my $conf = <<'END';
MPTCPListen 80
Listen 127.0.0.1:81
Timeout 4
<Location /busy>
    SetHandler server-status
</Location>
END
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', conf => $conf,
    load => ['status']);
$httpd->write_file('file', 'x' x 60e6);
$httpd->start or BAIL_OUT($httpd->error_log);

# older kernels have a minute, and no sysctl
my $has_sysctl = -e '/proc/sys/net/mptcp/close_timeout';
my %held;
for my $case (['TCP', 0, 60], $has_sysctl ? ['close_timeout 2', 1, 2] : (), ['Timeout 4', 1, 60]) {
    my ($name, $mptcp, $close_timeout) = @$case;
    $lab->sysctl('server', 'net.mptcp.close_timeout', $close_timeout) if $has_sysctl;
    my $download = MPTCP::Client->start(lab => $lab, ns => 'client', host => '10.91.1.2',
        port => 80, path => '/file', mptcp => $mptcp);
    ok($download->wait_bytes(1e6), "$name: a download has begun");
    cmp_ok(busy(), '>', 0, '    a worker serves it');
    $lab->run('client', qw(ss -K state established dport = :80));
    my $start = time;
    ok($lab->wait_until(20, sub { !busy() }), '    and is free');
    $held{$name} = time - $start;
    note sprintf '%s: %.1f s', $name, $held{$name};
}
cmp_ok($held{TCP}, '<', 1.9, 'reset by TCP: at once');
if ($has_sysctl) {
    cmp_ok($held{'close_timeout 2'}, '>', 1, 'by MPTCP: as long as net.mptcp.close_timeout');
    cmp_ok($held{'close_timeout 2'}, '<', 3.9, '    and no longer');
}
cmp_ok($held{'Timeout 4'}, '>', 3, 'by MPTCP: as long as Timeout, where that is less');
done_testing();

# How many workers are busy but for the one that says it.
sub busy {
    my $page = $lab->capture('server', qw(curl -q -s --noproxy * http://127.0.0.1:81/busy?auto));
    my ($busy) = $page =~ /^BusyWorkers: (\d+)/m;
    return $busy - 1;
}
