# The sources keep to the plan of the house, by tools/check-layout; and that
# finds each kind of fault, in objects which have one.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp ();
use Test::More;

my $top = dirname(dirname(abs_path(__FILE__)));
chdir $top or die "$top: $!\n";

my $said = qx{make -s layout 2>&1};
is($?, 0, 'no arrow upwards, no circle, no name twice') or diag $said;
like($said, qr/^\Q$_\E +[1-9]\d* lines/m, "$_ is in the house")
    for qw(mod_mptcp.c proxy_hooks.c status variables listen proxy paths common kernel);

my $proper = 'void kernel(void) {} static int x; int *of_x(void) { return &x; }';
finds({ 'kernel/a' => $proper, 'common/b' => 'void kernel(void); void b(void) { kernel(); }' });
finds({ 'kernel/a' => 'void up(void); void a(void) { up(); }', 'common/b' => 'void up(void) {}' },
    qr{^kernel/a\.c -> common/b\.c: kernel may not call common: up$}m);
finds({ 'listen/a' => 'void p(void); void a(void) { p(); }', 'paths/b' => 'void p(void) {}' },
    qr{^listen/a\.c -> paths/b\.c: listen may not call paths: p$}m);
finds({ 'common/a' => 'void root(void); void a(void) { root(); }', 'mod_mptcp' => 'void root(void) {}' },
    qr{^common/a\.c -> mod_mptcp\.c: common may not call mod_mptcp\.c: root$}m);
finds({ 'attic/a' => 'void k(void); void a(void) { k(); }', 'kernel/b' => 'void k(void) {}' },
    qr{^attic/a\.c: there is no place for it in the plan$}m);
finds({
        'kernel/a' => 'void b(void); void a(void) { b(); }',
        'kernel/b' => 'void c(void); void b(void) { c(); }',
        'kernel/c' => 'void a(void); void c(void) { a(); }'
    },
    qr{^a circle: kernel/a\.c -> kernel/b\.c -> kernel/c\.c -> kernel/a\.c$}m);
finds({ 'kernel/a' => $proper, 'common/b' => 'static int x; int *b(void) { return &x; }' },
    qr{^x is a static name in common/b\.c kernel/a\.c$}m);
done_testing();

sub finds {
    my ($sources, @faults) = @_;
    my $dir = File::Temp->newdir;
    for my $name (sort keys %$sources) {
        make_path("$dir/" . dirname($name));
        open my $cc, '|-', 'cc', '-O0', '-xc', '-c', '-o', "$dir/$name.o", '-' or die "cc: $!\n";
        print {$cc} $sources->{$name};
        close $cc or die "cc: $?\n";
    }
    my $output = qx{tools/check-layout $dir 2>&1};
    my $name = join ', ', sort keys %$sources;
    is($? >> 8, @faults ? 1 : 0, "$name: " . (@faults ? 'it fails' : 'is content')) or diag $output;
    like($output, $_, '... and says why') for @faults;
    return;
}
