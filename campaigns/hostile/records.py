"""TLS as it should not be: no TLS at all, old, broken, cut off."""

import random
import ssl
from collections.abc import Iterator
from contextlib import suppress


def hello(maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """The first bytes of an honest client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = maximum
    sent = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="box").do_handshake()
    return sent.read()


def broken(count: int, rng: random.Random) -> Iterator[bytes]:
    """First bytes that no server should trust."""
    whole, older = hello(), hello(ssl.TLSVersion.TLSv1_2)
    for _ in range(count):
        data = bytearray(rng.choice((whole, older)))
        match rng.randrange(6):
            case 0:
                data = bytearray(rng.randbytes(rng.randint(1, 4_000)))
            case 1:
                del data[rng.randrange(1, len(data)) :]
            case 2:
                for _ in range(rng.randint(1, 20)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
            case 3:
                data[3:5] = (0xFFFF).to_bytes(2, "big")  # a record longer than any may be
            case 4:
                data += bytes([23, 3, 3, 0, 32]) + rng.randbytes(32)  # data before there are keys
            case _:
                data = bytearray(b"GET /v1/hello HTTP/1.1\r\nHost: box\r\n\r\n")
        yield bytes(data)
