# The benchmarks; see docs/benchmarks.md.
#
#   make bench              all parts, then the report into bench/results
#   make bench SHORT=1      a smoke test of all of it, into bench/results.short
#   make bench-paths        one part; also bench-cut, bench-reload, bench-cost,
#                           bench-proxy, bench-scale (or bench-status)
#   make bench-report       the report of what is there
#
# In a guest in virtual time, see bench/guest:
#
#   make bench-wan          paths with delay, loss and gaps; hand-overs
#   make bench-wan KERNEL=newest WAN_NETWORKS='far unlike'    some of it
#   make bench-check        some figures, compared with bench/expected.txt
#   make bench-check UPDATE=1    makes what it finds the expected

BENCH_PARTS = paths cut reload cost proxy scale

# One after the other, whatever -j says: they measure.
bench: all
	set -e; for part in $(BENCH_PARTS); do perl bench/$$part.pl; done
	perl bench/report.pl

$(addprefix bench-,$(BENCH_PARTS)): bench-%: all
	perl bench/$*.pl

bench-status: bench-scale

bench-report:
	perl bench/report.pl

KERNEL_OF_BENCH = $(or $(KERNEL),6.12)

bench-wan:
	bench/guest $(KERNEL_OF_BENCH) wan tune roam

bench-check:
	bench/guest $(KERNEL_OF_BENCH) check
	$(if $(UPDATE),cp bench/results/check.txt bench/expected.txt)

# Given on the command line, these are for the scripts.
export SHORT CONGESTION UPDATE WAN_NETWORKS WAN_CONGESTION WAN_VIAS TUNE_NETWORKS TUNE_CONGESTION \
	ROAM_PARTS ROAM_SERVERS ROAM_CHANGES

.PHONY: bench bench-status bench-report bench-wan bench-check \
	$(addprefix bench-,$(BENCH_PARTS))
