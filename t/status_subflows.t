# Whose subflow a TCP socket is: kernels before Linux 6.15 tell it nobody who
# lacks CAP_NET_ADMIN, which httpd's children do. The status shows the same on
# all of them. What the kernel of this machine tells is hidden for that; what is
# so is what ss, run by root, says.

use strict;
use warnings;

use JSON::PP ();
use MPTCP::Client;
use MPTCP::Faults;
use MPTCP::Httpd;
use MPTCP::Lab;
use MPTCP::Session;
use Test::More;

MPTCP::Lab->enter;
my $lab = MPTCP::Lab->two_paths(rate => '50mbit');
$lab->limits('client', subflows => 2, add_addr_accepted => 2);
my $faults = MPTCP::Faults->new;
my %environment = $faults->environment;

# The second path is backup, by this side's word.
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server',
    load => [qw(proxy proxy_http)],
    before => ['env', map {"$_=$environment{$_}"} keys %environment], conf => <<'END');
Listen 81
MPTCPListen 80
MPTCPEndpoint 10.91.2.2 dev s2 signal backup
MPTCPLimits subflows=2
KeepAliveTimeout 60
ProxyPass /backend/ http://127.0.0.1/ multipathtcp=On
<Location /mptcp-status>
    SetHandler mptcp-status
</Location>
END
truncate $httpd->write_file('large'), 400_000_000 or die "truncate: $!";
$httpd->write_file('small', "content\n");
$httpd->start or BAIL_OUT($httpd->error_log);

# --- Two subflows, two plain connections, both ends of one to a backend

my $download = MPTCP::Client->start(lab => $lab, ns => 'client', path => '/large',
    host => '10.91.1.2', port => 80, mptcp => 1);
$download->wait_bytes(1e6) or BAIL_OUT('no download');
my @plain = map { MPTCP::Session->open(lab => $lab, ns => 'client', host => '10.91.1.2',
        port => 80, mptcp => 0) } 1, 2;
$_->get('/small') for @plain;
is(MPTCP::Client::get(lab => $lab, ns => 'server', host => '127.0.0.1', port => 81,
    path => '/backend/small')->{status}, 200, 'a request to a backend');
# Once for root and once for what a child is.
my @as_nobody = qw(setpriv --reuid 65534 --regid 65534 --clear-groups);
my %subflow_of;
ok($lab->wait_until(20, sub {
        %subflow_of = by_ss();
        return "@{[ sort map { scalar @$_ } values %subflow_of ]}" eq '1 1 2';
    }), 'ss has a connection of two subflows, and two of one') or diag explain \%subflow_of;
my $kernel_says = $lab->capture('server', @as_nobody, qw(ss -HntiO)) =~ /tcp-ulp-mptcp/;
note 'this kernel tells everybody of subflows: ', $kernel_says ? 'yes' : 'no';

my %flags_of;
for my $hidden ($kernel_says ? (0, 1) : 1) {
    my $name = $hidden ? 'not told' : 'told';
    $faults->set($hidden ? 'diag.hides 0' : ());
    my $live = status()->{live};
    my %shown = map { $_->{token} => [sort map { ends($_) } @{ $_->{subflows} }] }
        @{ $live->{connections} };
    is_deeply(\%shown, \%subflow_of, "$name: the subflows of each connection")
        or diag explain \%shown, \%subflow_of;
    my $all = 0;
    $all += @$_ for values %subflow_of;
    is($live->{subflows}, $all, "$name: how many");
    is($live->{tcp}, 2, "$name: and none is taken for a plain one");
    my ($both) = grep { @{ $_->{subflows} } == 2 && $_->{local}{address} =~ /^10/ }
        @{ $live->{connections} };
    is_deeply([map {"$_->{interface} " . ($_->{joined} ? 'joined' : 'first')}
            @{ $both->{subflows} }], ['s1 first', 's2 joined'], "$name: which is the first");
    my @backup = map { $_->{backup_local} } @{ $both->{subflows} };
    is_deeply(\@backup, $hidden ? [undef, undef] : [JSON::PP::false, JSON::PP::true],
        "$name: which is backup");
    my $page = status_page('');
    my $says = qr/Which paths are backup is not known/;
    $hidden ? like($page, $says, '    which the page says')
        : unlike($page, $says, '    and the page says no more');
    like($page, qr/<dt>subflows<\/dt><dd>$all<.*<dt>plain TCP connections<\/dt><dd>2</s,
        "$name: the page");
    like(status_page('openmetrics'), qr/^httpd_mptcp_live_subflows $all$/m, "$name: metrics");
}

# --- A connection that no process has any more: its client does not read, and
# the child that served it is killed.

kill STOP => client_pid();
my ($child) = map { $_->{info} =~ /pid=(\d+)/ } grep { $_->{peer} =~ /10\.91\.1\.1/ }
    $lab->ss('server', '-Mp');
ok($child, 'a child has the connection') or BAIL_OUT('no child');
kill KILL => $child;
my $orphan;
ok($lab->wait_until(20, sub {
        ($orphan) = grep { $_->{info} !~ /ino:[1-9]/ && $_->{local} =~ /10\.91\.1\.2\]?:80/ }
            $lab->ss('server', '-Mea');
        return $orphan && !($lab->try('server', qw(curl -sf -o /dev/null),
            'http://127.0.0.1:81/mptcp-status'))[0];
    }), 'it is killed; the connection is there still, as nobody\'s');
# (Which process has a socket is not to be hidden, so this is as the kernel is.)
$faults->set();
my $plain = grep { $_->{local} =~ /10\.91\.1\.2\]?:80$/ && $_->{info} !~ /tcp-ulp-mptcp/
        && ($_->{state} eq 'ESTAB' || $_->{info} =~ /ino:[1-9]/) } $lab->ss('server', '-tie');
my $live = status()->{live};
my ($found) = grep { $_->{local}{address} eq '10.91.1.2' } @{ $live->{connections} };
ok($found, 'it is shown');
is(scalar @{ $found->{subflows} }, $kernel_says ? 2 : 1, '    with what is known of it');
is($live->{tcp}, $plain, '    and nothing of it is taken for a plain connection');
kill CONT => client_pid();
$download->cancel;
$_->close for @plain;
$httpd->stop;
done_testing();

# -----------------------------------------------------------------------------

# token => [ends of its subflows], of this server's connections, as root
sub by_ss {
    my %of;
    for my $line ($lab->ss('server', '-ti', 'state', 'connected')) {
        my ($remote, $local) = $line->{info} =~ m{token:(\w+)\(id:\d+\)/(\w+)\(} or next;
        s/^\[::ffff:([\d.]+)\]/$1/ for @$line{qw(local peer)};
        push @{ $of{$local} }, "$line->{local} $line->{peer}";
    }
    @$_ = sort @$_ for values %of;
    return %of;
}

sub ends {
    my ($subflow) = @_;
    return join ' ', map {"$_->{address}:$_->{port}"} @$subflow{qw(local remote)};
}

sub status_page { return $lab->status_page('server', @_) }

sub status { return $lab->status('server') }

# The process that has the client's socket (ip netns exec becomes it).
sub client_pid { return $download->{pid} }
