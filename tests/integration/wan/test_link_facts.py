"""Why the cloud cannot be reached: what the machine knows of its cards, routes and neighbours."""

import errno
import os
import socket
from collections import namedtuple
from pathlib import Path

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from appliance.domain.link import Cause
from appliance.gateways.probes import LinkFacts, cause_of

Address = namedtuple("Address", "family address netmask")
Stats = namedtuple("Stats", "flags")
UP, UNPLUGGED = Stats("up,broadcast,running,multicast"), Stats("up,broadcast,multicast")
LO = [
    Address(socket.AF_INET, "127.0.0.1", "255.0.0.0"),
    Address(socket.AF_INET6, "::1", "ffff:" * 7 + "ffff"),
]
LAN = [
    Address(socket.AF_INET, "192.168.1.20", "255.255.255.0"),
    Address(socket.AF_INET6, "fe80::1%eth0", "ffff:ffff:ffff:ffff::"),
    Address(socket.AF_PACKET, "02:00:00:00:00:01", None),
]
ROUTE = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
LOCAL_ROUTE = "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
DEFAULT_ROUTE = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
ARP = "IP address       HW type     Flags       HW address            Mask     Device\n"
NOTHING_V6 = f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo\n"
DEFAULT_V6 = f"{'0' * 32} 00 {'0' * 32} 00 fe80{'0' * 27}1 00000400 00000002 00000000 00000003     eth0\n"


def facts(
    root: Path, tables: dict[str, str], *, lan: Stats = UP, addresses: list[Address] = LAN
) -> LinkFacts:
    """A machine with one network card, and these tables of the kernel."""
    folder = root / "proc" / "net"
    folder.mkdir(parents=True)
    for name, text in tables.items():
        (folder / name).write_text(text)
    cards = {"lo": LO, "eth0": addresses}
    return LinkFacts(root, lambda: cards, lambda: {"lo": UP, "eth0": lan})


def dns_error(host: str = "cloud.example") -> aiohttp.ClientConnectorDNSError:
    key = ConnectionKey(host, 443, True, True, None, None, None)
    return aiohttp.ClientConnectorDNSError(key, socket.gaierror(socket.EAI_AGAIN, "try again"))


def connect_error(number: int, host: str = "203.0.113.9") -> aiohttp.ClientConnectorError:
    key = ConnectionKey(host, 443, True, True, None, None, None)
    return aiohttp.ClientConnectorError(key, OSError(number, os.strerror(number)))


WELL = {"route": ROUTE + DEFAULT_ROUTE + LOCAL_ROUTE, "ipv6_route": NOTHING_V6}


def test_a_name_that_does_not_resolve_is_dns_when_all_below_is_well(tmp_path: Path) -> None:
    assert cause_of(dns_error(), facts=facts(tmp_path, WELL)) is Cause.NO_DNS


def test_a_pulled_cable_is_no_link_whatever_it_looks_like(tmp_path: Path) -> None:
    unplugged = facts(tmp_path, WELL, lan=UNPLUGGED)

    for error in (
        dns_error(),
        TimeoutError(),
        connect_error(errno.ENETUNREACH),
        aiohttp.ServerTimeoutError(),
    ):
        assert cause_of(error, "cloud.example", facts=unplugged) is Cause.NO_LINK


def test_a_card_without_an_address_is_no_link(tmp_path: Path) -> None:
    assert (
        cause_of(TimeoutError(), "cloud.example", facts=facts(tmp_path, WELL, addresses=LAN[1:]))
        is Cause.NO_LINK
    )


def test_no_way_out_is_no_gateway(tmp_path: Path) -> None:
    lost = facts(tmp_path, {"route": ROUTE + LOCAL_ROUTE, "ipv6_route": NOTHING_V6})

    assert cause_of(dns_error(), facts=lost) is Cause.NO_GATEWAY
    assert cause_of(TimeoutError(), "203.0.113.9", facts=lost) is Cause.NO_GATEWAY


def test_a_default_route_of_ipv6_is_a_way_out(tmp_path: Path) -> None:
    only_v6 = facts(tmp_path, {"route": ROUTE + LOCAL_ROUTE, "ipv6_route": NOTHING_V6 + DEFAULT_V6})

    assert cause_of(dns_error(), facts=only_v6) is Cause.NO_DNS


def test_a_gateway_that_does_not_answer_the_kernel_is_no_gateway(tmp_path: Path) -> None:
    silent = ARP + "192.168.1.1      0x1         0x0         00:00:00:00:00:00     *        eth0\n"

    assert (
        cause_of(TimeoutError(), "cloud.example", facts=facts(tmp_path, WELL | {"arp": silent}))
        is Cause.NO_GATEWAY
    )


def test_a_gateway_that_answers_the_kernel_leaves_it_at_no_answer(tmp_path: Path) -> None:
    known = ARP + "192.168.1.1      0x1         0x2         02:00:00:00:00:02     *        eth0\n"

    assert (
        cause_of(TimeoutError(), "cloud.example", facts=facts(tmp_path, WELL | {"arp": known}))
        is Cause.NO_ANSWER
    )


def test_unreachable_is_no_gateway(tmp_path: Path) -> None:
    assert cause_of(connect_error(errno.EHOSTUNREACH), facts=facts(tmp_path, WELL)) is Cause.NO_GATEWAY


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "192.168.1.7"])
def test_a_cloud_next_door_needs_no_gateway(tmp_path: Path, host: str) -> None:
    lost = facts(tmp_path, {"route": ROUTE + LOCAL_ROUTE})

    assert cause_of(TimeoutError(), host, facts=lost) is Cause.NO_ANSWER


def test_a_cloud_on_this_machine_needs_no_link(tmp_path: Path) -> None:
    assert cause_of(TimeoutError(), "127.0.0.1", facts=facts(tmp_path, {}, lan=UNPLUGGED)) is Cause.NO_ANSWER


def test_a_machine_without_the_kernels_tables_still_gets_an_answer(tmp_path: Path) -> None:
    assert cause_of(dns_error(), facts=facts(tmp_path, {})) is Cause.NO_GATEWAY


def test_this_machine_can_be_asked() -> None:
    assert cause_of(TimeoutError(), "203.0.113.9") in (Cause.NO_LINK, Cause.NO_GATEWAY, Cause.NO_ANSWER)
