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
is($?, 0, 'the house is as planned') or diag $said;
like($said, qr/^\Q$_\E +[1-9]\d* lines/m, "$_ is in the house")
    for qw(mod_mptcp.c proxy_hooks.c status variables listen proxy paths common kernel);

my %proper = (
    'kernel/a'      => '#include "kernel/kernel.h"' . "\n" . 'void k(void) {} static int x; int *of_x(void) { return &x; }',
    'common/b'      => '#include "kernel/kernel.h"' . "\n" . 'void b(void) { k(); }',
    'mod_mptcp'     => 'void b(void); int *of_x(void); int mptcp_module(void) { b(); return *of_x(); }',
    'kernel/kernel.h' => "/** what k(x) gives */\nvoid k(void);\nint *of_x(void);\n",
);
finds({%proper});
finds({ 'kernel/a' => 'void up(void); void a(void) { up(); }', 'common/b' => 'void up(void) {}' },
    qr{^kernel/a\.c -> common/b\.c: kernel may not call common: up$}m);
finds({ 'listen/a' => 'void p(void); void a(void) { p(); }', 'paths/b' => 'void p(void) {}' },
    qr{^listen/a\.c -> paths/b\.c: listen may not call paths: p$}m);
finds({ 'common/a' => 'void root(void); void a(void) { root(); }', 'mod_mptcp' => 'void root(void) {}' },
    qr{^common/a\.c -> mod_mptcp\.c: common may not call mod_mptcp\.c: root$}m);
finds({ 'attic/a' => 'static int a;' }, qr{^attic/a\.c: there is no place for it in the plan$}m);
finds({ 'another' => 'static int a;' }, qr{^another\.c: there is no place for it in the plan$}m);
finds({
        'kernel/a' => 'void b(void); void a(void) { b(); }',
        'kernel/b' => 'void c(void); void b(void) { c(); }',
        'kernel/c' => 'void a(void); void c(void) { a(); }'
    },
    qr{^a circle: kernel/a\.c -> kernel/b\.c -> kernel/c\.c -> kernel/a\.c$}m);
finds({ %proper, 'common/c' => 'static int x; int *b(void); int *c(void) { b(); return &x; }' },
    qr{^x is a static name in common/c\.c kernel/a\.c$}m,
    qr{^common/c\.c: no other file uses c: make it static, or drop it$}m);
finds({ 'status/a' => 'void ap_hook_handler(void); void a(void) { ap_hook_handler(); }' },
    qr{^status/a\.c: hooks are registered in mod_mptcp\.c: ap_hook_handler$}m);
finds({ %proper, 'listen/listen.h' => '', 'kernel/c' => qq{#include "listen/listen.h"\n} },
    qr{^kernel/c\.c includes listen/listen\.h, which kernel may not call$}m);
finds({ %proper, 'kernel/kernel.h' => "$proper{'kernel/kernel.h'}int gone(int x,\n         int y);\n" },
    qr{^kernel/kernel\.h declares gone, which kernel does not have$}m);
finds({ %proper, 'kernel/kernel.h' => "$proper{'kernel/kernel.h'}void inner(void);\n",
        'kernel/c' => 'void inner(void) {}', 'kernel/d' => 'void inner(void); void k2(void) { inner(); }',
        'common/e' => 'void k2(void); void b(void); void e(void) { k2(); b(); e(); }' },
    qr{^kernel/kernel\.h declares inner, which only kernel uses: private\.h$}m);
finds({ %proper, 'kernel/private.h' => '', 'common/c' => qq{#include "kernel/private.h"\n} },
    qr{^common/c\.c includes kernel/private\.h, which is kernel's own$}m);
finds({ %proper, 'mod_mptcp.h' => "\n" x 200 }, qr{^mod_mptcp\.h has 201 lines: 200 are the most$}m);
finds({ %proper, 'common/c' => ('static int c' . 'c' x 66 . ';') });
finds({ %proper, 'common/c' => ('static int c' . 'c' x 67 . ';') },
    qr{^common/c\.c:1: more than 79 columns$}m);
my $table = join '', "| room | has | may call |\n|---|---|---|\n| `mod_mptcp.c` | hooks | all |\n",
    map({"| `$_` | - | proxy, common, kernel |\n"} qw(proxy_hooks.c variables/)),
    map({"| `$_/` | - | common, kernel |\n"} qw(listen proxy paths)),
    "| `status/` | - | listen, proxy, paths, common, kernel |\n",
    "| `common/` | it (`b.c`) | kernel |\n| `kernel/` | that (`a.c`) | none |\n";
finds({ %proper, 'CONTRIBUTING.md' => $table });
finds({ %proper, 'CONTRIBUTING.md' => $table =~ s/`a\.c`/`gone.c`/r },
    qr{^CONTRIBUTING\.md: kernel/a\.c is not in the table$}m,
    qr{^CONTRIBUTING\.md: there is no kernel/gone\.c$}m);
finds({ %proper, 'CONTRIBUTING.md' => $table =~ s/none/all/r },
    qr{^CONTRIBUTING\.md: whom kernel may call: none$}m);
done_testing();

# What does it say of these files, .c if they do not say?
sub finds {
    my ($files, @faults) = @_;
    my $dir   = File::Temp->newdir;
    my @names = sort keys %$files;
    for my $name (@names) {
        my $file = $name =~ /\./ ? $name : "$name.c";
        make_path("$dir/" . dirname($name), "$dir/objects/" . dirname($name));
        open my $out, '>', "$dir/$file" or die "$file: $!\n";
        print {$out} "$files->{$name}\n";
        close $out or die "$file: $!\n";
    }
    for my $name (grep { !/\./ } @names) {
        system('cc', '-O0', "-I$dir", '-c', '-o', "$dir/objects/$name.o", "$dir/$name.c") == 0 or die "cc: $?\n";
    }
    my $output = qx{cd $dir && $top/tools/check-layout objects 2>&1};
    my $name   = join ', ', @names;
    is($? >> 8, @faults ? 1 : 0, "$name: " . (@faults ? 'it fails' : 'is content')) or diag $output;
    like($output, $_, '... and says why') for @faults;
    return;
}
