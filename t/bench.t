# The benchmarks, which the suite does not run, are at least programs.

use strict;
use warnings;

use MPTCP::Sandbox;
use Test::More;

my @scripts = glob 'bench/*.pl';
cmp_ok(scalar @scripts, '>', 5, 'scripts of benchmarks');
for my $script (@scripts) {
    my $said = MPTCP::Sandbox::output($^X, '-Ibench/lib', '-It/lib', '-c', $script);
    is($said, "$script syntax OK\n", "$script compiles");
}
is(MPTCP::Sandbox::output('sh', '-n', 'bench/guest'), '', 'bench/guest is a script of the shell');

# The figures that bench-check compares: a name and a number each.
open my $file, '<', 'bench/expected.txt' or die "bench/expected.txt: $!";
my @wrong = grep { !/^#/ && !/^(?:stall|(?:rate|time|calls) \S.*) \d+(?:\.\d+)?$/ } <$file>;
is("@wrong", '', 'bench/expected.txt is names and numbers');

done_testing();
