# mod_mptcp is built by apxs, against the httpd that apxs belongs to.
#
#   make            .libs/mod_mptcp.so
#   make install    into httpd's module directory, below $(DESTDIR)
#   make check      the test suite, on each of $(MPMS)
#   make check-asan, check-valgrind   the same under these, on $(MPTCP_MPM)
#   make lint       what compilers and checkers find without running it
#   make fuzz       the parsers, on $(FUZZ_RUNS) inputs each
#   make demo       two paths, measured and cut
#   make clean

APXS    ?= apxs
CC      ?= cc
WARN    ?= -Wall -Wextra
CFLAGS  ?= -g -O2
LDFLAGS ?=

MODULE  = .libs/mod_mptcp.so
SOURCES = mod_mptcp.c listen_directives.c listen_hooks.c listen_change.c \
          proxy_workers.c proxy_shared.c proxy_sockets.c import_redirect.c \
          path_manager.c pm_reconcile.c pm_state.c netlink.c \
          start_report.c connection.c variables.c backend.c
HEADERS = mod_mptcp.h

PKG_CONFIG  ?= pkg-config
# recursive, so that make clean needs no library
LIBNL_CFLAGS = $(shell $(PKG_CONFIG) --cflags libnl-genl-3.0)
LIBNL_LIBS   = $(shell $(PKG_CONFIG) --libs libnl-genl-3.0)

query = $(shell $(APXS) -q $(1))

LIBEXECDIR = $(call query,LIBEXECDIR)

# apxs takes each word for the compiler or linker behind a -Wc, or -Wl,.
# httpd looks up the module record alone, so nothing else is exported.
to_cc = $(patsubst %,-Wc$(comma)%,$(1))
comma = ,

all: $(MODULE)

$(MODULE): $(SOURCES) $(HEADERS) Makefile
	$(APXS) -S CC="$(CC)" -c -o mod_mptcp.la \
	    $(call to_cc,$(CFLAGS) $(WARN) -fvisibility=hidden \
	        $(LIBNL_CFLAGS)) \
	    $(if $(LDFLAGS),$(patsubst %,-Wl$(comma)%,$(LDFLAGS))) \
	    $(SOURCES) $(LIBNL_LIBS)

install: $(MODULE)
	install -d $(DESTDIR)$(LIBEXECDIR)
	install -m 644 $(MODULE) $(DESTDIR)$(LIBEXECDIR)/

# The suite enters namespaces of its own; see t/TEST.  It stops at the first MPM
# that fails, so that the closing lines are never those of another.
MPMS  ?= event worker prefork
TESTS ?=

check: all
	set -e; for mpm in $(MPMS); do MPTCP_MPM=$$mpm t/TEST $(TESTS); done

# The suite with a module that has the sanitizers in it, built elsewhere; and
# that of httpd under valgrind, which is slow, so by default on those files
# that reach most of it.  One MPM unless told.
SANITIZE = -fsanitize=address,undefined -fno-omit-frame-pointer
VALGRIND_TESTS ?= t/directives.t t/restarts.t t/listen.t t/proxy_workers.t

build/%/Makefile: Makefile
	mkdir -p build/$*
	for file in $(SOURCES) $(HEADERS) Makefile; do \
	    ln -sf ../../$$file build/$*/ || exit; done

check-asan: build/asan/Makefile
	$(MAKE) -C build/asan CC="gcc $(SANITIZE)" all
	MPTCP_SO=$(CURDIR)/build/asan/$(MODULE) \
	    MPTCP_HTTPD=$(CURDIR)/t/under/asan t/TEST $(TESTS)

check-valgrind: all
	MPTCP_HTTPD=$(CURDIR)/t/under/valgrind \
	    t/TEST $(or $(TESTS),$(VALGRIND_TESTS))

# What compilers and checkers find without running it.  Each configuration of
# the checkers says what is left out, and why: .clang-tidy, cppcheck-suppress.
C_FILES   = $(SOURCES) $(wildcard fuzz/*.c t/unit/*.c t/fault/*.c)
LINT_FLAGS = $(call query,CFLAGS) $(call query,EXTRA_CPPFLAGS) -I. \
    -I$(call query,INCLUDEDIR) -I$(call query,APR_INCLUDEDIR) \
    -I$(call query,APU_INCLUDEDIR) $(LIBNL_CFLAGS) $(WARN)

lint:
	for cc in gcc clang; do for std in gnu99 gnu17; do \
	    for file in $(C_FILES); do \
	        $$cc -std=$$std $(LINT_FLAGS) -Werror -fsyntax-only $$file || \
	            exit; done; done; done
	for file in $(SOURCES); do gcc -fanalyzer $(LINT_FLAGS) -Werror \
	    -c -o /dev/null $$file || exit; done
	cppcheck --quiet --std=c99 --error-exitcode=1 --inline-suppr \
	    --enable=warning,performance,portability \
	    '-DElfW(type)=Elf64_##type' $(C_FILES)
	clang-tidy --quiet $(SOURCES) -- -std=gnu99 $(LINT_FLAGS)

# Harnesses of fuzz/ by libFuzzer, so many inputs each; t/fuzz.t runs the same
# for a second, by fuzz/run.c.
FUZZ      = elf netlink endpoint listen
FUZZ_RUNS ?= 1000000
FUZZ_LIBS = $(LIBNL_LIBS) $(shell $(call query,APR_CONFIG) --link-ld --libs)
FUZZ_CC   = $(CC) -g -O1 $(SANITIZE) -fno-sanitize-recover=undefined \
    $(call query,EXTRA_CPPFLAGS) -I. -I$(call query,INCLUDEDIR) \
    -I$(call query,APR_INCLUDEDIR) -I$(call query,APU_INCLUDEDIR) \
    $(LIBNL_CFLAGS) $(WARN)

build/fuzz/%: fuzz/%.c fuzz/fuzz.h fuzz/run.c fuzz/httpd.c $(SOURCES) $(HEADERS)
	mkdir -p build/fuzz
	$(FUZZ_CC) -o $@ $< fuzz/run.c $(if $(findstring netlink,$@)$(findstring \
	    elf,$@),,fuzz/httpd.c) $(FUZZ_LIBS)

build/libfuzzer/%: fuzz/%.c fuzz/fuzz.h fuzz/httpd.c $(SOURCES) $(HEADERS)
	mkdir -p build/libfuzzer
	$(FUZZ_CC) -fsanitize=fuzzer -o $@ $< $(if $(findstring \
	    netlink,$@)$(findstring elf,$@),,fuzz/httpd.c) $(FUZZ_LIBS)

fuzz: CC = clang
fuzz: $(FUZZ:%=build/libfuzzer/%)
	for name in $(FUZZ); do \
	    mkdir -p build/corpus/$$name; \
	    build/libfuzzer/$$name -runs=$(FUZZ_RUNS) -max_len=4096 \
	        -timeout=10 -print_final_stats=1 -verbosity=1 \
	        build/corpus/$$name fuzz/corpus/$$name || exit; done

demo: all
	perl -It/lib tools/demo.pl
# Programs that call parts of the module with what a kernel might say; t/*.t
# runs them.  httpd's few functions in there are replaced in t/unit/httpd.c.
t/unit/%: t/unit/%.c t/unit/httpd.c %.c $(HEADERS) Makefile
	$(CC) $(call query,CFLAGS) $(call query,EXTRA_CPPFLAGS) \
	    -I$(call query,INCLUDEDIR) -I$(call query,APR_INCLUDEDIR) \
	    -I$(call query,APU_INCLUDEDIR) $(CFLAGS) $(WARN) \
	    -o $@ $< t/unit/httpd.c $*.c \
	    $(shell $(call query,APR_CONFIG) --link-ld --libs)

clean:
	rm -rf build .libs *.la *.lo *.o *.slo t/unit/connection

.PHONY: all install check check-asan check-valgrind lint \
    fuzz demo clean
