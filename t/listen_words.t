# Words on a Listen or MPTCPListen line that are mistakes: what core would take
# for the name of a protocol, and then serve by plain TCP or under an odd name.
# httpd -t says what to write instead.

use strict;
use warnings;

use Test::More;
use MPTCP::Httpd;
use MPTCP::Lab;

MPTCP::Lab->enter;

# What MPTCP is called elsewhere, on a Listen line
for my $word (qw(multipathtcp mptcp multipath MPTCP MultipathTCP=On multipathtcp=on mptcp=on multipath=1
    option=multipathtcp opts=mptcp options:multipathtcp Option protocol=mptcp multipath-tcp))
{
    refused("Listen 8001 $word",
        qr/Listen 8001 \Q$word\E: '\Q$word\E' is no protocol.*write 'MPTCPListen 8001' or 'Listen 8001 options=multipathtcp'/);
}
refused('Listen 8001 multipathtcp=Off', qr/'multipathtcp=Off' is no protocol.*write 'Listen 8001'$/m);
refused('Listen 8001 https mptcp',
    qr/Listen 8001 https mptcp: .*write 'MPTCPListen 8001 https' or 'Listen 8001 https options=multipathtcp'/);
refused('Listen [::1]:8001 multipath https',
    qr/write 'MPTCPListen \[::1\]:8001 https' or 'Listen \[::1\]:8001 https options=multipathtcp'/);
refused('Listen 8001 "mptcp"', qr/'mptcp' is no protocol/);
refused('Listen 8001 option=multipathtcp options=multipathtcp', qr/'option=multipathtcp' is no protocol/);

# ... on an MPTCPListen line, which needs none of it
for my $word (qw(mptcp multipathtcp options=multipathtcp options=freebind multipath=on On on yes true enable)) {
    refused("MPTCPListen 8001 $word",
        qr/MPTCPListen 8001 \Q$word\E: '\Q$word\E' is no protocol.*write 'MPTCPListen 8001'/);
}
for my $word (qw(Off multipathtcp=off no mptcp=0)) {
    refused("MPTCPListen 8001 $word",
        qr/MPTCPListen 8001 \Q$word\E: '\Q$word\E' is no protocol.*write 'Listen 8001'/);
}
refused('MPTCPListen 8001 https On', qr/'On' is no protocol.*write 'MPTCPListen 8001 https'/);

# More than one port or address
refused('MPTCPListen 8001 8002', qr/MPTCPListen 8001 8002: '8002' is no protocol.*write 'MPTCPListen 8002' on a line of its own/);
refused('MPTCPListen 8001 8002 8003', qr/'8002' is no protocol.*a line of its own/);
refused('MPTCPListen 127.0.0.1:8001 127.0.0.2:8001', qr/'127\.0\.0\.2:8001' is no protocol.*write 'MPTCPListen 127\.0\.0\.2:8001' on a line of its own/);
refused('MPTCPListen 8001 [::1]:8001', qr/write 'MPTCPListen \[::1\]:8001' on a line of its own/);
refused('Listen 8001 8002 options=multipathtcp', qr/Listen 8001 8002 options=multipathtcp: '8002' is no protocol.*a line of its own/);
refused('Listen 8001 On options=multipathtcp', qr/'On' is no protocol.*write 'MPTCPListen 8001'/);

# The error is of the line's own place.
{
    my $httpd = MPTCP::Httpd->new(conf => "Listen 8000\nListen 8001\n\nListen 8002 mptcp");
    open my $conf, '<', $httpd->conf_file or die $httpd->conf_file . ": $!\n";
    1 while <$conf> !~ /8002/;
    my $line = $.;
    like(($httpd->config_test)[1], qr/Syntax error on line $line of .*httpd\.conf/, 'in the midst of others');
}

# What is a protocol, or may be one
accepted($_) for 'Listen 8001 http', 'Listen 8001 h2', 'Listen 8001 acme-tls', 'Listen 8001 nntp',
    'Listen 8001 8002', 'Listen 8001 On', 'Listen 8001 optical', 'MPTCPListen 8001 h2c', 'MPTCPListen 8001 http/1.1',
    'MPTCPListen 8001 online', 'MPTCPListen 8001 x-mine', 'Listen 8001 ftp options=multipathtcp';

# Without a word of ours in it, a wrong line is core's affair.
refused('Listen 8001 http more', qr/Listen requires 1 or 2 arguments|Third argument to Listen/);
done_testing();

sub check {
    my ($conf) = @_;
    my ($status, $output) = MPTCP::Httpd->new(conf => $conf)->config_test;
    return ($status, $output, $conf =~ s/\n/ | /gr);
}

sub accepted {
    my ($status, $output, $name) = check(@_);
    is($status, 0, "accepted: $name") or diag $output;
    return;
}

sub refused {
    my ($conf, $message) = @_;
    my ($status, $output, $name) = check($conf);
    ok($status == 1 && $output =~ $message, "refused: $name") or diag "status $status: $output";
    return;
}
