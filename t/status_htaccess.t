# The status page is there only where the server's own configuration has
# SetHandler mptcp-status: whoever may write .htaccess files does not get it, in
# none of the ways in which those choose a handler.

use strict;
use warnings;

use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;

my $httpd = MPTCP::Httpd->new(load => [qw(mime rewrite setenvif authz_host headers alias)],
    conf => <<'END');
MPTCPListen 127.0.0.1:80
<Directory "htdocs">
    AllowOverride All
    Options FollowSymLinks
</Directory>
<Location "/mptcp-status">
    SetHandler mptcp-status
</Location>
<Directory "htdocs/admin">
    SetHandler mptcp-status
</Directory>
<Directory "htdocs/taken">
    SetHandler mptcp-status
</Directory>
<Location "/taken/back">
    SetHandler none
</Location>
<Location "/capitals">
    SetHandler MPTCP-Status
</Location>
AddHandler mptcp-status .byname
END
mkdir $httpd->docroot . "/$_" or die "$_: $!\n" for qw(customer admin taken);
$httpd->set_conf($httpd->{conf} =~ s/"htdocs/'"' . $httpd->docroot/ger);
$httpd->write_file("$_/index.html", "document\n") for qw(customer admin taken);
$httpd->write_file("$_/back", "document\n") for qw(customer admin taken);
$httpd->write_file('customer/x.status', "document\n");
$httpd->write_file('x.byname', "document\n");
$httpd->start or BAIL_OUT($httpd->error_log);

# --- The server's own

is(get('/mptcp-status?json'), 'page', 'a Location');
is(get('/admin/?json'), 'page', 'a Directory');
is(get('/capitals?json'), 'page', 'in capitals, which core makes small');
is(get('/customer/index.html'), 'document', 'elsewhere it is not');
is(get('/taken/back'), 'document', 'a section within that says otherwise');
is(get('/x.byname?json'), 403, "AddHandler of the server's: SetHandler alone counts");

# --- Those of .htaccess

my %way = (
    'SetHandler'         => 'SetHandler mptcp-status',
    'in capitals'        => 'SetHandler MPTCP-Status',
    'in <Files>'         => "<Files \"*\">\nSetHandler mptcp-status\n</Files>",
    'in <If>'            => "<If \"true\">\nSetHandler mptcp-status\n</If>",
    'an expression'      => 'SetHandler "%{unbase64:bXB0Y3Atc3RhdHVz}"',
    'AddHandler'         => 'AddHandler mptcp-status .status',
    'ForceType'          => 'ForceType mptcp-status',
    'AddType'            => 'AddType mptcp-status .status',
    'RewriteRule [H=]'   => "RewriteEngine on\nRewriteRule ^ - [H=mptcp-status]",
    'RewriteRule [T=]'   => "RewriteEngine on\nRewriteRule ^ - [T=mptcp-status]",
);
for my $name (sort keys %way) {
    $httpd->write_file('customer/.htaccess', "$way{$name}\n");
    is(get('/customer/x.status?json'), 403, ".htaccess, $name: refused");
    is(get('/mptcp-status?json'), 'page', "... and the server's own is there");
}
like($httpd->error_log, qr/\[mptcp:error\].*mptcp-status is for the server's own configuration/,
    'the log says why');

# One beside the server's own takes it away, and does not bring it back.
$httpd->write_file('taken/.htaccess', "SetHandler none\n");
is(get('/taken/index.html?json'), 'document', '.htaccess takes it away');
$httpd->write_file('taken/.htaccess', "SetHandler mptcp-status\n");
is(get('/taken/index.html?json'), 403, '... and cannot say it itself');
$httpd->write_file('taken/.htaccess', "Header set X-Customer yes\n");
is(get('/taken/index.html?json'), 'page', '... one about other things changes nothing');

# SetHandler as such works as ever, with core's own errors.
$httpd->write_file('customer/.htaccess', "SetHandler default-handler\n");
is(get('/customer/index.html'), 'document', 'another handler in .htaccess');
$httpd->write_file('customer/.htaccess', "SetHandler one two\n");
is(get('/customer/index.html'), 500, 'two arguments are an error');
done_testing();

# 'page', 'document' or the status.
sub get {
    my ($path) = @_;
    my $r = MPTCP::Client::get(host => '127.0.0.1', port => 80, path => $path, keep => 1);
    return $r->{status} != 200 ? $r->{status}
        : $r->{body} eq "document\n" ? 'document'
        : $r->{body} =~ /"schema": *1\b/ ? 'page' : 'something else';
}
