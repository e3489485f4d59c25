package Bench::Cost;

# httpd in configurations that differ in what they ask of the module, and the
# tools that count what a request takes in each.

use strict;
use warnings;
use File::Temp ();
use Bench::Requests;
use MPTCP::Httpd;

my $PLAIN = 'CustomLog logs/access_log "%h %l %u %t \"%r\" %>s %b"';
my $LOGS  = $PLAIN =~ s/%b"/%b %{MPTCP}^mp %{MPTCP_SUBFLOWS}^mp %{MPTCP_BYTES_SENT}^mp"/r;
my @CASES = map { my %case; @case{qw(name module listen protocol conf)} = @$_; \%case } (
    # name, module, listener, client's protocol, more configuration
    ['absent',        0, 'Listen',      'tcp',   ''],
    ['unused',        1, 'Listen',      'tcp',   ''],
    ['listen tcp',    1, 'MPTCPListen', 'tcp',   ''],
    ['listen mptcp',  1, 'MPTCPListen', 'mptcp', ''],
    ['absent log',    0, 'Listen',      'tcp',   $PLAIN],
    ['log tcp',       1, 'MPTCPListen', 'tcp',   $LOGS],
    ['log mptcp',     1, 'MPTCPListen', 'mptcp', $LOGS],
    ['env mptcp',     1, 'MPTCPListen', 'mptcp', 'MPTCPEnvVars On'],
    # What differs between these and the first is chance.
    ['absent again',  0, 'Listen',      'tcp',   ''],
    ['absent third',  0, 'Listen',      'tcp',   ''],
);

# Those of the names, or all.
sub cases {
    my (@names) = @_;
    my %wanted = map { $_ => 1 } @names;
    return grep { !@names || $wanted{ $_->{name} } } @CASES;
}

# One child, so that its processes are always the same.
sub httpd {
    my ($lab, $case, %o) = @_;
    my $address = delete $o{address} // '127.0.0.1';
    my $httpd = MPTCP::Httpd->new(lab => $lab, module => $case->{module}, conf => <<"END", %o);
$case->{listen} $address:80
KeepAlive On
MaxKeepAliveRequests 0
StartServers 1
ServerLimit 1
<IfModule !mpm_prefork_module>
    ThreadsPerChild 4
    MaxRequestWorkers 4
</IfModule>
$case->{conf}
END
    $httpd->write_file('file', 'x' x 1000);
    return $httpd;
}

# Instructions of a request in user space, by valgrind (callgrind).  httpd -X is
# run twice, for so many requests and for more; the difference, divided by that
# of the requests, is free of start and stop.  Exact but for what threads do
# while they wait.
sub instructions {
    my ($lab, $case, $kept, $few, $many) = @_;
    my @count = map { _callgrind($lab, $case, $kept, $_) } $few, $many;
    return ($count[1] - $count[0]) / ($many - $few);
}

# System calls of a request by their names, by strace, in the same way; `all` is
# their sum but for futex: how often threads wake each other is chance.
sub system_calls {
    my ($lab, $case, $kept, $few, $many, %o) = @_;
    my @calls = map { _strace($lab, $case, $kept, $_, %o) } $few, $many;
    my %calls = map { $_ => ($calls[1]{$_} - ($calls[0]{$_} // 0)) / ($many - $few) }
        keys $calls[1]->%*;
    my $all = 0;
    $all += $calls{$_} for grep { $_ ne 'futex' } keys %calls;
    return { %calls, all => $all };
}

# Runs it under a tool for so many requests.
sub _under {
    my ($lab, $case, $kept, $requests, $tool, %o) = @_;
    my $httpd = httpd($lab, $case, %o, args => ['-X'], before => $tool,
        ready => sub { scalar $lab->ss(undef, '-tl', 'sport = :80') });
    $httpd->start or die $httpd->error_log;
    Bench::Requests::make(protocol => $case->{protocol}, kept => $kept, count => $requests);
    open my $file, '<', $httpd->root . '/run/httpd.pid' or die "bench: httpd.pid: $!\n";
    chomp(my $pid = <$file>);
    kill 'TERM', $pid;
    $lab->wait_until(30, sub { !$httpd->alive }) or die "bench: httpd does not end\n";
    return;
}

sub _callgrind {
    my ($lab, $case, $kept, $requests) = @_;
    my $out = File::Temp->new(TMPDIR => 1);
    chmod 0666, "$out";                  # it is no longer root when it writes that
    _under($lab, $case, $kept, $requests, [qw(valgrind --quiet --tool=callgrind),
        "--callgrind-out-file=$out", '--log-file=/dev/null']);
    open my $file, '<', "$out" or die "$out: $!\n";
    while (my $line = <$file>) {
        return $1 if $line =~ /^(?:summary|totals):\s*(\d+)/;
    }
    die "bench: callgrind counted nothing\n";
}

sub _strace {
    my ($lab, $case, $kept, $requests, %o) = @_;
    my $out = File::Temp->new(TMPDIR => 1);
    _under($lab, $case, $kept, $requests, [qw(strace -f -c -o), "$out"], %o);
    open my $file, '<', "$out" or die "$out: $!\n";
    my %calls = map { /^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$/ && $2 ne 'total'
        ? ($2 => $1) : () } <$file>;
    %calls or die "bench: strace counted nothing\n";
    return \%calls;
}

1;
