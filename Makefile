# mod_mptcp is built for the httpd that apxs belongs to, with what apxs says of
# its compiler's flags and headers; one object a source. make help lists what
# there is to make.

APXS    ?= apxs
CC      ?= cc
# httpd's hooks and directives have parameters that not every one of them uses
WARN    ?= -Wall -Wextra -Wno-unused-parameter
CPPFLAGS ?=
CFLAGS  ?= -g -O2
LDFLAGS ?=

# Where the objects and the module go: the sanitizers and coverage have others.
O       = build/module
MODULE  = .libs/mod_mptcp.so

ROOMS   = kernel common listen proxy paths variables status
SOURCES = mod_mptcp.c proxy_hooks.c $(sort $(wildcard $(ROOMS:%=%/*.c)))
OBJECTS = $(SOURCES:%.c=$(O)/%.o)
# the status page's, as lists of bytes to be included
ASSETS  = status/page/status.css.inc status/page/status.js.inc

PKG_CONFIG  ?= pkg-config
LIBS_WANTED = libnl-genl-3.0 jansson

# The output of a command that is run once, when it is first needed, and that may be
# empty: make clean needs neither apxs nor a library.
once  = $(if $(filter undefined,$(origin run_$(1))),$(eval run_$(1) := \
    $(shell $(2))))$(run_$(1))
query = $(call once,$(1),$(APXS) -q $(1))

LIBS_CFLAGS = $(call once,libs_cflags,$(PKG_CONFIG) --cflags $(LIBS_WANTED))
LIBS_LIBS   = $(call once,libs_libs,$(PKG_CONFIG) --libs $(LIBS_WANTED))
LIBEXECDIR  = $(call query,LIBEXECDIR)

# Counters have eight bytes, for which some 32-bit processors need a library;
# dladdr() was in one before glibc 2.34.
ATOMIC_PROGRAM = 'long long n; int main(void) \
    { __atomic_store_n(&n, 1, 0); return (int)__atomic_fetch_add(&n, 1, 0); }'
ATOMIC_TRY  = echo $(ATOMIC_PROGRAM) | $(CC) $(CFLAGS) -x c -o /dev/null - \
    2>/dev/null || echo -latomic
SYSTEM_LIBS = -ldl $(call once,atomic,$(ATOMIC_TRY))

HTTPD_CFLAGS = $(call query,CFLAGS) $(call query,EXTRA_CFLAGS) \
    $(call query,EXTRA_CPPFLAGS) $(call query,NOTEST_CPPFLAGS) \
    -I$(call query,INCLUDEDIR) -I$(call query,APR_INCLUDEDIR) \
    -I$(call query,APU_INCLUDEDIR)

all: $(MODULE)

help:
	@echo 'make            .libs/mod_mptcp.so'
	@echo "make install    into httpd's module directory, below \$$(DESTDIR)"
	@echo 'make uninstall  and out of it again'
	@echo 'make check      the test suite, on each of $$(MPMS); TESTS=t/joins.t for one'
	@echo 'make check-asan, check-tsan, check-valgrind   the same under these'
	@echo "make check-kernels  the same on Debian's kernels, in emulation; SHORT=1"
	@echo 'make lint       what compilers and checkers find without running it'
	@echo 'make layout     the rooms, and who calls whom'
	@echo 'make fuzz       the parsers, on $$(FUZZ_RUNS) inputs each'
	@echo 'make coverage   the lines that the suite reaches'
	@echo 'make soak       load and reloads for $$(SOAK_MINUTES) minutes'
	@echo 'make demo       two paths, measured and cut'
	@echo 'make bench      measured beside other servers; see docs/benchmarks.md'
	@echo 'make dist       dist/mod_mptcp-$$(VERSION).tar.gz, of what git tracks'
	@echo 'make distcheck  that, and builds, installs and tests what is in it'
	@echo 'make deb        the Debian package, into dist/ (tools/deps deb first)'
	@echo 'make clean'

# httpd looks up the module record alone, so nothing else is exported.
$(O)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(HTTPD_CFLAGS) $(LIBS_CFLAGS) -I. $(CPPFLAGS) $(CFLAGS) $(WARN) \
	    -fPIC -fvisibility=hidden -MMD -MP -c -o $@ $<

$(MODULE): $(OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -shared -o $@ $(OBJECTS) $(LIBS_LIBS) \
	    $(SYSTEM_LIBS)

-include $(OBJECTS:.o=.d)

$(O)/status/html.o: $(ASSETS)

status/page/%.inc: status/page/%
	od -An -v -tx1 $< | sed 's/ \(..\)/0x\1,/g' > $@

install: $(MODULE)
	install -d $(DESTDIR)$(LIBEXECDIR)
	install -m 755 $(MODULE) $(DESTDIR)$(LIBEXECDIR)/
	@echo
	@echo "Installed. In httpd's configuration write, behind its other LoadModule lines:"
	@echo
	@echo '  LoadModule mptcp_module $(LIBEXECDIR)/mod_mptcp.so'
	@echo '  <IfModule mptcp_module>'
	@echo '      MPTCPListenDefault On'
	@echo '  </IfModule>'
	@echo
	@echo 'and restart it. What else there is to write: docs/recipes.md, conf/examples.'

uninstall:
	rm -f $(DESTDIR)$(LIBEXECDIR)/mod_mptcp.so
	@echo
	@echo 'Removed. Take its LoadModule line out before httpd is started again; lines in'
	@echo '<IfModule mptcp_module> may stay. A reload is not enough: restart httpd.'

# The suite enters namespaces of its own; see t/TEST.  It stops at the first MPM
# that fails, so that the closing lines are never those of another.  What has no
# part of an MPM in it is run with the first one alone.
MPMS  ?= event worker prefork
TESTS ?=
ONCE  = $(addprefix t/,bench.t connection.t directives.t docs.t dump.t \
    faults_follow.t faults_netlink.t findings.t fuzz.t import_redirect.t layout.t \
    listen_words.t monitoring.t path_manager_conf.t path_manager_kernel.t \
    rate_picture.t sandbox.t)

check: all
	set -e; tests=; for mpm in $(MPMS); do \
	    MPTCP_MPM=$$mpm t/TEST $(or $(TESTS),$$tests); \
	    tests='$(filter-out $(ONCE),$(wildcard t/*.t))'; done

# The suite with a module that has sanitizers in it, built elsewhere, or under
# valgrind. What it runs in is httpd as it is; t/under says how.
SANITIZE = -fsanitize=address,undefined -fno-omit-frame-pointer
elsewhere = $(MAKE) O=build/$(1) MODULE=build/$(1)/mod_mptcp.so

check-asan:
	$(call elsewhere,asan) CC="gcc $(SANITIZE)" all
	$(call check_under,asan,$(TESTS))

check-tsan:
	$(call elsewhere,tsan) CC="gcc -fsanitize=thread" all
	gcc -g -O2 $(WARN) -fsanitize=thread -fPIC -shared \
	    $(call query,EXTRA_CPPFLAGS) -I$(call query,APR_INCLUDEDIR) \
	    -o build/tsan/atomics.so t/under/atomics.c
	$(call check_under,tsan,$(TESTS))

# What does not run under valgrind, as it is some twenty times slower:
#   listen_change.t, soak.t   wrk and h2load expect answers within seconds, of a
#                         server that is reloaded all the time; threads.t and
#                         status_counters.t have load, too
#   listen_many.t, listen_descriptors.t   measure time and memory
#   proxy_concurrency.t   1,000 threads in one child, valgrind's limit is 500
#   restarts.t            wants nothing bad in the log, where the worker MPM has
#                         AH00274, apr_proc_mutex_unlock failed, at reloads; so
#                         it has without mod_mptcp (httpd 2.4.71)
# and there is nothing to be seen in those that start no httpd of their own:
NOT_UNDER_VALGRIND = $(addprefix t/,listen_change.t soak.t \
    listen_many.t listen_descriptors.t \
    proxy_concurrency.t restarts.t \
    connection.t docs.t findings.t fuzz.t rate_picture.t sandbox.t)
VALGRIND_TESTS ?= $(filter-out $(NOT_UNDER_VALGRIND),$(wildcard t/*.t))

check-valgrind: all
	$(call check_under,valgrind,$(or $(TESTS),$(VALGRIND_TESTS)))

# With the module of build/NAME, if there is one.
check_under = set -e; \
    so=$(CURDIR)/build/$(1)/mod_mptcp.so; \
    [ -e $$so ] || so=$(CURDIR)/$(MODULE); \
    for mpm in $(MPMS); do MPTCP_MPM=$$mpm MPTCP_SO=$$so \
        MPTCP_HTTPD=$(CURDIR)/t/under/$(1) t/TEST $(2); done

# The lines that the suite reaches: in httpd, and in the programs of
# t/import_redirect.t and t/fuzz.t, which build them with $(CC).

coverage:
	$(call elsewhere,coverage) CFLAGS="-g -O0 --coverage \
	    -fprofile-update=atomic" LDFLAGS= CC="gcc --coverage" all
	find build/coverage -name '*.gcda' -delete
	mkdir -p build/coverage/programs
	chmod -R a+rwX build/coverage
	-for mpm in $(MPMS); do MPTCP_MPM=$$mpm \
	    MPTCP_SO=$(CURDIR)/build/coverage/mod_mptcp.so \
	    MPTCP_HTTPD=$(CURDIR)/t/under/coverage t/TEST $(TESTS); done
	rm -rf build/fuzz
	-for test in t/import_redirect.t t/fuzz.t; do FUZZ_O=-O0 CC="gcc --coverage -dumpdir \
	    $(CURDIR)/build/coverage/programs/" perl -It/lib $$test; done
	rm -rf build/fuzz
	tools/coverage build/coverage

# t/soak.t for so long, on one MPM; 300 reloads take six minutes.
SOAK_MINUTES ?= 3

soak: all
	SOAK_SECONDS=$$(($(SOAK_MINUTES) * 60)) perl -It/lib t/soak.t

# What compilers and checkers find without running it.  Each configuration of
# the checkers says what is left out, and why: .clang-tidy, cppcheck-suppress.
C_FILES   = $(SOURCES) $(wildcard t/fuzz/*.c t/unit/*.c t/fault/*.c)
LINT_FLAGS = $(HTTPD_CFLAGS) $(LIBS_CFLAGS) -I. $(WARN)

lint: $(ASSETS) layout
	for cc in gcc clang; do for std in gnu99 gnu17; do \
	    for file in $(C_FILES); do \
	        $$cc -std=$$std $(LINT_FLAGS) -Werror -fsyntax-only $$file || \
	            exit; done; done; done
	for file in $(SOURCES); do gcc -fanalyzer $(LINT_FLAGS) -Werror \
	    -c -o /dev/null $$file || exit; done
	cppcheck --quiet --std=c99 --error-exitcode=1 --inline-suppr \
	    --enable=warning,performance,portability \
	    '-DElfW(type)=Elf64_##type' $(C_FILES)
	@mkdir -p build
# which counts on standard error what it has found in httpd's headers and left out
	clang-tidy --quiet $(SOURCES) -- -std=gnu99 $(LINT_FLAGS) \
	    2>build/clang-tidy.log || { cat build/clang-tidy.log; exit 1; }

# Who calls whom, by objects in which nothing is inlined.
layout:
	@$(MAKE) -s O=build/layout CFLAGS=-O0 objects
	tools/check-layout build/layout

objects: $(OBJECTS)

# Harnesses of t/fuzz by libFuzzer, so many inputs each; t/fuzz.t runs the same
# for a second, by t/fuzz/run.c.
FUZZ      = elf netlink diag endpoint listen
FUZZ_RUNS ?= 1000000
FUZZ_O    ?= -O1
FUZZ_CC   = $(CC) $(SANITIZE) -fno-sanitize-recover=undefined $(LINT_FLAGS) \
    -g $(FUZZ_O)
FUZZ_LIBS = $(LIBS_LIBS) $(SYSTEM_LIBS) $(shell $(call query,APR_CONFIG) --link-ld --libs)
FUZZ_PARTS = $(wildcard t/fuzz/*.h) t/fuzz/run.c t/fuzz/httpd.c $(SOURCES) \
    mod_mptcp.h $(wildcard $(ROOMS:%=%/*.h))

build/fuzz/%: t/fuzz/%.c $(FUZZ_PARTS)
	mkdir -p build/fuzz
	$(FUZZ_CC) -o $@ $< t/fuzz/run.c t/fuzz/httpd.c $(FUZZ_LIBS)

build/libfuzzer/%: t/fuzz/%.c $(FUZZ_PARTS)
	mkdir -p build/libfuzzer
	$(FUZZ_CC) -fsanitize=fuzzer -o $@ $< t/fuzz/httpd.c $(FUZZ_LIBS)

fuzz: CC = clang
fuzz: $(FUZZ:%=build/libfuzzer/%)
	for name in $(FUZZ); do \
	    mkdir -p build/corpus/$$name; \
	    build/libfuzzer/$$name -runs=$(FUZZ_RUNS) -max_len=4096 \
	        -timeout=10 -artifact_prefix=build/ -verbosity=1 \
	        build/corpus/$$name t/fuzz/corpus/$$name || exit; done

demo: all
	perl -It/lib tools/demo.pl

# Programs that call parts of the module with what a kernel might say; t/*.t
# runs them.  httpd's few functions in there are replaced in t/unit/httpd.c.
UNIT_connection = kernel/connection.c variables/table.c

t/unit/%: t/unit/%.c t/unit/httpd.c $(SOURCES) Makefile
	$(CC) $(HTTPD_CFLAGS) $(LIBS_CFLAGS) -I. $(CFLAGS) $(WARN) \
	    -o $@ $< t/unit/httpd.c $(UNIT_$*) \
	    $(shell $(call query,APR_CONFIG) --link-ld --libs)

VERSION = $(shell sed -n 's/^.define MPTCP_VERSION "\(.*\)"$$/\1/p' mod_mptcp.h)
TARBALL = dist/mod_mptcp-$(VERSION).tar.gz

dist:
	tools/dist $(TARBALL)

# What a tarball must be good for; all tests are run by make check.
DISTCHECK_TESTS ?= t/00-load.t t/basic.t t/examples.t

distcheck: dist
	tools/distcheck $(TARBALL) $(DISTCHECK_TESTS)

deb: dist
	packaging/make-deb $(TARBALL) dist

clean:
	rm -rf build .libs $(ASSETS) t/unit/connection

.PHONY: all help layout objects install uninstall check check-asan check-tsan check-valgrind lint fuzz \
    soak coverage demo dist distcheck deb clean

include bench/bench.mk
include t/kernels/kernels.mk
