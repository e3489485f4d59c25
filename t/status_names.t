# The names of listeners and workers: whatever is in them is shown as it is, and
# those that come and go with reloads do not make the server grow.

use strict;
use warnings;

use Encode ();
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use MPTCP::Session;
use Test::More;

use constant { RELOADS => 24, NAMES => 70 };

MPTCP::Lab->enter;
my $lab = MPTCP::Lab->new;
$lab->run(undef, qw(ip link set lo up));

# --- Bytes that are no UTF-8, and what stands for them elsewhere

my $conf = <<'END';
Listen 127.0.0.1:81
MPTCPListen 127.0.0.1:80
ProxyPass /a/ "http://127.0.0.1:8081/\xe9/" multipathtcp=On
ProxyPass /b/ "http://127.0.0.1:8081/%E9/" multipathtcp=On
ProxyPass /c/ "http://127.0.0.1:8081/\xc3\xa9/" multipathtcp=On
ProxyPass /d/ "http://127.0.0.1:8081/%25E9/" multipathtcp=On
<Location /mptcp-status>
    SetHandler mptcp-status
</Location>
<Location /server-status>
    SetHandler server-status
</Location>
END
my $httpd = MPTCP::Httpd->new(load => [qw(status proxy proxy_http)],
    conf => $conf =~ s/\\x(\w\w)/chr hex $1/ger);
$httpd->write_file('file', 'x' x 1000);
$httpd->start or BAIL_OUT($httpd->error_log);

my @series = get('openmetrics') =~ /^(httpd_mptcp_backend_connections_total\{.*\}) /mg;
my %times;
$times{$_}++ for @series;
is_deeply([grep { $times{$_} > 1 } sort keys %times], [],
    'byte E9 and %E9 are two series, not one twice');
is(scalar keys %times, 3 * 5, 'four workers, and all others');
for my $query ('', 'json', 'openmetrics') {
    ok(eval { Encode::decode('UTF-8', get($query), Encode::FB_CROAK); 1 }, "UTF-8: ?$query");
}
like(get(''), qr{8081/\xc3\xa9/<}, 'what is UTF-8 is shown as it is');
$httpd->stop;

# --- Names that come and go

# The first one stays, and the rest is new each time.
sub workers {
    my ($round) = @_;
    return join "\n", <<'END', map {"ProxyPass /w$_/ http://127.0.0.1:80/r$round-$_/ multipathtcp=On"} 1 .. NAMES;
Listen 127.0.0.1:81
MPTCPListen 127.0.0.1:80
Timeout 600
LogLevel mptcp:info
ProxyPass /kept/ http://127.0.0.1:80/ multipathtcp=On disablereuse=On
<Location /mptcp-status>
    SetHandler mptcp-status
</Location>
END
}

$httpd->set_conf(workers(0));
$httpd->start or BAIL_OUT($httpd->error_log);
my $answer = MPTCP::Client::get(host => '127.0.0.1', port => 81, path => '/kept/file');
is($answer->{status}, 200, 'a request by a worker that stays');

# A child of the first configuration reads a request as long as this lasts.
my $old = MPTCP::Session->open(host => '127.0.0.1', port => 81, mptcp => 0);
$old->send("GET /w1/file HTTP/1.1\r\nHost: localhost\r\n");

my @mappings;
for my $round (1 .. RELOADS) {
    my %before = map { $_ => 1 } children();
    $httpd->set_conf(workers($round));
    $httpd->graceful or BAIL_OUT($httpd->error_log);
    push @mappings, mappings();
    $old->send("X-Round: $round\r\n");
    # all but the one that reads end; what they may count by is not given away
    $lab->wait_until(10, sub { 1 >= grep { $before{$_} } children() });
}
# names of three configurations: the first has a child, and those of the last
# one were there when this one was read
cmp_ok($mappings[-1] - $mappings[2], '<=', 1, "shared mappings do not grow: @mappings");

# What it counts now is no name's of today.
my $accepted = accepted();
is($old->exchange("\r\n")->{status}, 404, 'a child of the first configuration still answers');
is(accepted(), $accepted + 1, '... by a connection to a backend');
is_deeply({ counts() }, { 'http://127.0.0.1/' => 1 },
    'which it counts for no name of today; one that stays keeps its count');

# A name that was away for one reload has not lost its count.
$httpd->set_conf(workers(99) =~ s/^ProxyPass .kept.*\n//mr);
$httpd->graceful or BAIL_OUT($httpd->error_log);
# (an old child may answer at first)
ok($lab->wait_until(20, sub { !exists { counts() }->{'http://127.0.0.1/'} }), 'a name is left out');
$httpd->set_conf(workers(99));
$httpd->graceful or BAIL_OUT($httpd->error_log);
$lab->wait_until(20, sub { exists { counts() }->{'http://127.0.0.1/'} });
is_deeply({ counts() }, { 'http://127.0.0.1/' => 1 }, 'and comes back with its count');
$httpd->stop;
is_deeply([$httpd->complaints(qr/\[mptcp:(?:error|crit)/)], [], 'nothing bad in the log');
done_testing();

# -----------------------------------------------------------------------------

sub get { return $lab->status_page(undef, @_) }

# By the listener that all workers lead to.
sub accepted {
    return $lab->status(undef)->{listeners}[0]{accepted}{mptcp};
}

# Of workers, those that are not 0.
sub counts {
    my $workers = $lab->status(undef)->{workers};
    return map { $_->{connected}{mptcp} ? ($_->{name} => $_->{connected}{mptcp}) : () } @$workers;
}

sub children {
    my $pid = $httpd->pid;
    return split ' ', $lab->capture(undef, 'cat', "/proc/$pid/task/$pid/children");
}

# Shared memory without a file, of the parent.
sub mappings {
    my $maps = $lab->capture(undef, 'cat', '/proc/' . $httpd->pid . '/maps');
    return scalar(() = $maps =~ m{rw-s .* /dev/zero \(deleted\)}g);
}
