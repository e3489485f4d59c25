#!/usr/bin/perl

# Cost: instructions and system calls that a request takes in httpd itself,
# with the module absent, loaded and unused, listening, and asked for more.
#
#   cost.csv           a row for each case: of a request on a connection that is
#                      kept, and of one with a connection of its own
#   cost-syscalls.csv  which system calls those are
#
# Instructions are counted by valgrind (callgrind), in user space only; system
# calls by strace.  Neither depends on how busy the machine is.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../t/lib";
use Bench;
use Bench::Cost;

my $bench = Bench->begin('cost');
my $short = Bench::short();
for my $tool (qw(valgrind strace)) {
    Bench::Server::in_path($tool) or die "bench: no '$tool' here; install package $tool.\n";
}

my $lab = MPTCP::Lab->new;
my (@rows, @syscalls);

for my $case (Bench::Cost::cases($short ? ('absent', 'log mptcp') : ())) {
    my $name = $case->{name};
    # (Before there were variables, these were errors.)
    my ($status) = Bench::Cost::httpd($lab, $case)->config_test;
    if ($status != 0) {
        $bench->say("$name: this module does not take '$case->{conf}'");
        next;
    }
    my %row = (case => $name);
    for my $kept (1, 0) {
        my $way = $kept ? 'kept' : 'new';
        $row{"instructions_$way"} = sprintf '%.0f', Bench::Cost::instructions($lab, $case, $kept,
            $short ? (100, 200) : (1000, 3000));
        my $calls = Bench::Cost::system_calls($lab, $case, $kept, $short ? (50, 100) : (200, 600));
        $row{"syscalls_$way"} = sprintf '%.2f', delete $calls->{all};
        push @syscalls, map { { case => $name, connection => $way, call => $_,
            count => sprintf '%.2f', $calls->{$_} } }
            grep { $calls->{$_} >= 0.05 } sort keys %$calls;
    }
    push @rows, \%row;
    $bench->say(sprintf '%-13s instructions %7d kept, %7d new; system calls %6.2f kept, %6.2f new',
        $name, @row{qw(instructions_kept instructions_new syscalls_kept syscalls_new)});
}
$bench->write('cost', [qw(case instructions_kept instructions_new syscalls_kept syscalls_new)],
    @rows);
$bench->write('cost-syscalls', [qw(case connection call count)], @syscalls);
$bench->end;
exit 0;
