# MPTCPEndpoint and MPTCPLimits as apache2 -t checks them: every error names
# the directive, the value and what is allowed, and nothing in the kernel is
# touched.

use strict;
use warnings;

use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;

my $lab   = MPTCP::Lab->new->add_host('server');
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server');

# What apache2 -t says of these lines.
sub config_test {
    my (@lines) = @_;
    $httpd->set_conf(join "\n", 'Listen 80', @lines);
    return $httpd->config_test;
}

sub refused {
    my ($lines, @patterns) = @_;
    my @lines = ref $lines ? @$lines : $lines;
    my ($status, $output) = config_test(@lines);
    isnt($status, 0, "refused: @lines");
    my ($directive) = $lines[-1] =~ /(MPTCP\w+)/;
    like($output, $_, "    says $_")
        for qr/\b$directive\b/, (@lines ? qr/allowed/ : ()), @patterns;
    return;
}

sub accepted {
    my (@lines) = @_;
    my ($status, $output) = config_test(@lines);
    is($status, 0, "accepted: @lines") or diag $output;
    return $output;
}

# --- The address

refused('MPTCPEndpoint', qr/takes an address/);
refused("MPTCPEndpoint $_ signal", qr/\Q$_\E.*IPv4 or IPv6/)
    for '10.91.2', '10.91.2.256', 'server.test', '[fd91::2]', '10.91.2.2:80',
    'fe80::1%s2', 'fe80::1', '::', '0.0.0.0', '255.255.255.255', '224.0.0.1',
    'ff02::1', '::ffff:10.91.2.2';

# --- Words and their values

refused('MPTCPEndpoint 10.91.2.2 signals', qr/10\.91\.2\.2: signals: .*\[laminar\]/);
refused('MPTCPEndpoint 10.91.2.2 implicit', qr/implicit: allowed/);
refused("MPTCPEndpoint 10.91.2.2 signal $_", qr/^.*: \Q@{[ (split)[0] ]}\E is there twice/m)
    for 'signal', 'dev s1 dev s2', 'id 1 id 2', 'port 80 port 81';
refused("MPTCPEndpoint 10.91.2.2 signal id $_", qr/id \Q$_\E: .*1 to 255/)
    for qw(256 -1 1x 0x1 +1 99999999999999999999 signal);
refused('MPTCPEndpoint 10.91.2.2 signal id', qr/id : .*1 to 255/);
refused("MPTCPEndpoint 10.91.2.2 signal port $_", qr/port \Q$_\E: .*1 to 65535/)
    for 0, 65536, -1, 'http', '80x';
refused('MPTCPEndpoint 10.91.2.2 signal port', qr/port : .*1 to 65535/);
refused('MPTCPEndpoint 10.91.2.2 signal dev', qr/dev : .*name of an interface/);
refused("MPTCPEndpoint 10.91.2.2 signal dev $_", qr/dev \Q$_\E: .*1 to 15/)
    for 'abcdefghijklmnop', 's/2';

# --- Words that exclude each other, or need each other

refused('MPTCPEndpoint 10.91.2.2 signal fullmesh',
    qr/signal and fullmesh exclude each other/);
refused('MPTCPEndpoint 10.91.2.2 port 7080', qr/port .* with signal/);
refused('MPTCPEndpoint 10.91.2.2 port 7080 subflow', qr/port .* with signal/);
refused('MPTCPEndpoint 10.91.2.2 port 7080 signal subflow',
    qr/port .* without subflow/);

# --- Several lines

refused(['MPTCPEndpoint 10.91.2.2 signal', 'MPTCPEndpoint 10.91.2.2 subflow'],
    qr/10\.91\.2\.2: there is a line for it already/);
refused(['MPTCPEndpoint fd91::2 signal', 'MPTCPEndpoint fd91:0::2 signal'],
    qr/fd91:0::2: there is a line for it already/);
refused(['MPTCPEndpoint 10.91.2.2 id 3 signal', 'MPTCPEndpoint fd91::2 id 3 signal'],
    qr/id 3 is that of 10\.91\.2\.2 already/);
my @eight = map {"MPTCPEndpoint 10.91.2.$_ signal"} 1 .. 8;
accepted(@eight);
refused([@eight, 'MPTCPEndpoint 10.91.2.9 signal'], qr/10\.91\.2\.9: .*one too many: allowed are 8/);
accepted('MPTCPEndpoint 10.91.2.2 signal', 'MPTCPEndpoint 10.91.2.2 port 7080 signal',
    'MPTCPEndpoint 10.91.2.2 port 7081 signal');

# --- Limits

refused('MPTCPLimits', qr/takes a limit/);
refused("MPTCPLimits $_", qr/MPTCPLimits \Q$_\E: allowed is .*0 to 8/)
    for qw(subflows=9 add_addr_accepted=9 subflows=-1 subflows= subflows
    subflow=2 =2 subflows=2x Subflows=2);
refused('MPTCPLimits subflows=2 subflows=3', qr/subflows=3: .*set to 2 already/);
refused(['MPTCPLimits subflows=2', 'MPTCPLimits subflows=2'], qr/each limit once/);
accepted('MPTCPLimits subflows=8', 'MPTCPLimits add_addr_accepted=0');

# --- Where they may stand

for my $line ('MPTCPEndpoint 10.91.2.2 signal', 'MPTCPLimits subflows=2') {
    my ($status, $output)
        = config_test('<VirtualHost *:80>', $line, '</VirtualHost>');
    isnt($status, 0, "refused in a virtual host: $line");
    like($output, qr/MPTCP\w+ .*(?:cannot|not allowed).*VirtualHost/i,
        '    says why');
}

# --- What is right

accepted(
    'MPTCPEndpoint 10.91.2.2 dev s2 id 255 port 7080 signal backup',
    'MPTCPEndpoint fd91:2::2 id 0 subflow fullmesh backup laminar dev abcdefghijklmno',
    'MPTCPEndpoint 10.91.1.2 signal subflow',
    'MPTCPLimits add_addr_accepted=8 subflows=8'
);
like(accepted('MPTCPEndpoint 10.91.2.2 dev s2'),
    qr/MPTCPEndpoint 10\.91\.2\.2 .*does nothing else: write signal/,
    'an endpoint without a flag is taken, and a warning says what to write');
unlike(accepted('MPTCPEndpoint 10.91.2.2 dev s2 signal'), qr/warn|MPTCP/i,
    'nothing is said of one that is right');

# --- All addresses of an interface

accepted('MPTCPEndpoint dev s2 signal', 'MPTCPEndpoint dev s1 subflow fullmesh backup',
    'MPTCPEndpoint 10.91.2.2 dev s2 signal backup');
refused('MPTCPEndpoint dev', qr/dev : .*name of an interface/);
refused(['MPTCPEndpoint dev s2 signal', 'MPTCPEndpoint dev s2 subflow'],
    qr/dev s2: there is a line for the interface already/);
refused('MPTCPEndpoint dev s2 id 3 signal', qr/dev s2: id goes with one address/);
refused('MPTCPEndpoint dev s2 signal fullmesh', qr/exclude each other/);
like(accepted('MPTCPEndpoint dev s2'), qr/MPTCPEndpoint dev s2 .*does nothing else/,
    'one without a flag does nothing');

# --- Mistakes that look right

refused("MPTCPEndpoint $_", qr/dev signal: allowed is the name of an interface/)
    for '10.91.2.2 dev signal', 'dev signal';
refused('MPTCPEndpoint 10.91.2.2 dev id 3 signal', qr/dev id: allowed is the name/);
refused("MPTCPEndpoint $_", qr/dev s2:1: that is the label of an address: allowed is .*'dev s2'/)
    for '10.91.2.2 dev s2:1 signal', 'dev s2:1 signal';
refused('MPTCPEndpoint 10.91.2.2 dev "s 2" signal', qr/dev s 2: allowed is the name of an interface/);
like(accepted("MPTCPEndpoint $_ signal"), qr/MPTCPEndpoint \Q$_\E: .*connects to itself/,
    "$_ is taken, and a warning says what is wrong") for '127.0.0.1', '::1';
unlike(accepted('MPTCPEndpoint 127.0.0.1 subflow'), qr/itself/, 'but not of what is not announced');

# --- The kernel has not been touched by any of it

is_deeply([$lab->endpoints('server')], [], 'there are no endpoints');
is_deeply($lab->limits_now('server'), { subflows => 2, add_addr_accepted => 0 },
    'the limits are the kernel\'s own');
is_deeply([glob $httpd->root . '/run/*'], [], 'nothing is left in DefaultRuntimeDir');

done_testing();
