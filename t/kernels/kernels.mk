# The suite on Debian's own kernels, in emulation; see t/kernels/run.
#
#   make check-kernels                         all of it; takes hours
#   make check-kernels SHORT=1                 what a release runs
#   make check-kernels KERNEL=6.12 TESTS=t/joins.t
#   make check-kernels KERNEL=this SUITE=forky     another httpd, here
#   make check-kernels KERNEL=6.12 ARCH=arm64 SHORT=1     another processor

# One is enough, unless what differs is the question: a kernel knows no MPM.
KERNEL_MPMS ?= event

check-kernels:
	tools/deps kernels$(if $(filter arm64,$(ARCH)),-arm64)
	KERNEL='$(KERNEL)' TESTS='$(TESTS)' SHORT='$(SHORT)' \
	    MPMS='$(KERNEL_MPMS)' SUITE='$(SUITE)' ARCH='$(ARCH)' t/kernels/run

.PHONY: check-kernels
