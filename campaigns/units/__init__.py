"""The box's units under a real systemd: hung, killed, stopped, and never starting."""
