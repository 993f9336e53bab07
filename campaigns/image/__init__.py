"""The real image in an emulated machine: what `make image-test` does."""
