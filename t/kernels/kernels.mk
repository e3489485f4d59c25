# The suite on Debian's own kernels, in emulation; see t/kernels/run.
#
#   make check-kernels                         all of it; takes hours
#   make check-kernels SHORT=1                 what a release runs
#   make check-kernels KERNEL=6.12 TESTS=t/joins.t

check-kernels:
	t/kernels/run

# Given on the command line, these are for the script.
export KERNEL TESTS SHORT MPMS

.PHONY: check-kernels
