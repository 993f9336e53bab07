"""Hear at once from the kernel that a link or an address came or went (rtnetlink(7))."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

log = logging.getLogger(__name__)

# linux/rtnetlink.h; the socket module has no names for the groups.
_LINK, _IPV4_ADDRESS, _IPV6_ADDRESS = 0x1, 0x10, 0x100
_READ_BYTES = 65_536


@contextmanager
def network_changes(changed: Callable[[], None]) -> Iterator[None]:
    """Call `changed` on the running loop after each change, while inside. What changed is for the caller to look up.

    Where the kernel does not tell (not every sandbox lets us listen), nothing is called: who needs it looks, too.
    """
    try:
        listener = _listening()
    except OSError as error:
        log.warning("network.unheard", extra={"why": str(error)})
        yield
        return
    loop = asyncio.get_running_loop()

    def heard() -> None:
        # Lost messages (ENOBUFS) are changes like any other: nobody reads what they say.
        with suppress(OSError):
            while listener.recv(_READ_BYTES):
                pass
        changed()

    with listener:
        loop.add_reader(listener, heard)
        try:
            yield
        finally:
            loop.remove_reader(listener)


def _listening() -> socket.socket:
    listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    try:
        listener.bind((0, _LINK | _IPV4_ADDRESS | _IPV6_ADDRESS))
    except OSError:
        listener.close()
        raise
    return listener
