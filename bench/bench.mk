# The benchmarks; see docs/benchmarks.md.
#
#   make bench              all parts, then the report into bench/results
#   make bench SHORT=1      a smoke test of all of it, into bench/results.short
#   make bench-paths        one part; also bench-cut, bench-reload, bench-cost,
#                           bench-proxy, bench-scale (or bench-status)
#   make bench-report       the report of what is there

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

# Given on the command line, these are for the scripts.
export SHORT CONGESTION

.PHONY: bench bench-status bench-report $(addprefix bench-,$(BENCH_PARTS))
