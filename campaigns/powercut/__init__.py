"""Cut the power of the journal's disk at every moment: `make powercut`."""
