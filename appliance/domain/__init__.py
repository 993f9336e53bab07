"""What storebox knows, without a disk, a network, a clock or an event loop."""
