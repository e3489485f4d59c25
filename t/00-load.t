# The module is there, loaded, and answering. This file fails where that is
# not so, and never skips: without it a suite that could not test anything
# would look like one that found nothing wrong.

use strict;
use warnings;

use Apache::Test ();
use IO::Socket::INET;
use Test::More;

my $vars   = Apache::Test::vars();
my $module = $ENV{MPTCP_SO} // "$vars->{top_dir}/.libs/mod_mptcp.so";

ok(-f $module, "$module has been built");

# --- The module is in the running server's configuration

my @httpd = ($vars->{httpd}, '-d', $vars->{serverroot}, '-f',
    $vars->{t_conf_file}, map { ('-D', $_) } split ' ', $vars->{defines});
my $listed = output(@httpd, '-M');
like($listed, qr/^\s*mptcp_module \(shared\)$/m, 'httpd -M lists mptcp_module');
my $mpm = $ENV{MPTCP_MPM} // 'event';
like($listed, qr/^\s*mpm_${mpm}_module/m, "the MPM is $mpm");

# --- The running server has it too: only the module opens this port

my $reply = '';
if (my $socket = IO::Socket::INET->new(
        PeerAddr => "127.0.0.1:$vars->{v4_port}", Timeout => 10))
{
    print {$socket} "GET /index.html HTTP/1.0\r\n\r\n";
    local $/;
    $reply = <$socket> // '';
}
like($reply, qr{^HTTP/1\.1 200 }, 'an MPTCPListen port of the server answers');

# --- Nothing but the module's record is visible to the rest of httpd

# (sanitizers and gcov add theirs, and so does what musl begins each object with)
my @exported = grep { !/^__(?:odr_)?(?:asan|gcov)|^mangle_path$|^_(?:init|fini)$/ } map { (split)[-1] } split /\n/,
    output(qw(nm -D --defined-only), $module);
is_deeply(\@exported, ['mptcp_module'], 'the only exported symbol is mptcp_module');

done_testing();

# What a command prints, errors included.
sub output {
    my (@command) = @_;
    my $pid = open(my $from, '-|') // die "fork: $!";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        exec {$command[0]} @command or print "$command[0]: $!\n";
        exit 127;
    }
    local $/;
    return <$from> // '';
}
