# The manual and the code agree, by tools/check-docs; and that finds each kind
# of disagreement, in copies of the tree which have one.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp ();
use Test::More;

my $top = dirname(dirname(abs_path(__FILE__)));
my ($status, $output) = check($top);
is($output, '', 'tools/check-docs has nothing to say');
is($status, 0, '... and is content');

# what is changed: a file, a pattern, what takes its place, what is to be said
finds('docs/listeners.md', qr/^## MPTCPFallback$/m, '## Fallback',
    qr/^docs: directive MPTCPFallback has no entry$/m);
finds('docs/listeners.md', qr/^## MPTCPFallback$/m, '## MPTCPFallBack',
    qr/^docs\/listeners\.md: there is no directive MPTCPFallBack in mod_mptcp\.c$/m);
finds('docs/listeners.md', qr/^\| Context.*\n/m, '', qr/MPTCPListen: rows are /);
finds('docs/variables.md', qr/, directory \|/, ' |', qr/MPTCPEnvVars: Context and /);
finds('docs/directives.md', qr/\(listeners\.md#mptcplisten\)/, '()', qr/no link to MPTCPListen:/);
finds('README.md', qr/\bMPTCPListenDefault\b/, "MPTCPListenDefaut",
    qr/^README\.md: there is no directive MPTCPListenDefaut$/m);
finds('conf/examples/two-uplinks.conf', qr/^ *MPTCPLimits .*/m, "    MPTCPLimit 2",
    qr/^conf\/examples\/two-uplinks\.conf: there is no directive MPTCPLimit$/m,
    qr/^docs\/recipes\.md: the block behind the link .* differs/m);
finds('mod_mptcp.c', qr/AP_INIT_FLAG\("MPTCPFallback"/, 'AP_INIT_FLAG("MPTCPNew"',
    qr/^docs: directive MPTCPNew has no entry$/m);
finds('common/config.c', qr/^.*conf->fallback = 1;\n/m, '',
    qr/global setting fallback is not set when it is created/);
finds('common/config.c', qr/: base->proxy_default/, ': MPTCP_UNSET',
    qr/server setting proxy_default is not merged/);
finds('common/config.c', qr/: base->env_vars/, ': 0', qr/dir setting env_vars is not merged/);
finds('listen/open_logs.c', qr/"MPTCP listeners serve/, '"MPTCP sockets serve',
    qr/^listen\/open_logs\.c: not in docs\/messages\.md: MPTCP sockets serve by plain TCP/m);
finds('status/obstacles.c', qr/"no connection gets/, '"none gets',
    qr/^status\/obstacles\.c: not in docs\/messages\.md: none gets/m);
finds('docs/messages.md', qr/(?<=REASON` \| )crit/, 'warn',
    qr/^listen\/open_logs\.c: not of level warn, as docs\/messages\.md says: %pI is to be/m);
finds('variables/table.c', qr/"MPTCP_TOKEN"/, '"MPTCP_SECRET"',
    qr/^docs\/variables\.md: variable MPTCP_SECRET is not there$/m,
    qr/^docs\/variables\.md: there is no variable MPTCP_TOKEN$/m);
finds('status/openmetrics.c', qr/(?<=single\(w, )"(\w+)"/, '"new"',
    qr/^docs\/status\.md: metric httpd_mptcp_new is not there$/m, qr/^docs\/status\.md: there is no metric httpd_/m);
finds('status/json.c', qr/"took_us"/, '"took_ns"', qr/^docs\/status\.md: JSON field took_ns is not there$/m);
finds('README.md', qr/\]\(docs\/[a-z]/, '](docs/gone-', qr/^README\.md: dead link: docs\/gone-/m);
finds('docs/recipes.md', qr/\(listeners\.md#tcp_defer_accept\)/, '(listeners.md#tcp)',
    qr/^docs\/recipes\.md: no such heading: listeners\.md#tcp$/m);
finds('debian/changelog', qr/\(\d+\.\d+\.\d+\)/, '(9.9.9)', qr/^debian\/changelog: version 9\.9\.9, /m);
done_testing();

sub check {
    my ($dir) = @_;
    my $said = qx{'$top/tools/check-docs' '$dir' 2>&1};
    return ($? >> 8, $said);
}

sub finds {
    my ($file, $pattern, $instead, @said) = @_;
    my $copy = File::Temp->newdir;
    system('cp', '-r', (map {"$top/$_"} qw(docs conf debian packaging tools t LICENSE
        kernel common listen proxy paths variables status)),
        glob("$top/*.[ch] $top/*.md"), "$copy") == 0 or die "cp: $?\n";
    open my $in, '<', "$copy/$file" or die "$file: $!\n";
    my $text = do { local $/; <$in> };
    $text =~ s/$pattern/$instead/ or return fail("$file has no $pattern");
    open my $out, '>', "$copy/$file" or die "$file: $!\n";
    print {$out} $text;
    close $out or die "$file: $!\n";
    my ($failed, $said) = check($copy);
    is($failed, 1, "$file, $pattern changed: it fails");
    like($said, $_, '... and says what is wrong') for @said;
    return;
}
