# connection.c with the answers of kernels that know less than this one:
# t/unit/connection.c, a program that is built here.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;

my $top = dirname(dirname(abs_path(__FILE__)));

my $built = qx{make -s -C '$top' t/unit/connection 2>&1};
is($?, 0, 'make t/unit/connection') or BAIL_OUT($built);

my @lines = split /\n/, qx{'$top/t/unit/connection'};
my $status = $?;
for my $line (@lines) {
    if ($line =~ /^(not )?ok \d+ - (.*)/) { ok(!$1, $2) }
    elsif ($line =~ /^# (.*)/)            { diag($1) }
}
is($status, 0, 'its exit status');
like($lines[-1] // '', qr/^1\.\.\d+$/, 'it came to its end');

done_testing();
