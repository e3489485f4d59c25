# Any number of listeners: what 4,000 MPTCPListen lines cost at a reload, in
# time and memory of httpd's parent, beside the same number of Listen lines.

use strict;
use warnings;

use POSIX ();
use Test::More;
use MPTCP::Httpd;
use MPTCP::Lab;

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->new->add_host('host');
my $N   = 4000;

my %cost;
for my $directive (qw(Listen MPTCPListen)) {
    my $conf  = join '', map {"$directive 127.0.0.1:$_\n"} 10_001 .. 10_000 + $N;
    my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'host', conf => "StartServers 1\n$conf",
        before => [qw(prlimit --nofile=8192:)], module => $directive eq 'MPTCPListen');
    ok($httpd->start, "$N lines of $directive: starts") or diag substr $httpd->error_log, 0, 2000;
    is(scalar $lab->ss('host', '-tl'), $N, '... each with its socket');
    # (ss -lM leaves some out on Linux 6.12: where several are in one place of
    # the kernel's table, it passes over every other one.)
    my $mptcp = grep { $_->{info} =~ /\btcp-ulp-mptcp\b/ } $lab->ss('host', '-tli');
    is($mptcp, $directive eq 'Listen' ? 0 : $N, '... of its protocol');
    $httpd->graceful for 1 .. 2;
    my ($cpu, $memory) = (cpu($httpd->pid), memory($httpd->pid));
    ok($httpd->graceful, '... reloads') for 1 .. 3;
    $cost{$directive} = { cpu => (cpu($httpd->pid) - $cpu) / 3, memory => memory($httpd->pid) };
    note sprintf '%s: %.3f s a reload, %d KB', $directive, $cost{$directive}{cpu},
        $cost{$directive}{memory};
    if ($directive eq 'MPTCPListen') {
        my ($said) = $httpd->error_log =~ /MPTCP listeners: (.*)/;
        ok(($said // "") =~ /^(?:127\.0\.0\.1:\d+, ){20}and 3980 more$/, "the log names some of them, and counts the rest")
            or diag substr $said // "", 0, 300;
    }
    $httpd->stop;
}
# (The bounds are wider than what is measured: docs/listeners.md has that.)
cmp_ok($cost{MPTCPListen}{cpu}, '<', 3 * $cost{Listen}{cpu} + 0.2, 'processor time of a reload');
cmp_ok($cost{MPTCPListen}{memory}, '<', 2 * $cost{Listen}{memory} + 4000, 'memory of the parent, in KB');
done_testing();

# Seconds of processor time that a process has had, user and system.
sub cpu {
    my ($pid) = @_;
    open my $stat, '<', "/proc/$pid/stat" or die "stat: $!";
    my @field = split ' ', <$stat> =~ s/^.*\) //r;
    return ($field[11] + $field[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

# The most memory it has had, in KB.
sub memory {
    my ($pid) = @_;
    open my $status, '<', "/proc/$pid/status" or die "status: $!";
    my ($kb) = join('', <$status>) =~ /^VmHWM:\s+(\d+) kB/m;
    return $kb;
}
