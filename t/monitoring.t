# conf/monitoring: what its files ask for is what the page has; where promtool is,
# it accepts alerts and the dashboard's expressions, and the alerts' own tests
# pass.

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

my $dir = dirname(dirname(abs_path(__FILE__))) . '/conf/monitoring';
my %text = map { ($_ => slurp("$dir/$_")) } qw(scrape.yml alerts.yml alerts_test.yml grafana.json);

# --- The page, as Prometheus is told to fetch it

my ($path)  = $text{'scrape.yml'} =~ /^ +metrics_path: (\S+)$/m;
my ($query) = $text{'scrape.yml'} =~ /^ +params: \{(\w+): \[''\]\}$/m;
my $lab = MPTCP::Lab->two_paths;
my $httpd = MPTCP::Httpd->new(lab => $lab, ns => 'server', load => [qw(proxy proxy_http)],
    conf => <<"END");
MPTCPListen 80
MPTCPEndpoint 10.91.2.2 dev s2 signal
ProxyPass /a/ http://127.0.0.1:81/ multipathtcp=On
<Location $path>
    SetHandler mptcp-status
</Location>
END
$httpd->start or BAIL_OUT($httpd->error_log);
my %server = (lab => $lab, ns => 'client', host => $lab->address('server', 1), port => 80);
# a live connection, that has a round trip time
my $session = MPTCP::Session->open(%server, mptcp => 1);
$session->get('/');
my $page = MPTCP::Client::get(%server, path => "$path?$query", keep => 1);
my %there = map { ($_ => 1) } $page->{body} =~ /^(httpd_mptcp_\w+)[ {]/mg;
cmp_ok(scalar(keys %there), '>', 10, 'the page has metrics');
is(($page->{body} =~ /^httpd_mptcp_build_info\{version="([^"]+)"\} 1$/m)[0], version(),
    'the version of the module is one of them');
# which is there from Linux 6.12 on
$there{httpd_mptcp_blackhole} = 1 if !-e '/proc/sys/net/mptcp/blackhole_timeout';

for my $file (sort keys %text) {
    my %asked = map { ($_ => 1) } $text{$file} =~ /\b(httpd_mptcp_\w+)/g;
    delete $asked{httpd_mptcp_};
    # the name of the job, and of the group
    delete $asked{httpd_mptcp};
    is_deeply([grep { !$there{$_} } sort keys %asked], [], "$file asks for what is there");
}

# --- The labels, too

for my $file (qw(alerts.yml grafana.json)) {
    my %label = map { ($_ => 1) } $page->{body} =~ /[{,](\w+)="/g;
    my @by = map { split /, */ } $text{$file} =~ /\b(?:by|without|ignoring) ?\(([^)]*)\)/g;
    push @by, $text{$file} =~ /(\w+)=\\?"/g;
    is_deeply([grep { !$label{$_} && !/^(?:instance|job)$/ } @by], [], "$file: labels are there");
}

# --- The dashboard

my $dashboard = JSON::PP::decode_json($text{'grafana.json'});
my @expressions = map { $_->{expr} } map { @{ $_->{targets} } } @{ $dashboard->{panels} };
cmp_ok(scalar @expressions, '>=', 12, 'the dashboard has panels');
my %seen;
for my $panel (@{ $dashboard->{panels} }) {
    my $at = $panel->{gridPos};
    my @cells = map { my $y = $_; map {"$_,$y"} $at->{x} .. $at->{x} + $at->{w} - 1 }
        $at->{y} .. $at->{y} + $at->{h} - 1;
    is_deeply([grep { $seen{$_}++ } @cells], [], "panel '$panel->{title}' has its place to itself");
}

# --- promtool

if (my ($promtool) = grep {-x} map {"$_/promtool"} split /:/, $ENV{PATH}) {
    my $number = 0;
    my $rules = "groups:\n- name: dashboard\n  rules:\n" . join '', map {
        my $expr = s/\$__rate_interval/5m/gr =~ s/\$instance/.*/gr =~ s/'/''/gr;
        "  - {record: 'a:a" . ++$number . "', expr: '$expr'}\n";
    } @expressions;
    my $file = "$ENV{TMPDIR}/dashboard.yml";
    open my $fh, '>', $file or die "$file: $!\n";
    print {$fh} $rules;
    close $fh;
    for my $command ("check rules $dir/alerts.yml", "test rules $dir/alerts_test.yml",
        "check rules $file")
    {
        my $said = qx{cd '$dir' && $promtool $command 2>&1};
        is($?, 0, "promtool $command") or diag $said;
    }
}
else {
    note 'no promtool here (Debian: prometheus): only names and labels were compared';
}
done_testing();

sub version {
    my ($version) = slurp(dirname($dir) . '/../mod_mptcp.h') =~ /^#define MPTCP_VERSION "(.*)"$/m;
    return $version;
}

sub slurp {
    my ($name) = @_;
    open my $file, '<', $name or die "$name: $!\n";
    local $/;
    return scalar <$file>;
}
