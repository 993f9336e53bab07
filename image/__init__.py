"""The image of a box: built by `make image`, from pinned Debian packages and the locked Python ones."""
