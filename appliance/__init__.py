"""The box's daemon: accepts sales on the LAN, keeps them, and brings them to the cloud."""

__version__ = "0.1.0"
