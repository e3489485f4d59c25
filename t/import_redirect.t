# import_redirect.c by itself: a small program linked with it redirects an
# import of shared objects as linkers make them (lazy and immediate binding,
# with and without RELRO, by PLT and without), and puts it back.
#
# For another machine or C library (t/machines/elf): CC, APR_CFLAGS and APR_LIBS
# build for it, and RUN is a command that runs what was built.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp ();
use Test::More;

my $top = dirname(dirname(abs_path(__FILE__)));
my $dir = File::Temp->newdir(TMPDIR => 1);
my ($apxs) = $ENV{APXS} || grep { -x } map { ("$_/apxs", "$_/apxs2") } split /:/, $ENV{PATH};
my $cc = $ENV{CC} || 'cc';
my @include = map { "-I$_" } split ' ', qx{$apxs -q INCLUDEDIR 2>/dev/null};
my @apr_cflags = split ' ', $ENV{APR_CFLAGS} // qx{apr-1-config --includes --cppflags};
my @apr_libs   = split ' ', $ENV{APR_LIBS} // qx{apr-1-config --link-ld --libs};
my $run        = $ENV{RUN} // '';

# The function that is imported, and an object that imports it; in another way
# too: by its address.
write_file('answer.c', <<'END');
int answer(int n);
int answer(int n)
{
    return n + 1;
}
END
write_file('caller.c', <<'END');
extern int answer(int n);
int call(int n);
void *address(void);
const char *inside = "inside";
int call(int n)
{
    return answer(n);
}
END
write_file('pointer.c', <<'END');
extern int answer(int n);
int call(int n);
const char *inside = "inside";
int call(int n)
{
    int (*volatile function)(int) = answer;
    return function(n);
}
END
write_file('none.c', <<'END');
int call(int n);
const char *inside = "inside";
int call(int n)
{
    return n;
}
END

# driver one|all|none 0|1 first.so [second.so]: redirects the first's import, or
# all, before or after it has been called; or calls it and does no more
write_file('driver.c', <<'END');
#include "common/common.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef int function(int);
extern int answer(int n);

static int replacement(int n)
{
    return answer(n) + 1000;
}

static function *load(const char *name, void **inside)
{
    void *object = dlopen(name, RTLD_LAZY | RTLD_LOCAL);

    if (!object) {
        printf("%s\n", dlerror());
        exit(1);
    }
    *inside = *(void **)dlsym(object, "inside");
    return (function *)dlsym(object, "call");
}

/* Stands before the C library's: a system that protects pages for good. */
int mprotect(void *start, size_t size, int protection)
{
    if (getenv("REFUSE")) {
        errno = EACCES;
        return -1;
    }
    return (int)syscall(SYS_mprotect, start, size, protection);
}

/* How many pages of shared objects can be written to. */
static int writable_pages(void)
{
    char line[512], mode[8];
    unsigned long low, high;
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned long pages = 0;

    while (fgets(line, sizeof(line), maps)) {
        if (strstr(line, ".so") && sscanf(line, "%lx-%lx %7s", &low, &high, mode) == 3
            && mode[1] == 'w') {
            pages += (high - low) / 4096;
        }
    }
    fclose(maps);
    return (int)pages;
}

int main(int argc, char **argv)
{
    apr_pool_t *p, *sub;
    const char *reason = "none";
    void *inside[2];
    function *call[2];
    apr_status_t rv;
    int i, objects = argc - 3, first = atoi(argv[2]), before;

    apr_initialize();
    apr_pool_create(&p, NULL);
    for (i = 0; i < objects; i++) {
        call[i] = load(argv[3 + i], &inside[i]);
        if (first) {                    /* so that lazy slots are bound */
            call[i](0);
        }
    }
    if (strcmp(argv[1], "none") == 0) {
        printf("%d\n", call[0](1));
        return 0;
    }
    before = writable_pages();
    for (i = 0; i < 2; i++) {           /* as if restarted once */
        int n;

        apr_pool_create(&sub, p);
        rv = mptcp_import_redirect(strcmp(argv[1], "all") ? inside[0] : NULL,
                                   "answer", (void *)replacement, sub,
                                   &reason);
        if (rv != APR_SUCCESS) {
            printf("refused %d: %s, %d\n", rv, reason, call[0](1));
            return 0;
        }
        printf("redirected");
        for (n = 0; n < objects; n++) {
            printf(" %d", call[n](1));
        }
        printf(" own %d pages %d", answer(1), writable_pages() - before);
        apr_pool_destroy(sub);
        printf(" back");
        for (n = 0; n < objects; n++) {
            printf(" %d", call[n](1));
        }
        printf(" pages %d\n", writable_pages() - before);
    }
    return 0;
}
END

compile(qw(-shared -fPIC -o libanswer.so answer.c)) or BAIL_OUT('no compiler');
compile(@include, @apr_cflags, "-I$top", '-o', 'driver', 'driver.c', "$top/common/import_redirect.c",
    '-L.', '-lanswer', "-Wl,-rpath,$dir", @apr_libs, '-ldl')
    or BAIL_OUT('the driver does not compile');

my %linked = (
    'lazy binding'                => ['-Wl,-z,lazy'],
    'lazy binding, no RELRO'      => ['-Wl,-z,lazy', '-Wl,-z,norelro'],
    'immediate binding'           => ['-Wl,-z,now', '-Wl,-z,relro'],
    'immediate binding, no RELRO' => ['-Wl,-z,now', '-Wl,-z,norelro'],
    'no PLT'                      => ['-fno-plt', '-Wl,-z,relro'],
    'no PLT, no RELRO'            => ['-fno-plt', '-Wl,-z,norelro'],
    'the old hash table'          => ['-Wl,--hash-style=sysv'],
    'packed relative relocations' => ['-Wl,-z,pack-relative-relocs'],
    'optimised for size'          => ['-Os', '-s'],
);
my $good = "redirected 1002 own 2 pages 0 back 2 pages 0\n" x 2;
for my $how (sort keys %linked) {
    compile('-shared', '-fPIC', @{ $linked{$how} }, qw(-o caller.so caller.c -L. -lanswer));
    # which musl loads since 1.2.4, and crashes on before
    if ($how =~ /packed/ && driver('none', 0, 'caller.so') ne "2\n") {
        note "$how: nothing for this C library";
        next;
    }
    for my $first (0, 1) {
        is(driver('one', $first, 'caller.so'), $good,
            "$how, " . ($first ? 'called before' : 'not called before'));
    }
}
# what is there is what the flags promise
compile(@{ $linked{'lazy binding'} }, qw(-shared -fPIC -o caller.so caller.c -L. -lanswer));
like(relocations('caller.so'), qr/JU?MP_SLOT.*\banswer\b/, 'a call by the PLT is a JUMP_SLOT');
compile(qw(-shared -fPIC -fno-plt -o noplt.so caller.c -L. -lanswer));
compile(qw(-shared -fPIC -o pointer.so pointer.c -L. -lanswer));
like(relocations('pointer.so'), qr/GLOB_DAT.*\banswer\b|R_RISCV_64.*\banswer\b/,
    'the address of a function is a GLOB_DAT');
is(driver('one', 0, 'pointer.so'), $good, 'a call by it');

# --- One object of several, and all of them

is(driver('one', 0, 'caller.so', 'noplt.so'),
    "redirected 1002 2 own 2 pages 0 back 2 2 pages 0\n" x 2,
    'one object of two: the other one, and the program, keep theirs');
is(driver('all', 0, 'caller.so', 'noplt.so'),
    "redirected 1002 1002 own 2 pages 0 back 2 2 pages 0\n" x 2,
    'all objects: but not the one that the replacement is in');

# --- What cannot be done is said

compile(qw(-shared -fPIC -o none.so none.c));
like(driver('one', 0, 'none.so'), qr/^refused \d+: the object does not import the function, 1$/,
    'an object without the import');
like(driver('all', 0, 'none.so'), qr/^refused \d+: no loaded object imports the function, 1$/,
    'no object with the import');

# (RISC-V's linker leaves all slots writable, whatever it is told.)
compile(@{ $linked{'immediate binding'} },
    qw(-shared -fPIC -o pointer.so pointer.c -L. -lanswer));
{
    local $ENV{REFUSE} = 1;
    is(driver('one', 0, 'pointer.so'),
        is_relro('pointer.so') ? "refused 13: mprotect() was refused, 2\n" : $good,
        'a page that cannot be opened: the call is as it was');
}

# --- Each CPU has numbers of its own for the two relocations. (As the
# preprocessor sees the source when it is told that it is another CPU's.)

my %number = (__x86_64__ => '7 6', __aarch64__ => '1026 1025', __i386__ => '7 6',
    __arm__ => '22 21', __s390x__ => '11 10', __riscv => '5 2');
for my $cpu (sort keys %number) {
    write_file('numbers.c', join "\n", '#include <elf.h>', (map {"#undef $_"} keys %number),
        "#define $cpu 1", '#undef __riscv_xlen', '#define __riscv_xlen 64', '#include "cpu.h"', "numbers RELOC_JUMP_SLOT RELOC_GLOB_DAT\n");
    my $output = qx{cd $dir && sed -n '/^#if defined/,/^#endif/p' $top/common/import_redirect.c > cpu.h
        $cc -E -P numbers.c};
    like($output, qr/^numbers $number{$cpu}$/m, "the relocations of $cpu");
}

done_testing();

sub driver {
    my (@arguments) = @_;
    open my $from, '-|', "cd $dir && $run ./driver @arguments 2>&1" or die "driver: $!";
    local $/;
    my $output = <$from> // '';
    close $from or return "status $?: $output";
    return $output;
}

# Is the import's slot among what is read-only after relocation?
sub is_relro {
    my ($file) = @_;
    my ($slot) = relocations($file) =~ /^([0-9a-f]+) .*\banswer\b/m;
    my ($start, $size) = qx{readelf -lW $dir/$file}
        =~ /GNU_RELRO\s+\S+ (0x\w+) \S+ \S+ (0x\w+)/;
    $_ = hex for $slot, $start, $size;
    return $slot >= $start && $slot < $start + $size;
}

sub relocations { my ($file) = @_; return scalar qx{readelf -rW $dir/$file} }

sub compile {
    my (@arguments) = @_;
    my $quoted = join ' ', map {"'$_'"} @arguments;
    my $output = qx{cd $dir && $cc -std=gnu99 -g -O2 -Wall -Wextra -Wno-unused-parameter $quoted 2>&1};
    # some linkers know no -z pack-relative-relocs
    return 1 if $? == 0 && $output =~ /\A(?:\S+: warning: -z \S+ ignored\n)?\z/;
    diag("$cc @arguments:\n$output");
    return 0;
}

sub write_file {
    my ($name, $contents) = @_;
    open my $file, '>', "$dir/$name" or die "$name: $!";
    print {$file} $contents;
    close $file or die "$name: $!";
    return;
}
