# httpd -t -D DUMP_MPTCP: what it says is what comes of it, as the kernel has it
# then; it changes nothing; and without it httpd -t is quiet.

use strict;
use warnings;

use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;
my $lab = MPTCP::Lab->two_paths;
my $conf = <<'END';
Listen 80
MPTCPListen 10.91.1.2:81
Listen 127.0.0.1:82
ProxyPass /a/ http://127.0.0.1:9001/ multipathtcp=On
ProxyPass /b/ http://127.0.0.1:9002/
ProxyPass /c/ ftp://user:secret@127.0.0.1:9003/ multipathtcp=On
MPTCPEndpoint 10.91.2.2 dev s2 id 7 signal
MPTCPLimits subflows=4
END
my $httpd = server($conf, qw(proxy proxy_http proxy_ftp));
$lab->limits('server', subflows => 0, add_addr_accepted => 0);
$lab->endpoint('server', '10.91.1.2', 'dev', 's1', 'id', 3, 'subflow');

my %said = dump_of($httpd);
is($said{'Multipath TCP'}, 'on', 'it is on');
is_deeply($said{Listeners}, ['0.0.0.0:80 (TCP)', '[::]:80 (TCP)', '10.91.1.2:81 (MPTCP)',
    '127.0.0.1:82 (TCP)'], 'listeners');
is_deeply($said{Backends}, ['ftp://user:XXXXXXXX@127.0.0.1:9003/ (MPTCP)', 'http://127.0.0.1:9001/ (MPTCP)',
    'http://127.0.0.1:9002/ (TCP)', 'all others (TCP)'], 'backends, without a password')
    or diag "@{ $said{Backends} }";
is_deeply($said{Endpoints}, ['10.91.2.2 dev s2 id 7 signal (MPTCPEndpoint)',
    '10.91.1.2 dev s1 id 3 subflow (not by MPTCPEndpoint)'], 'endpoints');
is_deeply($said{Limits}, ['subflows 4 (MPTCPLimits)', 'add_addr_accepted 0 (not by MPTCPLimits)'],
    'limits');
like("@{ $said{'In the way'} }", qr/^10\.91\.2\.2 is announced, but connections to 10\.91\.1\.2:81 cannot join there: [^\n]*$/,
    'what stands in the way');
unlike($said{all}, qr/secret/, 'no password');

# it has changed nothing
is_deeply([$lab->endpoints('server')], ['10.91.1.2 id 3 subflow dev s1'], 'no endpoint is added');
is($lab->limits_now('server')->{subflows}, 0, 'no limit is set');
is_deeply([glob $httpd->root . '/run/*'], [], 'no file is written');

# beside httpd -S, which is not -t
my ($status, $both) = $httpd->run_beside('-S', '-D', 'DUMP_MPTCP');
is_deeply([$both =~ /^ (\S+) \(MPTCP\)$/mg], ['10.91.1.2:81',
    'ftp://user:XXXXXXXX@127.0.0.1:9003/', 'http://127.0.0.1:9001/'], 'httpd -S with it says the same')
    or diag "$status $both";

# without it
is_deeply([$httpd->config_test], [0, "Syntax OK\n"], 'httpd -t with an obstacle is quiet and green');

# what comes of it
$httpd->start or BAIL_OUT($httpd->error_log);
is_deeply([sort map { $_->{local} } $lab->ss('server', '-Mln')], ['10.91.1.2:81'],
    'started: the listeners are as it said');
is_deeply([$lab->endpoints('server')], ['10.91.1.2 id 3 subflow dev s1', '10.91.2.2 id 7 signal dev s2'],
    '... endpoints too');
is($lab->limits_now('server')->{subflows}, 4, '... and limits');
my ($way) = $httpd->error_log =~ /\[mptcp:warn\] \[[^]]*\] (.*cannot join there.*)/;
is($way, $said{'In the way'}[0], '... and the log says what is in the way');
%said = dump_of($httpd);
is(scalar @{ $said{Endpoints} }, 2, 'beside a running server: each endpoint once');
$httpd->stop;

# --- Other hosts

$lab->sysctl('server', 'net.mptcp.enabled', 0);
%said = dump_of($httpd);
is($said{'Multipath TCP'}, 'refused', 'a kernel that gives no MPTCP socket');
is(scalar(grep {/MPTCP\)/} @{ $said{Listeners} }), 0, '... all listeners will be TCP');
like("@{ $said{'In the way'} }", qr/write 'sysctl -w net\.mptcp\.enabled=1'/, '... and it says what to write');
$lab->sysctl('server', 'net.mptcp.enabled', 1);

%said = dump_of(server("Listen 80\nMPTCPListenDefault On\n"
        . "MPTCPEndpoint 10.91.2.9 dev s2 signal\nMPTCPEndpoint dev s3 signal\nMPTCPEndpoint dev s1 signal\n"));
is(scalar(grep {/ \(MPTCP\)/} @{ $said{Listeners} }), 2, 'MPTCPListenDefault');
is($said{Backends}, undef, 'without mod_proxy there are no backends');
is((grep {/ dev s1 /} @{ $said{Endpoints} })[0], '10.91.1.2 dev s1 signal (MPTCPEndpoint)',
    'each address of an interface')
    or diag $said{all};
is(scalar(grep {/not by MPTCPEndpoint/ && !/ id 3 /} @{ $said{Endpoints} }), 0,
    "... is the configuration's own, what a line gives");
is_deeply([grep {/^MPTCPEndpoint/} @{ $said{'In the way'} }], [
        'MPTCPEndpoint 10.91.2.9 dev s2 signal is not in force: the address is not on this host; '
            . 'the endpoint is added when it is',
        'MPTCPEndpoint dev s3 signal is not in force: this host has no such interface; the endpoint is '
            . 'added when it has'
    ], 'an address and an interface that are not here, each said once')
    or diag $said{all};

%said = dump_of(server("Listen 80\n"));
is($said{'Multipath TCP'}, 'unused', 'nothing asks for it');

%said = dump_of(server("MPTCPListen 80\nMPTCPEndpoint 10.91.2.2 dev s2 signal\nMPTCPLimits subflows=2\n"));
is_deeply($said{'In the way'}, ['nothing'], 'all is well: the limit of now is not what counts');

# as anybody
my $nobody = server("MPTCPListen 8080\n");
$nobody->{before} = [qw(setpriv --reuid nobody --clear-groups)];
%said = dump_of($nobody);
is(scalar(grep {/ \(MPTCP\)/} @{ $said{Listeners} }), 2, 'it takes no privilege');
done_testing();

sub server {
    my ($text, @load) = @_;
    return MPTCP::Httpd->new(lab => $lab, ns => 'server', load => \@load, conf => $text);
}

# Its sections: { name => [lines] }, what stands behind a colon, and all of it.
sub dump_of {
    my ($server) = @_;
    my ($status, $output) = $server->run_beside('-t', '-D', 'DUMP_MPTCP');
    is($status, 0, 'httpd -t -D DUMP_MPTCP') or diag $output;
    my (%section, $name);
    for (split /\n/, $output) {
        if (/^(\w[\w ]*):(?: (.*))?$/) { $name = $1; $section{$name} = $2 // [] }
        elsif (/^ (.*)/) { push @{ $section{$name} }, $1 }
    }
    return (%section, all => $output);
}
