# What the MPTCP variables cost: strace counts every getsockopt() of the
# server, and there is none that nobody asked for.

use strict;
use warnings;

use MPTCP::Httpd;
use MPTCP::Lab;
use MPTCP::Session;
use Test::More;

MPTCP::Lab->enter;
my $lab = MPTCP::Lab->new;

# Beside the directory that the server makes for itself
my $trace = "$ENV{TMPDIR}/getsockopt.trace";
my $all   = 'MPTCP MPTCP_SUBFLOWS MPTCP_TOKEN MPTCP_BYTES_SENT';
my $log   = join ' ', '%U', map {"%{$_}^mp"} split ' ', $all;
my $exprs = join "\n", map {qq(Header set X-$_ "expr=%{$_}")} split ' ', $all;

# A listener for each way of asking, and one of them where nobody does. Port
# 8089 is plain TCP and asks for everything.
my %ask = (
    8080 => '',
    8081 => "MPTCPEnvVars On\n$exprs\nSetEnvIfExpr \"%{MPTCP} == 'on'\" x=1\n",
    8082 => "CustomLog logs/one \"$log\"\nCustomLog logs/two \"$log\"\n",
    8083 => "MPTCPEnvVars On\n$exprs\nCustomLog logs/three \"$log\"\n",
    8089 => "MPTCPEnvVars On\n$exprs\nCustomLog logs/four \"$log\"\n",
    8084 => "MPTCPEnvVars On\n$exprs\nProxyPass / http://127.0.0.1:8090/ multipathtcp=On\n",
    8085 => "ProxyPass / http://127.0.0.1:8090/ multipathtcp=On\n",
);
my $vhosts = join '', map {<<"END"} sort keys %ask;
@{[ $_ == 8089 ? 'Listen' : 'MPTCPListen' ]} 127.0.0.1:$_
<VirtualHost 127.0.0.1:$_>
$ask{$_}CustomLog logs/done-$_ "%U"
</VirtualHost>
END
my $httpd = MPTCP::Httpd->new(
    # -D: the process that was started is httpd, not strace
    before => [qw(strace -D -f -qq -e trace=getsockopt -e signal=none -o), $trace],
    load => [qw(headers include mime setenvif proxy proxy_http)],
    conf => <<"END");
# No child is to begin in the middle: it looks at its listeners then.
<IfModule mpm_prefork_module>
    StartServers      4
    ServerLimit       4
    MaxRequestWorkers 4
</IfModule>
<IfModule !mpm_prefork_module>
    StartServers      1
    ServerLimit       1
    ThreadsPerChild   10
    MaxRequestWorkers 10
    MinSpareThreads   1
    MaxSpareThreads   10
</IfModule>
TypesConfig /dev/null
AddType text/html .shtml
AddOutputFilter INCLUDES .shtml
<Directory />
    Options +Includes
</Directory>
<IfModule mpm_prefork_module>
    # none starts while calls are counted
    MinSpareServers 1
</IfModule>
MPTCPListen 127.0.0.1:8090
$vhosts
END
$httpd->write_file('index.html',   "document\n");
$httpd->write_file('missing.html', "document\n");
$httpd->write_file('page.shtml',
    '<!--#include virtual="index.html" --><!--#include virtual="index.html" -->');
$httpd->start or BAIL_OUT($httpd->error_log . ' ' . slurp($trace));

# Until the children have begun
my $seen = -1;
while ($seen != calls()) {
    $seen = calls();
    sleep 1;
}

# Each request on a keep-alive connection, after the first. For the counters a
# connection to an MPTCP listener is asked for its protocol when it begins, which
# tells all there is to tell of plain TCP, and an MPTCP one again when it ends.
for my $case (
    # port, MPTCP client, calls for the first request and for each that follows
    [8080, 1, 0, 0, 'nobody asks'],
    [8080, 0, 0, 0, 'nobody asks, TCP client'],
    [8081, 1, 1, 1, 'environment and expressions'],
    [8081, 0, 0, 0, 'environment and expressions, TCP client'],
    [8082, 1, 1, 1, 'two logs'],
    [8082, 0, 0, 0, 'two logs, TCP client'],
    [8083, 1, 2, 2, 'environment and expressions, then a log'],
    [8083, 0, 0, 0, 'environment and expressions, then a log, TCP client'],
    [8089, 1, 0, 0, 'a TCP listener'],
    )
{
    my ($port, $mptcp, $first, $more, $name) = @$case;
    my $counters = $port == 8089 ? 0 : $mptcp ? 2 : 1;
    my $expected = $counters + $first + 3 * $more;
    my $before   = calls();
    my $session = MPTCP::Session->open(host => '127.0.0.1', port => $port,
        mptcp => $mptcp);
    requests($session, $port, ('/index.html') x 3, '/page.shtml');
    $session->close;
    $lab->wait_until(10, sub { calls() - $before >= $expected });
    is(calls() - $before, $expected,
        "$name: getsockopt() of four requests, one with subrequests");
}

# A proxied request: of the client's connection as ever, and one for that of
# the backend where the environment is asked for. That a pooled connection has
# a subflow left is asked in the place of a poll() (t/proxy_pool.t counts all
# calls), and connecting makes one of its own; so requests count which find the
# connection in the pool.
for my $case ([8084, 3, 'environment and expressions'], [8085, 1, 'nobody asks']) {
    my ($port, $expected, $name) = @$case;
    my $session = MPTCP::Session->open(host => '127.0.0.1', port => $port,
        mptcp => 1);
    requests($session, $port, ('/index.html') x 2);
    my $before = mptcp_calls();
    requests($session, $port, ('/index.html') x 3);
    is(mptcp_calls() - $before, 3 * $expected,
        "proxied, $name: getsockopt() for MPTCP of three requests");
    $session->close;
}

# A control: strace does see the calls that are made.
like(slurp($trace), qr/SOL_MPTCP|0x11c/, 'strace has seen MPTCP_INFO');

done_testing();

# Makes requests, and waits until the last log of each has been written.
sub requests {
    my ($session, $port, @paths) = @_;
    my $file   = $httpd->root . "/logs/done-$port";
    my $logged = slurp($file) =~ tr/\n//;
    $session->get($_) for @paths;
    $lab->wait_until(20, sub { slurp($file) =~ tr/\n// == $logged + @paths })
        or die "not logged on $port\n";
    return;
}

# Calls so far. strace writes a line when the call ends, before the process
# goes on.
sub calls {
    my @calls = grep { !/SO_ERROR/ && /getsockopt\(/ } split /\n/, slurp($trace);
    return scalar @calls;
}

sub mptcp_calls {
    return scalar grep {/SOL_MPTCP|0x11c|SO_PROTOCOL/} split /\n/, slurp($trace);
}

sub slurp {
    my ($name) = @_;
    open my $file, '<', $name or return '';
    local $/;
    return <$file> // '';
}
