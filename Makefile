# mod_mptcp is built by apxs, against the httpd that apxs belongs to.
#
#   make            .libs/mod_mptcp.so
#   make install    into httpd's module directory, below $(DESTDIR)
#   make check      the test suite, on each of $(MPMS)
#   make demo       two paths, measured and cut
#   make bench      measured beside other servers; see docs/benchmarks.md
#   make dist       dist/mod_mptcp-$(VERSION).tar.gz, of what git tracks
#   make distcheck  that, and builds, installs and tests what is in it
#   make deb        the Debian package, into dist/ (tools/deps deb first)
#   make clean

APXS    ?= apxs
CC      ?= cc
WARN    ?= -Wall -Wextra
CPPFLAGS ?=
CFLAGS  ?= -g -O2
LDFLAGS ?=

MODULE  = .libs/mod_mptcp.so
SOURCES = mod_mptcp.c listen_directives.c listen_hooks.c listen_change.c \
          proxy_workers.c proxy_shared.c proxy_sockets.c import_redirect.c \
          path_manager.c pm_reconcile.c pm_state.c netlink.c \
          start_report.c connection.c variables.c backend.c counters.c \
          diag.c status.c status_html.c status_json.c status_openmetrics.c
HEADERS = mod_mptcp.h status.h
# the status page's, as lists of bytes to be included
ASSETS  = page/status.css.inc page/status.js.inc

PKG_CONFIG  ?= pkg-config
# recursive, so that make clean needs no library
LIBS_WANTED = libnl-genl-3.0 jansson
LIBS_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(LIBS_WANTED))
LIBS_LIBS   = $(shell $(PKG_CONFIG) --libs $(LIBS_WANTED))

LIBEXECDIR = $(shell $(APXS) -q LIBEXECDIR)

# apxs takes each word for the compiler or linker behind a -Wc, or -Wl,.
# httpd looks up the module record alone, so nothing else is exported.
to_cc = $(patsubst %,-Wc$(comma)%,$(1))
comma = ,

all: $(MODULE)

$(MODULE): $(SOURCES) $(HEADERS) $(ASSETS) Makefile
	$(APXS) -S CC="$(CC)" -c -o mod_mptcp.la \
	    $(call to_cc,$(CPPFLAGS) $(CFLAGS) $(WARN) -fvisibility=hidden \
	        $(LIBS_CFLAGS)) \
	    $(if $(LDFLAGS),$(patsubst %,-Wl$(comma)%,$(LDFLAGS))) \
	    $(SOURCES) $(LIBS_LIBS)

page/%.inc: page/%
	od -An -v -tx1 $< | sed 's/ \(..\)/0x\1,/g' > $@

install: $(MODULE)
	install -d $(DESTDIR)$(LIBEXECDIR)
	install -m 755 $(MODULE) $(DESTDIR)$(LIBEXECDIR)/

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
	rm -rf .libs *.la *.lo *.o *.slo $(ASSETS) t/unit/connection

.PHONY: all install check demo dist distcheck deb clean

include bench/bench.mk
