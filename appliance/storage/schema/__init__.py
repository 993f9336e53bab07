"""The schemas of the databases, as numbered SQL files."""
