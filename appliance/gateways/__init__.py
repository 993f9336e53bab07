"""The outside, one file each. Nothing here decides anything; errors are translated into ours at this edge."""
