# What a run under a sanitizer or valgrind is searched for: each one's reports
# are noticed, and what httpd says in its ordinary life is not.

use strict;
use warnings;

use File::Temp ();
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More;

MPTCP::Lab->enter;

# The first lines of reports, as httpd's log has had them.
my %report = (
    AddressSanitizer => <<'END',
==4041==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x602000000014
    #0 0x7f0a5c0d0b5c in count_accepted counters.c:304
    #1 0x55b06d0d4d60 in ap_run_pre_connection (/usr/sbin/apache2+0x3fd60)
END
    'a signal under AddressSanitizer' => <<'END',
AddressSanitizer:DEADLYSIGNAL
END
    LeakSanitizer => <<'END',
==4041==ERROR: LeakSanitizer: detected memory leaks
END
    UBSan => <<'END',
counters.c:304:9: runtime error: signed integer overflow: 2147483647 + 1
    #0 0x7f0a5c0d0b5c in count_accepted counters.c:304
END
    ThreadSanitizer => <<'END',
WARNING: ThreadSanitizer: data race (pid=415)
    #0 count_accepted counters.c:304 (mod_mptcp.so+0x76bfd)
SUMMARY: ThreadSanitizer: data race counters.c:304 in count_accepted
ThreadSanitizer: reported 1 warnings
END
    'ThreadSanitizer without its memory' => <<'END',
FATAL: ThreadSanitizer: unexpected memory mapping 0x55d3a40b4000-0x55d3a40b5000
END
    valgrind => <<'END',
==4041== Conditional jump or move depends on uninitialised value(s)
==4041==    at 0x7ABD: count_accepted (counters.c:304)
END
    'a crash' => <<'END',
[Wed Nov 25 12:36:28.311434 2026] [core:notice] [pid 411:tid 411] AH00051: child pid 413 exit signal Segmentation fault (11), possible coredump in /tmp
END
    'an abort' => <<'END',
[Wed Nov 25 12:36:28.311434 2026] [core:notice] [pid 411:tid 411] AH00052: child pid 413 exit signal Aborted (6)
END
);
for my $name (sort keys %report) {
    my @lines = split /\n/, $report{$name};
    is_deeply([MPTCP::Httpd::findings($report{$name})], \@lines, "$name, every line");
}

my $ordinary = <<'END';
[Wed Nov 25 12:36:28.311434 2026] [mpm_event:notice] [pid 411:tid 411] AH00489: Apache/2.4.71 (Debian) configured -- resuming normal operations
[Wed Nov 25 12:36:28.311434 2026] [core:notice] [pid 411:tid 411] AH00051: child pid 413 exit signal Killed (9)
[Wed Nov 25 12:36:28.311434 2026] [mptcp:warn] [pid 411:tid 411] (92)Protocol not available: MPTCP listeners serve by plain TCP: the kernel gives no MPTCP socket
AH00526: Syntax error on line 3 of conf/httpd.conf:
END
is_deeply([MPTCP::Httpd::findings($ordinary)], [], 'nothing in an ordinary log');

# A crash of httpd's own, as a child that is told to end has them.
my $own = <<'END';
crash: process 413, thread 413, signal 11
crash:   /tmp/httpd-Vs3JVF/calls.so(+0x11c6)
crash:   /lib/x86_64-linux-gnu/libc.so.6(+0x3c050)
crash:   /lib/x86_64-linux-gnu/libapr-1.so.0(apr_os_sock_get+0)
crash:   /usr/lib/apache2/modules/mod_mpm_event.so(+0x606c)
crash:   /usr/lib/apache2/modules/mod_mpm_event.so(+0x7507)
crash:   /usr/sbin/apache2(ap_run_mpm+0x50)
crash: end
END
my $noticed = <<'END';
[Wed Nov 25 12:36:28.311434 2026] [core:notice] [pid 411:tid 411] AH00052: child pid 413 exit signal Segmentation fault (11)
END
is_deeply([MPTCP::Httpd::findings($own . $ordinary . $noticed)], [],
    'a crash of httpd\'s own: nothing');
for my $case (
    ['in another thread',  sub { s/thread 413/thread 415/ }],
    ['of another process', sub { s/process 413, thread 413/process 412, thread 412/ }],
    ['in another function', sub { s/apr_os_sock_get/apr_pool_destroy/ }],
    ['in another library', sub { s/libapr-1/libaprutil-1/ }],
    ['called by a module', sub { s/mod_mpm_event/mod_mptcp/ }],
    ['cut off',            sub { s/^crash: end\n//m }],
    )
{
    my ($name, $change) = @$case;
    local $_ = $own;
    $change->();
    my @found = MPTCP::Httpd::findings($_ . $ordinary . $noticed);
    is("$found[-1]\n", $noticed, "    $name: it is found");
}
is_deeply([MPTCP::Httpd::findings("$own$noticed" . $noticed =~ s/413/414/r)],
    [split /\n/, $noticed =~ s/413/414/r], '    another child beside it is found');

# What a child that crashes says itself.
{
    local $ENV{MPTCP_HTTPD};
    my $httpd = MPTCP::Httpd->new(module => 0, conf => 'Listen 127.0.0.1:8000');
    $httpd->start or BAIL_OUT($httpd->error_log);
    my ($child) = split ' ', qx{ps -o pid= --ppid @{[$httpd->pid]}};
    kill 'SEGV', $child;
    MPTCP::Lab->wait_until(10, sub { $httpd->error_log =~ /exit signal Segm/ });
    my @found = MPTCP::Httpd::findings($httpd->error_log);
    is($found[0], "crash: process $child, thread $child, signal 11", 'a child that crashes');
    ok((grep {/^crash:   .*\(main\+/} @found), '    says by which calls');
    like($found[-1], qr/child pid $child exit signal Segm/, '    and httpd that it did');
    local $ENV{MPTCP_FINDINGS};
    $httpd->stop;
}

# They come to where t/TEST looks: from the log of a server, and from what a
# server says that only checks its configuration.
my $file = File::Temp->new;
{
    local $ENV{MPTCP_FINDINGS} = "$file";
    my $command = File::Temp->newdir(TMPDIR => 1);
    local $ENV{MPTCP_HTTPD} = "$command/httpd";
    open my $script, '>', $ENV{MPTCP_HTTPD} or die "$ENV{MPTCP_HTTPD}: $!";
    print {$script} "#!/bin/sh\necho '==1==ERROR: AddressSanitizer: '\"\$5\" >&2\n";
    close $script;
    chmod 0755, $ENV{MPTCP_HTTPD};
    my $httpd = MPTCP::Httpd->new(module => 0);
    $httpd->config_test;
    $httpd->start;
    $httpd->stop;
}
is_deeply([<$file>], [map {"findings.t: ==1==ERROR: AddressSanitizer: $_\n"}
    '-t', '-DFOREGROUND'], 'of a check and of a start, once each');
done_testing();
