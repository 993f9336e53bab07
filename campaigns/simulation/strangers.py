"""Who and what nobody here knows: strangers with a key of their own, and events that head office cannot read."""

import random
from collections.abc import Awaitable
from typing import Any

from appliance.domain import batch, event
from appliance.domain.errors import BadSignature, CannotAccept, CloudRefused, Unauthenticated
from appliance.domain.event import ClockReading
from appliance.domain.gate import Policy
from appliance.domain.statements import HEAD_TYPE, POLICY_TYPE, Head, sign
from appliance.places import files_in
from appliance.storage.commit import Draft
from campaigns.simulation.box import Box, NoBox
from campaigns.simulation.headoffice import HeadOffice
from campaigns.simulation.line import STRANGER
from campaigns.simulation.oracle import Oracle

# In the shop's network, and not the box itself (RFC 5737).
ELSEWHERE = "192.0.2.66"
OPEN_TO_ALL = Policy(version=2**40, online_only={})
ODD = (
    b'{"flags":[],"sale":{"from":"a later release"}}',
    b'{"flags":[],"sale":"none"}',
    b'"something else"',
    b"[]",
)


class Strangers:
    """Come to one shop's box and to its head office."""

    def __init__(self, office: HeadOffice, oracle: Oracle) -> None:
        self._office = office
        self._oracle = oracle

    async def visit(self, box: Box, rng: random.Random) -> None:
        """Try every door."""
        await self._keep_out("a batch under a strange key", self._send_batch(), CloudRefused)
        tries: tuple[tuple[str, Any, type[Exception]], ...] = (
            ("a strange token", lambda box: self._ask_in(box, f"{rng.getrandbits(256):x}"), Unauthenticated),
            ("the console's token from elsewhere", self._ask_in_as_console, Unauthenticated),
            ("a strange policy", self._send_policy, BadSignature),
            ("a strange till's head", self._show_head, BadSignature),
        )
        for what, attempt, refusal in tries:
            await self._keep_out(what, box.ask(attempt), refusal)
        self._oracle.expect(
            box.report.gate.policy.version < OPEN_TO_ALL.version, "12", "a stranger's policy is in force"
        )

    async def write_oddly(self, box: Box, rng: random.Random) -> None:
        """The box writes what today's head office cannot read."""
        draft = Draft("sale", rng.choice(ODD))
        try:
            entry = await box.ask(lambda box: box.journal.append(draft))
        except (NoBox, CannotAccept):
            return  # nobody was told that it is on disk
        self._oracle.odd.append((entry.position.epoch, entry.position.seq))

    async def _keep_out(self, what: str, attempt: Awaitable[object], refusal: type[Exception]) -> None:
        try:
            await attempt
        except NoBox:
            return
        except refusal:
            self._oracle.checks += 1
        else:
            self._oracle.fail("12", f"{what} was let in")

    async def _send_batch(self) -> None:
        """An event that hangs in the right place, in a batch that the wrong key vouches for."""
        box, end = self._office.box, self._office.end_of(1)
        reading = ClockReading("synced", "boot", 1)
        told = {"kind": "note", "till": None, "at": "2026-01-01T00:00:00.000Z"}
        sealed = event.seal(end, box=box, clock=reading, data={}, **told)  # type: ignore[arg-type]
        head = sign(STRANGER, HEAD_TYPE, Head(box, end.epoch, end.seq + 1, sealed.hash.hex()))
        try:
            self._office.take(batch.pack(head, [sealed.body]), "nonce")
        finally:
            self._oracle.expect(self._office.end_of(1) == end, "12", "head office holds a stranger's event")

    async def _ask_in(self, box: Box, token: str) -> None:
        await box.report.presence.identify(f"Bearer {token}", None, ELSEWHERE)

    async def _ask_in_as_console(self, box: Box) -> None:
        await self._ask_in(box, files_in(box.config).console_token.read_text())

    async def _send_policy(self, box: Box) -> None:
        await box.report.gate.adopt(sign(STRANGER, POLICY_TYPE, OPEN_TO_ALL))

    async def _show_head(self, box: Box) -> None:
        end = box.journal.end
        await box.report.witness.hear(
            sign(STRANGER, HEAD_TYPE, Head(self._office.box, end.epoch, end.seq + 9, "0" * 64)), "till-1"
        )
