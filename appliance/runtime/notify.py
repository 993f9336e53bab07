"""Tell systemd how the service is (sd_notify(3)): a datagram to the socket that systemd names in the environment."""

import logging
import os
import socket

log = logging.getLogger(__name__)

# How long a sign that the start gets on is good for.
EXTENSION_S = 60


def notify(state: str) -> None:
    """Send e.g. "READY=1" or "STOPPING=1"; does nothing when not started by systemd (no NOTIFY_SOCKET).

    Never blocks; a message that cannot be delivered is logged and dropped.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A leading @ means the abstract namespace, whose names start with a zero byte (unix(7)).
    target = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as channel:
        try:
            channel.connect(target)
            channel.send(state.encode())
        except OSError as error:
            log.warning("notify.failed", extra={"state": state, "error": str(error)})


def still_starting() -> None:
    """Tell that a start gets on: from now on it has `EXTENSION_S`, also past the unit's `TimeoutStartSec=`.

    For what may take long before READY, at each step of it; who hangs must fall silent. May be called on any thread.
    """
    notify(f"EXTEND_TIMEOUT_USEC={EXTENSION_S * 1_000_000}")


def is_watched() -> bool:
    """Whether systemd runs this process as a service that it watches (sd_watchdog_enabled(3))."""
    return "WATCHDOG_USEC" in os.environ
