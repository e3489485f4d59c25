# Where a test or tools/demo cannot have its namespaces, it says what to do; and
# the tools that install answer --help and wrong words before they do anything.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp ();
use MPTCP::Lab;
use MPTCP::Sandbox;
use Test::More;

MPTCP::Lab->enter;
my $top = dirname(dirname(abs_path(__FILE__)));
delete $ENV{MPTCP_LAB};

# --- Capabilities that are missing

# not below /run, which each sandbox has to itself
my $script = File::Temp->new(DIR => '/tmp', SUFFIX => '.pl');
print {$script} "use MPTCP::Lab; MPTCP::Lab->enter; print qq(entered\\n);\n";
close $script;
my @enter = ($^X, "-I$top/t/lib", "$script");
is(MPTCP::Sandbox::output(@enter), "entered\n", 'namespaces within namespaces');
for my $set (['net_admin', 'NET_ADMIN'], ['sys_admin', 'SYS_ADMIN']) {
    my $said = MPTCP::Sandbox::output('setpriv', '--bounding-set', "-$set->[0]", @enter);
    like($said, qr/namespaces: $set->[1] is missing\.\n.*--cap-add $set->[1] \.\.\./s,
        "without CAP_$set->[1]");
}

# --- A chroot whose root is a directory

my $tree = File::Temp->newdir;
for my $dir (qw(usr etc proc dev tmp), substr $top, 1) {
    system('mkdir', '-p', "$tree/$dir") == 0 or die "mkdir: $?\n";
}
for my $link (qw(bin sbin lib lib64)) {
    symlink readlink("/$link"), "$tree/$link" if -l "/$link";
}
my @mounted = map { my $at = "$tree$_"; system('mount', '--bind', $_, $at) == 0 ? $at : () }
    qw(/usr /etc /proc /dev), $top;
is(scalar(@mounted), 5, 'a tree');
system('cp', "$script", "$tree/tmp/enter.pl") == 0 or die "cp: $?\n";
my @in_tree = ('chroot', "$tree", $^X, "-I$top/t/lib", '/tmp/enter.pl');
like(MPTCP::Sandbox::output(@in_tree), qr/chroot .*mount --bind TREE TREE && chroot TREE/s,
    'a plain chroot');
system('umount', $_) for reverse @mounted;

# --- What is answered before anything is done

for my $tool (qw(demo check)) {
    my $said = MPTCP::Sandbox::output("$top/tools/$tool", '--help');
    is($?, 0, "tools/$tool --help");
    like($said, qr/^usage: tools\/$tool /, '... answers');
    $said = MPTCP::Sandbox::output("$top/tools/$tool", '--nonsense');
    is($? >> 8, 2, "tools/$tool --nonsense");
    like($said, qr/^tools\/$tool: there is no '--nonsense'/, '... is refused');
}
MPTCP::Sandbox::output("$top/tools/deps", 'nonsense');
is($? >> 8, 2, 'tools/deps nonsense is refused');

# --- What apt says is shown if it fails, and only then

my $bin = File::Temp->newdir;
write_file("$bin/dpkg-query", "#!/bin/sh\necho not-installed\n");
write_file("$bin/apt-cache",  "#!/bin/sh\nexit 0\n");
for my $status (0, 100) {
    write_file("$bin/apt-get", <<"END");
#!/bin/sh
echo 'dlstatus:1:50.0000:Retrieving' >&3
echo 'pmstatus:gcc:75.0000:Unpacking gcc' >&3
echo 'four hundred lines'
exit $status
END
    my $said = MPTCP::Sandbox::output('env', "PATH=$bin:$ENV{PATH}", "$top/tools/deps", 'build');
    is($? >> 8, $status ? 1 : 0, "tools/deps, apt-get's status is $status");
    like($said, qr/^tools\/deps: installing \d+ packages and what they need: gcc /, '... says so');
    is($said =~ /four hundred lines/ ? 1 : 0, $status ? 1 : 0, '... and shows what apt says');
}
# --- tools/check ends with a summary, or with what failed

write_file("$bin/dpkg-query", "#!/bin/sh\necho installed\n");
for my $fails ('', 'lint') {
    write_file("$bin/make", qq(#!/bin/sh\n[ "\$1" != "$fails" ] || exit 1\necho "make \$*"\n));
    my $said = MPTCP::Sandbox::output('env', "PATH=$bin:$ENV{PATH}", "$top/tools/check", 'MPMS=event');
    if ($fails) {
        is($? >> 8, 1, 'tools/check where make lint fails');
        like($said, qr/^tools\/check: lint FAILED, see above; done before: packages \d+ s, build \d+ s\n\z/m,
            '... says what failed');
        unlike($said, qr/^make check/m, '... and goes no further');
        next;
    }
    is($?, 0, 'tools/check where all is well');
    like($said, qr/^tools\/check: about \d+ minutes .*^make check MPMS=event$/ms,
        '... says how long it takes, and passes arguments on');
    like($said, qr/^tools\/check: all is well: packages \d+ s, build \d+ s, lint \d+ s, tests \d+ s, in all \d+ min\n\z/m,
        '... and ends with a summary');
}
done_testing();

sub write_file {
    my ($name, $text) = @_;
    open my $file, '>', $name or die "$name: $!\n";
    print {$file} $text;
    close $file or die "$name: $!\n";
    chmod 0755, $name;
    return;
}
