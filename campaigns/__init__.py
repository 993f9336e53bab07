"""Campaigns: evidence for the promises, by thousands of faults on the daemon's real code. Anyone can run them again."""
