# The harnesses of t/fuzz for a short time, with the sanitizers that the
# compiler has: the corpus, and inputs made of it. `make fuzz` does it at
# length.

use strict;
use warnings;

use File::Basename qw(dirname);
use Test::More;

chdir dirname(dirname($0)) or die "chdir: $!";
my @harnesses = map {m{^t/fuzz/(\w+)\.c$}} grep { !m{/(?:run|httpd)\.c$} } glob "t/fuzz/*.c";
cmp_ok(scalar @harnesses, '>=', 4, 'there are harnesses');
for my $name (@harnesses) {
    my @corpus = glob "t/fuzz/corpus/$name/*";
    ok(@corpus, "$name has a corpus");
    my $output = qx{make -s build/fuzz/$name 2>&1};
    is($?, 0, "$name is built") or diag $output;
    $output = qx{build/fuzz/$name 20000 @corpus 2>&1};
    is($?, 0, "$name: no finding") or diag $output;
    like($output, qr/^2\d{4} inputs$/m, "$name: as many inputs as that");
}
done_testing();
