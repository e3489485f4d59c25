# What a run under a sanitizer or valgrind is searched for: each one's reports
# are noticed, and what httpd says in its ordinary life is not.

use strict;
use warnings;

use File::Temp ();
use MPTCP::Httpd;
use Test::More;

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
