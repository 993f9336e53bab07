"""Run inside a machine: listen to mDNS for so many seconds; the last line is how many records were said goodbye to."""

import socket
import struct
import sys
import time

GROUP, PORT = "224.0.0.251", 5353


def past_name(packet: bytes, at: int) -> int:
    """Where what follows a name begins (RFC 1035 §4.1.4)."""
    while (length := packet[at]) != 0:
        if length >= 0xC0:
            return at + 2
        at += length + 1
    return at + 1


def goodbyes(packet: bytes) -> int:
    """How many records of an answer end with it: those with a time to live of 0 (RFC 6762 §10.1)."""
    _, flags, questions, *records = struct.unpack(">6H", packet[:12])
    if not flags & 0x8000:
        return 0
    at, found = 12, 0
    for _ in range(questions):
        at = past_name(packet, at) + 4
    for _ in range(sum(records)):
        at = past_name(packet, at)
        _, _, ttl, length = struct.unpack(">HHIH", packet[at : at + 10])
        at += 10 + length
        found += ttl == 0
    return found


def main() -> None:
    """Entry point."""
    end_s = time.monotonic() + float(sys.argv[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((GROUP, PORT))
        joined = socket.inet_aton(GROUP) + socket.inet_aton(sys.argv[2])
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        print("listening", flush=True)
        found = 0
        while (left_s := end_s - time.monotonic()) > 0:
            listener.settimeout(left_s)
            try:
                found += goodbyes(listener.recv(9_000))
            except TimeoutError:
                break
    print(found)


if __name__ == "__main__":
    main()
