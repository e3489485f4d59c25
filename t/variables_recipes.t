# The recipes of docs/variables.md, as they stand there: each block of
# configuration in a server of its own, each command on its log. The paths have
# a delay, as all have: a join takes round trips.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP ();
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use MPTCP::Session;
use Test::More;

MPTCP::Lab->enter;
my $lab = MPTCP::Lab->two_paths(delay => 0.025);
$lab->limits('client', subflows => 2, add_addr_accepted => 2);
$lab->limits('server', subflows => 2);
$lab->endpoint('server', $lab->address('server', 2), qw(dev s2 signal));

my $file = dirname(dirname(abs_path(__FILE__))) . '/docs/variables.md';
my $text = slurp($file);
my %recipe;
my ($recipes) = $text =~ /^## Recipes\n(.*)/ms;
for my $section (split /^### /m, $recipes) {
    my ($title) = $section =~ /^(.*)\n/ or next;
    while ($section =~ /^```(apache|sh)\n(.*?)^```\n/msg) {
        push @{ $recipe{$title}{$1} }, $2;
    }
}

# Every one of them is in a test, which takes it out of here.
my %untested = map { ($_ => 1) } keys %recipe;
sub recipe {
    my ($title, $kind, $number) = @_;
    delete $untested{$title};
    return $recipe{$title}{$kind}[ $number // 0 ]
        // BAIL_OUT("no $kind in the recipe '$title'");
}

# --- Logs: a virtual host has one of its own, as on Debian

my $site = <<'END';
LogFormat "%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\"" combined
<VirtualHost *:80>
    CustomLog "logs/site.log" combined
</VirtualHost>
END
my $httpd = server($site
        . recipe('A log of Multipath TCP', 'apache')
        . recipe('Only those that are not plain TCP', 'apache')
        . recipe('Downloads that used several paths', 'apache')
        . recipe('GoAccess', 'apache'));
get($_) for 2, 2, 0;
# (before Linux 6.5 there are no counts)
my $bytes = (grep {/BYTES/} $lab->unknown_variables) ? qr/- -/ : qr/\d+ 0/;
my $combined = qr{10\.91\.1\.1 - - \[[^]]+\] "GET / HTTP/1\.1" 200 9 "-" "-"};
my $log = $httpd->root . '/logs/mptcp.log';
my @lines = lines($log, 3);
like($lines[$_], qr/^$combined on 2 $bytes$/, "mptcp.log, line $_") for 0, 1;
like($lines[2], qr/^$combined off - - -$/, 'mptcp.log, line 2');
is(scalar(@lines), 3, '... and no line is there twice');
is(scalar(lines($httpd->root . '/logs/site.log', 3)), 3, '... nor in the log of the site');
@lines = lines($httpd->root . '/logs/mptcp-only.log', 2);
like($lines[$_], qr/^10\.91\.1\.1 \[[^]]+\] "GET [^"]+" on [0-9a-f]+$/,
    "mptcp-only.log, line $_") for 0, 1;
my @names = glob $httpd->root . '/logs/*';
is_deeply([grep { !/\.log$/ && !/error_log$/ } @names], [], 'logrotate takes all of them');

my @output = map { run($_) } @{ $recipe{awk}{sh} };
recipe('awk', 'sh');
is_deeply([sort split /\n/, $output[0]], ['off 33.3%', 'on 66.7%'],
    'awk: the share of requests');
is($output[1], "0.00%\n", 'awk: the share of bytes sent again');
$httpd->write_file('sample', join '', map {"x on 2 $_\n"} '1000 100', '3000 100');
(my $command = $recipe{awk}{sh}[1]) =~ s{logs/mptcp\.log}{htdocs/sample};
is(run($command), "5.00%\n", 'awk: the same, of lines with retransmissions');

# GoAccess counts them
chomp($command = recipe('GoAccess', 'sh'));
is(goaccess($command)->{general}{valid_requests}, 3,
    'GoAccess reads the format with the words at the end');
my ($format) = $text =~ /`(--log-format='[^`]*%v')`/;
$command =~ s/mptcp\.log --log-format=\S+/goaccess.log $format/;
is_deeply({ map { ($_->{data} => $_->{hits}{count}) }
        @{ goaccess($command)->{vhosts}{data} } }, { on => 2, off => 1 },
    'GoAccess counts them as virtual hosts');

# A download is logged with the path that joined meanwhile, a page is not.
at_once('/large');
at_once('/');
@lines = lines($httpd->root . '/logs/mptcp-paths.log', 3);
is(scalar(grep { m{"GET /large HTTP/1.1" 2000000 2$} } @lines), 1,
    'mptcp-paths.log has a download of one request');
is(scalar(@lines), 3, '... and the two of connections that had two paths already');

$httpd = server($site . recipe('The same in the access log that is there', 'apache'));
get($_) for 2, 0;
@lines = lines($httpd->root . '/logs/site.log', 2);
like($lines[0], qr/^10\.91\.1\.1 .* "-" "-" on 2 $bytes$/, 'combined has the words, MPTCP');
like($lines[1], qr/^10\.91\.1\.1 .* "-" "-" off - - -$/, '... TCP');

# --- Decisions

$httpd = server(recipe('Allow those that speak Multipath TCP', 'apache'));
is(get($_, '/mirror/')->{status}, $_ ? 200 : 403,
    "Require expr with $_ subflows") for 0, 1, 2;
is_deeply([map { at_once('/mirror/')->{status} } 1 .. 12], [(200) x 12],
    '... and for single requests that do not wait for a second path');

# What "When a second path is counted" says.
$httpd = server('Header set X-Subflows "expr=%{MPTCP_SUBFLOWS}"');
is_deeply([map { at_once('/')->{headers}{'x-subflows'} } 1 .. 12], [(1) x 12],
    'the first request never sees the second path');
ok($lab->wait_until(10, sub { in_succession(3) eq '1 1 2' }), 'the third one does');

$httpd = server(recipe('Mark by the number of paths', 'apache'));
is(get($_)->{headers}{'x-paths'}, $_ < 2 ? undef : 'several',
    "SetEnvIfExpr with $_ subflows") for 0, 1, 2;
is(at_once('/')->{headers}{'x-paths'}, undef, '... not of a request that does not wait');

$httpd = server(recipe('Mark by the number of paths', 'apache', 1)
    . qq(Header set X-Request "expr=%{req:X-MPTCP}"\n));
is(get($_, '/', 'X-MPTCP: forged')->{headers}{'x-request'}, $_ ? 'on' : 'off',
    "RequestHeader with $_ subflows") for 0, 1;

$httpd = server(recipe('A header for debugging', 'apache'));
like(get(2)->{headers}{'x-mptcp-debug'},
    qr/^on subflows=2 token=[0-9a-f]+ backend=$/, 'the header for debugging');
is(get(0)->{headers}{'x-mptcp-debug'}, 'off subflows= token= backend=',
    'the header for debugging, TCP');

# The example of the directive
my ($example) = $text =~ /^## MPTCPEnvVars\n.*?^```apache\n(.*?)^```/ms;
$httpd = server("$example\nHeader set X-Env \"%{MPTCP}e\"\n");
is(get(1, "$_/")->{headers}{'x-env'}, $_ ? 'on' : '(null)',
    "MPTCPEnvVars, location '$_/'") for '/cgi-bin', '';

is_deeply([sort keys %untested], [], 'every recipe has a test');

done_testing();

# -----------------------------------------------------------------------------

sub server {
    my ($conf) = @_;
    $httpd->stop if $httpd;
    my $server = MPTCP::Httpd->new(lab => $lab, ns => 'server',
        load => [qw(headers setenvif)], conf => "MPTCPListen 80\n$conf");
    for my $dir (qw(mirror cgi-bin)) {
        mkdir $server->docroot . "/$dir" or die "$dir: $!\n";
        $server->write_file("$dir/index.html", "document\n");
    }
    $server->write_file('index.html', "document\n");
    $server->write_file('large', 'x' x 2_000_000);
    $server->start or BAIL_OUT($server->error_log);
    return $server;
}

# A request of a client with so many subflows, 0 for plain TCP.
sub get {
    my ($subflows, $path, @headers) = @_;
    $lab->limits('client', subflows => $subflows > 1 ? 2 : 0,
        add_addr_accepted => $subflows > 1 ? 2 : 0);
    my $session = MPTCP::Session->open(lab => $lab, ns => 'client',
        host => $lab->address('server', 1), port => 80, mptcp => $subflows > 0);
    my $port = $session->port;
    $lab->wait_until(10, sub {
        my ($socket) = grep { $_->{peer} =~ /:$port$/ } $lab->ss('server', '-Mi');
        return ($socket->{info} // '') =~ /\bsubflows:1\b/;
    }) or BAIL_OUT('no second subflow') if $subflows > 1;
    my $answer = $session->get($path // '/', @headers);
    $session->close;
    return $answer;
}

# A request that is sent when the handshake is over, of a client with two paths.
sub at_once {
    my ($path) = @_;
    $lab->limits('client', subflows => 2, add_addr_accepted => 2);
    return MPTCP::Client::get(lab => $lab, ns => 'client', port => 80, mptcp => 1,
        host => $lab->address('server', 1), path => $path);
}

# What requests of one connection see, each sent when the last is answered.
sub in_succession {
    my ($count) = @_;
    my $session = MPTCP::Session->open(lab => $lab, ns => 'client', port => 80, mptcp => 1,
        host => $lab->address('server', 1));
    my @seen = map { $session->get('/')->{headers}{'x-subflows'} } 1 .. $count;
    $session->close;
    return "@seen";
}

sub lines {
    my ($name, $count) = @_;
    $lab->wait_until(10, sub { slurp($name) =~ tr/\n// >= $count });
    return split /\n/, slurp($name);
}

# A command as an administrator types it, in the server root.
sub run {
    my ($command) = @_;
    return $lab->capture(undef, 'sh', '-c', 'cd "$1" && ' . $command, 'sh',
        $httpd->root);
}

sub goaccess {
    my ($command) = @_;
    my $name = "$ENV{TMPDIR}/goaccess.json";
    unlink $name;
    run("$command -o $name >/dev/null 2>&1");
    return JSON::PP::decode_json(slurp($name));
}

sub slurp {
    my ($name) = @_;
    open my $file, '<', $name or return '';
    local $/;
    return <$file> // '';
}
