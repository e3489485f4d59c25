# mod_mptcp is built by apxs, against the httpd that apxs belongs to.
#
#   make            .libs/mod_mptcp.so
#   make install    into httpd's module directory, below $(DESTDIR)
#   make check      the test suite, on each of $(MPMS)
#   make demo       two paths, measured and cut
#   make bench      measured beside other servers; see docs/benchmarks.md
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

LIBEXECDIR = $(shell $(APXS) -q LIBEXECDIR)

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

demo: all
	perl -It/lib tools/demo.pl
# Programs that call parts of the module with what a kernel might say; t/*.t
# runs them.  httpd's few functions in there are replaced in t/unit/httpd.c.
query = $(shell $(APXS) -q $(1))
t/unit/%: t/unit/%.c t/unit/httpd.c %.c $(HEADERS) Makefile
	$(CC) $(call query,CFLAGS) $(call query,EXTRA_CPPFLAGS) \
	    -I$(call query,INCLUDEDIR) -I$(call query,APR_INCLUDEDIR) \
	    -I$(call query,APU_INCLUDEDIR) $(CFLAGS) $(WARN) \
	    -o $@ $< t/unit/httpd.c $*.c \
	    $(shell $(call query,APR_CONFIG) --link-ld --libs)

clean:
	rm -rf .libs *.la *.lo *.o *.slo t/unit/connection

.PHONY: all install check demo clean

include bench/bench.mk
