"""Measure the box beside what limits it: `python -m bench` (or `make bench`). See docs in `__main__.py`."""
