"""The schema of mirror.db."""
