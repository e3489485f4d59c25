# What the kernel does to the subflows of a running download when endpoints and
# limits are changed, by `ip mptcp`: the table of docs/path-manager.md, on which
# rests what the module leaves in place.

use strict;
use warnings;

use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;

my $lab = MPTCP::Lab->two_paths(rate => '20mbit');
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server',
    conf => "SendBufferSize 131072\nMPTCPListen 80\n");
open my $file, '>', $httpd->docroot . '/big' or die "big: $!";
truncate $file, 1_000_000_000 or die "big: $!";    # its end is not waited for
close $file;
$httpd->start or BAIL_OUT($httpd->error_log);

sub mptcp { my ($ns, @words) = @_; return $lab->run(undef, 'ip', '-n', $ns, 'mptcp', @words) }

# The addresses of a host that have a working subflow, in order.
sub at {
    my ($ns) = @_;
    my @at = map { $_->{local} =~ /(10\.91\.\d\.\d)/ } grep { $_->{state} eq 'ESTAB' }
        $lab->ss($ns, '-tn', '( sport = 80 or dport = 80 )');
    return join ' ', sort @at;
}

# A download: setup and change are lists of what to do to which host; where
# there are subflows before and after, and whether it goes on. Without "after":
# either they stay and it goes on, or there are none and it stands still.
sub changes {
    my ($name, %o) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $ns = $o{ns} // 'server';
    for my $host ('client', 'server') {
        mptcp($host, qw(endpoint flush));
        mptcp($host, qw(limits set subflows 2 add_addr_accepted), $o{accepted} // 2);
    }
    mptcp(@$_) for @{ $o{setup} };
    my $download = MPTCP::Client->start(lab => $lab, ns => 'client', path => '/big',
        host => '10.91.1.2', port => 80, mptcp => 1, timeout => 30);
    $download->wait_bytes(100_000) or BAIL_OUT("$name: no download");
    $lab->wait_until(5, sub { at($ns) eq $o{before} });
    is(at($ns), $o{before}, "$name: before");
    mptcp(@$_) for @{ $o{change} };
    if (defined $o{after}) {
        $lab->wait_until(5, sub { at($ns) eq $o{after} });
    }
    else {
        sleep 1;                        # it may go, and be made anew
        $o{goes_on} = at($ns) eq $o{before} ? 1 : 0;
        $o{after}   = $o{goes_on} ? $o{before} : '';
    }
    is(at($ns), $o{after}, '    and after it');
    # what was under way may still come
    $lab->wait_until(0.4, sub { $download->done });
    my $bytes = $download->bytes;
    my $goes_on = $lab->wait_until($o{goes_on} ? 5 : 1,
        sub { $download->done; $download->bytes > $bytes + 50_000 });
    is($goes_on ? 1 : 0, $o{goes_on}, $o{goes_on} ? '    it goes on' : '    it stands still');
    $download->cancel;
    $lab->try($_, qw(ss -K), '( sport = 80 or dport = 80 )') for 'client', 'server';
    return;
}

my @first  = (qw(server endpoint add 10.91.1.2 dev s1 id 1 signal));
my @second = (qw(server endpoint add 10.91.2.2 dev s2 id 2 signal));
my ($one, $both) = ('10.91.1.2', '10.91.1.2 10.91.2.2');

changes('deleted, the only path', setup => [\@first], accepted => 0, before => $one,
    change => [[qw(server endpoint delete id 1)]], after => '', goes_on => 0);
changes('added and deleted, the only path', setup => [], accepted => 0, before => $one,
    change => [\@first, [qw(server endpoint delete id 1)]], after => '', goes_on => 0);
changes('deleted, the second of two', setup => [\@first, \@second], before => $both,
    change => [[qw(server endpoint delete id 2)]], after => $one, goes_on => 1);
changes('deleted, the first of two', setup => [\@first, \@second], before => $both,
    change => [[qw(server endpoint delete id 1)]], after => '10.91.2.2', goes_on => 1);
changes('backup', setup => [\@first, \@second], before => $both,
    change => [[qw(server endpoint change id 1 backup)], [qw(server endpoint change id 2 backup)],
        [qw(server endpoint change id 1 nobackup)]],
    after => $both, goes_on => 1);
changes('limits', setup => [\@first, \@second], before => $both,
    change => [[qw(server limits set subflows 0 add_addr_accepted 0)],
        [qw(client limits set subflows 0 add_addr_accepted 0)]],
    after => $both, goes_on => 1);

my @from_first = (qw(client endpoint add 10.91.1.1 dev c1 id 3 subflow));
changes('deleted, the only path of a client', ns => 'client', setup => [\@from_first],
    before => '10.91.1.1', change => [[qw(client endpoint delete id 3)]], after => '',
    goes_on => 0);
# Linux 6.1 leaves the first subflow alone, 6.18 does not.
changes('fullmesh, the only path of a client', ns => 'client', setup => [\@from_first],
    before => '10.91.1.1', change => [[qw(client endpoint change id 3 fullmesh)]]);

# fullmesh adds addresses to subflow's one, and without it connects to those alone
# that the peer announces.
my ($of_client, $two) = ('10.91.1.1', '10.91.1.1 10.91.2.1');
for my $case (['subflow', 0, $two], ['subflow fullmesh', 0, $two], ['fullmesh', 0, $of_client],
    ['fullmesh', 2, $two])
{
    my ($words, $accepted, $before) = @$case;
    changes("$words, $accepted announced addresses", ns => 'client', accepted => $accepted,
        setup => [\@second, [qw(client endpoint add 10.91.2.1 dev c2 id 4), split ' ', $words]],
        before => $before, change => []);
}
$httpd->stop;

done_testing();
