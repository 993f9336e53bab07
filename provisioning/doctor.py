"""What is wrong here, in sentences: this machine, head office, the box on this LAN."""

import argparse
import asyncio
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import aiohttp
import msgspec
import psutil

from appliance.domain.enrolling import BoxView
from appliance.runtime.clock import Clock, SystemClock
from appliance.runtime.tls import unverified_context
from provisioning import card, office, show
from provisioning.box import Box, meet, place
from provisioning.discover import search_here, trusted
from provisioning.errors import FAILED, FINE, NoAnswer, Refused
from provisioning.office import open_office
from provisioning.words import FINDINGS, Grade
from till.discovery import Found

# Boxes renew at half of their year.
CERTIFICATE_WARN = timedelta(days=90)
_MARKS: dict[Grade, str] = {"good": "+", "warn": "!", "bad": "✗"}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `step` is what to do, in both languages; empty when nothing."""

    code: str
    grade: Grade
    fr: str
    en: str
    step: dict[str, str] = {}


class Report(msgspec.Struct, frozen=True):
    """Everything that was found, in the order in which it was looked at."""

    findings: list[Finding]


class _AtOffice(msgspec.Struct, frozen=True):
    """What head office said: its root to judge by, and its boxes (None: it could not be asked)."""

    root: str = ""
    boxes: list[BoxView] | None = None


def doctor(args: argparse.Namespace) -> int:
    """Look at everything; exit code 1 when something is bad."""
    findings = asyncio.run(examine(args, SystemClock()))
    show.answer(args, Report(findings), "\n".join(_lines(findings, language())))
    return FAILED if any(one.grade == "bad" for one in findings) else FINE


async def examine(args: argparse.Namespace, clock: Clock) -> list[Finding]:
    """Everything that can be said from here."""
    findings = [_here()]
    if not card.has_mtools():
        findings.append(found("mtools-missing"))
    at_office = await _ask_office(args, findings)
    announced = await search_here(args)
    async with aiohttp.ClientSession() as session:
        for box in await _boxes(session, args, announced, findings):
            findings += await _examine_box(session, box, at_office, announced, clock.wall())
    return findings


def found(code: str, detail: str = "") -> Finding:
    """A finding as its sentences."""
    words = FINDINGS[code]
    step = {"fr": words.step_fr, "en": words.step_en} if words.step_en else {}
    return Finding(code, words.grade, words.fr.format(detail=detail), words.en.format(detail=detail), step)


def language() -> str:
    """The technician's, by his environment: French, or English."""
    said = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "fr" if said.startswith("fr") else "en"


def _lines(findings: list[Finding], tongue: str) -> Iterator[str]:
    for one in findings:
        yield f"{_MARKS[one.grade]} {one.fr if tongue == 'fr' else one.en}"
        if one.step:
            yield f"    → {one.step[tongue]}"


def _here() -> Finding:
    addresses = [
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family in (socket.AF_INET, socket.AF_INET6) and _leads_out(address.address)
    ]
    return found("network", ", ".join(addresses)) if addresses else found("no-address")


def _leads_out(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return not ip.is_loopback and not (ip.version == 6 and ip.is_link_local)


async def _ask_office(args: argparse.Namespace, findings: list[Finding]) -> _AtOffice:
    said = office.known_credentials(args)
    if not said.cloud or not said.token:
        findings.append(found("no-credentials"))
        return _AtOffice()
    try:
        await asyncio.get_running_loop().getaddrinfo(urlsplit(said.cloud).hostname, None)
    except OSError as error:
        findings.append(found("no-dns", error.strerror or ""))
        return _AtOffice()
    root = ""
    try:
        async with open_office(said) as desk:
            root = desk.root
            boxes = await desk.boxes()
    except NoAnswer as error:
        findings.append(found("cloud-unreachable", str(error)))
        return _AtOffice()
    except Refused as error:
        findings.append(found("cloud-refused", str(error)))
        return _AtOffice(root)
    findings.append(found("cloud-plain" if said.cloud.startswith("http://") else "cloud-reached"))
    return _AtOffice(root, boxes)


async def _boxes(
    session: aiohttp.ClientSession,
    args: argparse.Namespace,
    announced: list[Found],
    findings: list[Finding],
) -> list[Box]:
    """The box that was named, or those that announce themselves."""
    places = [[args.box]] if args.box else [[place(a, one.port) for a in one.addresses] for one in announced]
    if not places:
        findings.append(found("no-box"))
    met = []
    for ways in places:
        problem = ""
        for way in ways:
            try:
                met.append(await meet(session, way))
                break
            except (NoAnswer, Refused) as error:
                problem = str(error)
        else:
            findings.append(found("box-unreachable", problem))
    return met


async def _examine_box(
    session: aiohttp.ClientSession, box: Box, at_office: _AtOffice, announced: list[Found], now: datetime
) -> list[Finding]:
    hello, name = box.hello, box.hello.box
    findings = [found("box-found", f"{name}, {hello.shop or '-'}, {hello.software}, {box.peer.base}")]
    if name not in {one.box for one in announced}:
        findings.append(found("multicast-blocked", name))
    findings.append(await _tls(box))
    if hello.state == "unclaimed":
        return [*findings, await _claim(box)]
    vouched = await trusted(session, box, at_office.root)
    if vouched != "unknown":
        findings.append(found("trusted" if vouched == "yes" else "not-trusted", name))
    if at_office.boxes is not None:
        view = next((one for one in at_office.boxes if one.box == name), None)
        findings += [found("unknown-box", name)] if view is None else _at_office(view, now)
    return findings


def _at_office(view: BoxView, now: datetime) -> Iterator[Finding]:
    """What head office says of a box."""
    if view.revoked_at is not None:
        yield found("box-revoked", view.revoked_at)
        return
    if view.state in ("silent", "never-seen"):
        yield found("box-silent", view.heard_at or view.state)
    if view.certificate_until is not None:
        until = datetime.fromisoformat(view.certificate_until)
        code = "certificate" if until - now > CERTIFICATE_WARN else "certificate-ending"
        yield found(code, view.certificate_until[:10])


async def _claim(box: Box) -> Finding:
    try:
        state = await box.claim_state()
    except (NoAnswer, Refused) as error:
        return found("box-unreachable", str(error))
    if state.state == "refused":
        return found("claim-refused", state.detail)
    return (
        found("claim-trying", state.detail) if state.state == "trying" else found("unclaimed", box.hello.box)
    )


async def _tls(box: Box) -> Finding:
    """Whether anything below TLS 1.3 is spoken there."""
    if not box.spki:
        return found("box-plain")
    context = unverified_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    where = urlsplit(box.peer.base)
    try:
        async with asyncio.timeout(5):
            _, writer = await asyncio.open_connection(where.hostname, where.port, ssl=context)
    except (OSError, TimeoutError):
        return found("tls-1-3")
    writer.close()
    return found("tls-1-2")
