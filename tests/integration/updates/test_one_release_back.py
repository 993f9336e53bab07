"""What a later release keeps on a box is read by this one: what it does not know is passed over, wherever it stands.

The later release is this one, whose files say one thing more in each of their objects; what is signed is signed anew.
"""

import asyncio
import base64
import importlib
import pkgutil
import random
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

import appliance
from appliance.config import Config, Update
from appliance.domain.canonical import canonical
from appliance.domain.dsse import Signer
from appliance.domain.enrolling import claim_text, read_claim
from appliance.domain.gate import BUILT_IN
from appliance.domain.pairing import TillRecord
from appliance.domain.statements import OFFER_TYPE, sign
from appliance.domain.update import Attempt, Outcome, Request
from appliance.domain.wire import Status
from appliance.gateways.identity import Identity
from appliance.gateways.tills import TillBook
from appliance.places import files_in
from appliance.runtime.keyfile import load_or_create
from appliance.services.verification import verify_journal
from appliance.storage.packing import unpack
from appliance.storage.update_files import Memory, UpdateFiles, UpdateRecords
from appliance.wiring import open_box
from tests.fakes.sales import a_sale_json
from tests.fakes.updates import BUNDLE, an_offer
from tests.integration.pairing.conftest import LanTill, a_tls_shop

Signers = Mapping[str, Signer]
SAID_MORE = "later"
# The members of this object are no fields: each is one more of its kind.
NAMES_OF_OPERATIONS = set(BUILT_IN.online_only)
SPKI = "q" * 43

# What refuses a field that it does not know. None of it is kept: whatever a box reads back from its own files must not.
WRITTEN_BY_PEOPLE = {"appliance.config", "appliance.domain.first_boot"}
TOLD_BY_OTHERS = {
    "appliance.domain.enrolling": {"EnrolRequest", "RenewRequest", "ClaimNote", "ClaimOrder", "Revocation"},
    "appliance.domain.keychain": {"TlsKey", "Succession"},
    "appliance.domain.pairing": {"PairRequest", "Observation", "TillName", "PairingOpen", "Invitation"},
    "appliance.domain.sale": {"Sale", "Line", "Adjustment", "Tender", "VatTotal"},
    "appliance.domain.wire": {"ExportNote", "OperationRequest", "ProbeRequest"},
}


# --- the later release


def more(value: Any, signers: Signers) -> Any:
    """The same, with one member more in each object."""
    if isinstance(value, list):
        return [more(item, signers) for item in value]
    if not isinstance(value, dict):
        return value
    if "payloadType" in value:
        value = signed_anew(value, signers)
    told = {name: more(item, signers) for name, item in value.items()}
    return told if set(told) <= NAMES_OF_OPERATIONS else told | {SAID_MORE: 1}


def signed_anew(envelope: Mapping[str, Any], signers: Signers) -> Any:
    """The envelope of a payload that says more, by the same key."""
    payload = msgspec.json.decode(base64.b64decode(envelope["payload"]))
    signer = signers[envelope["signatures"][0]["keyid"]]
    return msgspec.json.decode(signer.envelope(envelope["payloadType"], canonical(more(payload, signers))))


def say_more(folder: Path, signers: Signers) -> set[str]:
    """Have each file of JSON say more; which they are, and which tables hold envelopes."""
    said = set()
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        kept = path.read_bytes()
        if path.suffix == ".db":
            said |= set(say_more_in_database(path, signers))
        elif kept[:1] in (b"{", b"["):
            path.write_bytes(canonical(more(msgspec.json.decode(kept), signers)))
            said.add(path.name)
    return said


def say_more_in_database(path: Path, signers: Signers) -> Iterator[str]:
    """The tables with envelopes, which say more now."""
    with closing(sqlite3.connect(path)) as database, database:
        tables = "SELECT name FROM sqlite_schema WHERE sql LIKE '%envelope BLOB%'"
        for (name,) in database.execute(tables).fetchall():
            for row, kept in database.execute(f"SELECT rowid, envelope FROM {name}").fetchall():  # noqa: S608  tables of our schema
                told = canonical(more(msgspec.json.decode(unpack(kept)), signers))
                database.execute(f"UPDATE {name} SET envelope = ? WHERE rowid = ?", (told, row))  # noqa: S608  tables of our schema
                yield name


# --- a box on which everything is kept


def with_updates(config: Config) -> Config:
    """The same, on a box that was installed from an image."""
    system, records = config.state.with_name("system.conf"), config.state / "records"
    system.write_text("[system]\ncompatible=storebox-amd64\n")
    records.mkdir()
    return msgspec.structs.replace(config, update=Update(system=system, records=records))


def keep_updates(config: Config, office: Signer) -> None:
    """One update has ended, and the next one is here whole and asked for."""
    files, records = UpdateFiles(files_in(config).update), UpdateRecords(config.update.records)
    offer = an_offer(number=2)
    files.take(sign(office, OFFER_TYPE, offer))
    files.append(BUNDLE, 0)
    assert files.finish(offer.sha256)
    files.remember(Memory(floor="0.0.9"))
    files.ask(Request("install", 2, offer.version, offer.sha256))
    records.end(Outcome(1, "0.1.9", "updated", "0.1.0"))
    records.begin(Attempt(2, offer.version, offer.sha256, "0.1.0", "", "boot-0", "installing"))


async def rotate_key(state: Path) -> None:
    """As a technician does: by a command, while the box stands still."""
    file = state.with_name("storebox.toml")
    file.write_text(f'state = "{state}"\n')
    command = (sys.executable, "-m", "appliance.cli", "key", "rotate", "--config", str(file))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0


async def sell(till: LanTill, number: int) -> None:
    body = a_sale_json(till_id="T1", ticket_number=number)
    answer = await till.ask("POST", "/v1/sales", data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 201, answer.body


async def status_of(till: LanTill) -> Status:
    return msgspec.json.decode((await till.ask("GET", "/v1/status")).body, type=Status)


async def test_a_box_starts_and_sells_on_what_a_later_release_kept(tmp_path: Path) -> None:
    async with a_tls_shop(tmp_path, tills=[TillRecord("T9", "Caisse 9", SPKI)]) as shop:
        till = await shop.paired("T1")
        await sell(till, 1)
        while (await status_of(till)).journal.backlog:
            await shop.clock.advance(0.5)
    config = await asyncio.to_thread(with_updates, shop.config)
    await rotate_key(config.state)
    identity = await asyncio.to_thread(Identity, config.state)
    office = await asyncio.to_thread(load_or_create, shop.office.settings.signing_key)
    await asyncio.to_thread(keep_updates, config, office)

    signers = {signer.key_id: signer for signer in (shop.identity.signer, identity.signer, office)}
    assert await asyncio.to_thread(say_more, config.state, signers) == {
        *("enrolment.json", "head", "rotations.json", "tills.json"),
        *("attempt", "memory", "offer", "outcome", "request"),
        *("head", "receipt", "policy"),
    }

    async with open_box(config, shop.clock, random.Random(1)) as till.url:
        await sell(till, 2)
        while (status := await status_of(till)).update.state != "installing":
            await shop.clock.advance(0.5)
    update = status.update
    assert (update.number, update.last, update.last_version) == (2, "updated", "0.1.9")
    assert (status.policy_version, status.issues) == (1, [])
    await asyncio.to_thread(check_what_is_left, config, identity)


def check_what_is_left(config: Config, identity: Identity) -> None:
    """What the daemon itself does not tell."""
    book, records = TillBook(files_in(config).tills), UpdateRecords(config.update.records)
    book.load()
    assert [row.till for row in book.rows()] == ["T1", "T9", "console"]
    assert records.attempt() is not None
    files = UpdateFiles(files_in(config).update)
    assert files.memory().floor == "0.0.9"
    assert files.take_request() is not None
    finding = verify_journal(
        files_in(config).journal, identity.box, identity.keychain.keys, lambda _events: None
    )
    assert (finding.fault, finding.sales) == (None, 2)


def test_a_claim_that_is_being_tried_is_tried_on(tmp_path: Path) -> None:
    claim = read_claim(claim_text("https://office.example", "", "s" * 32, "S042"))
    request = Identity(tmp_path).begin(claim)

    assert say_more(tmp_path, {}) == {"enrolment.pending"}
    assert Identity(tmp_path).pending() == claim
    assert Identity(tmp_path).begin(claim) == request


# --- what is not kept


def structs() -> Iterator[type[msgspec.Struct]]:
    """All of a box's."""
    for module in pkgutil.walk_packages(appliance.__path__, "appliance."):
        importlib.import_module(module.name)
    found = [msgspec.Struct]
    while found:
        kind = found.pop()
        found += kind.__subclasses__()
        if kind.__module__.startswith("appliance."):
            yield kind


def test_only_what_is_never_kept_refuses_what_it_does_not_know() -> None:
    strict: dict[str, set[str]] = {}
    for kind in structs():
        if kind.__struct_config__.forbid_unknown_fields and kind.__module__ not in WRITTEN_BY_PEOPLE:
            strict.setdefault(kind.__module__, set()).add(kind.__name__)

    assert strict == TOLD_BY_OTHERS
