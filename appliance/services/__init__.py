"""Use cases and loops. What they need of the outside stands in `ports.py`."""
