"""The gate with a policy from the cloud, kept in a real mirror.db."""

import random
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer
from appliance.domain.errors import BadSignature, OnlineOnly, StorageFault
from appliance.domain.gate import BUILT_IN, Policy, Rule
from appliance.domain.statements import HEARTBEAT_TYPE, POLICY_TYPE, sign
from appliance.runtime.database import Writer, open_writer
from appliance.runtime.migrations import migrate
from appliance.services.gate import Gate
from appliance.services.wan import WanWatch
from appliance.storage.policies import Policies
from tests.fakes.clock import FakeClock
from tests.fakes.sales import a_line, a_sale

CLOUD = Signer(Ed25519PrivateKey.generate())
KEYS = {CLOUD.key_id: CLOUD.public_key}


def a_policy(version: int, operation: str = "gift_card") -> Policy:
    return Policy(version, {operation: Rule(fr="Non.", en="No.")})


def signed(policy: Policy, signer: Signer = CLOUD, kind: str = POLICY_TYPE) -> bytes:
    return sign(signer, kind, policy)


@pytest.fixture
async def mirror(tmp_path: Path) -> AsyncIterator[Writer]:
    async with open_writer(tmp_path / "mirror.db") as writer:
        await migrate(writer, files("appliance.storage") / "schema" / "mirror")
        yield writer


async def a_gate(mirror: Writer, enrolled: bytes | None = None) -> Gate:
    """The gate of a box that has just started, and that was `enrolled` under this policy."""
    gate = Gate(Policies(mirror), KEYS, WanWatch(FakeClock(), random.Random(1)))
    await gate.load(enrolled)
    return gate


async def test_a_box_that_never_heard_of_its_cloud_has_the_built_in_policy(mirror: Writer) -> None:
    gate = await a_gate(mirror)

    assert gate.policy is BUILT_IN
    with pytest.raises(OnlineOnly):
        gate.admit("deposit")
    with pytest.raises(OnlineOnly):
        gate.admit_sale(a_sale(lines=[a_line(line_type="deposit")]))


async def test_a_newer_policy_is_in_force_at_once_and_after_a_restart(mirror: Writer) -> None:
    gate = await a_gate(mirror)

    assert await gate.adopt(signed(a_policy(1)))
    assert await gate.adopt(signed(a_policy(2, "rental")))

    for running in (gate, await a_gate(mirror)):
        assert running.policy == a_policy(2, "rental")
        with pytest.raises(OnlineOnly):
            running.admit("rental")


@pytest.mark.parametrize("version", [0, 4, 5])
async def test_a_policy_that_is_not_newer_changes_nothing(mirror: Writer, version: int) -> None:
    gate = await a_gate(mirror)
    await gate.adopt(signed(a_policy(5)))

    assert not await gate.adopt(signed(a_policy(version, "rental")))
    assert gate.policy == a_policy(5)
    assert (await a_gate(mirror)).policy == a_policy(5)


@pytest.mark.parametrize(
    "envelope",
    [
        signed(a_policy(9), Signer(Ed25519PrivateKey.generate())),
        signed(a_policy(9), kind=HEARTBEAT_TYPE),
        signed(a_policy(9)).replace(b'"sig":"', b'"sig":"AAAA'),
        b"{}",
        b"",
    ],
    ids=["another key", "another kind", "another signature", "no envelope", "nothing"],
)
async def test_a_policy_that_the_cloud_did_not_sign_changes_nothing(mirror: Writer, envelope: bytes) -> None:
    gate = await a_gate(mirror)

    with pytest.raises(BadSignature):
        await gate.adopt(envelope)

    assert gate.policy is BUILT_IN


async def test_a_kept_policy_that_was_tampered_with_is_not_put_into_force(mirror: Writer) -> None:
    forged = signed(Policy(7, {}), Signer(Ed25519PrivateKey.generate()))
    await Policies(mirror).save(7, forged)

    gate = await a_gate(mirror)

    assert gate.policy is BUILT_IN


@pytest.mark.parametrize(("kept", "enrolled"), [(2, 5), (5, 2)])
async def test_the_newer_of_the_kept_policy_and_that_of_enrolment_is_in_force(
    mirror: Writer, kept: int, enrolled: int
) -> None:
    await Policies(mirror).save(kept, signed(a_policy(kept)))

    gate = await a_gate(mirror, signed(a_policy(enrolled)))

    assert gate.policy.version == 5


async def test_a_policy_of_enrolment_that_cannot_be_used_keeps_no_box_from_starting(mirror: Writer) -> None:
    await Policies(mirror).save(1, signed(a_policy(1)))
    later = signed(a_policy(2)).replace(b'"sig":"', b'"sig":"AAAA')

    gate = await a_gate(mirror, later)

    assert gate.policy == a_policy(1)


async def test_a_policy_that_cannot_be_kept_is_in_force_all_the_same(mirror: Writer) -> None:
    gate = await a_gate(mirror)
    # What a worn-out card does at some point: the file can still be read, and no longer written.
    await mirror.transaction(lambda connection: connection.execute("PRAGMA query_only=1"))
    with pytest.raises(StorageFault):
        await Policies(mirror).save(1, b"")

    assert await gate.adopt(signed(a_policy(3)))
    assert gate.policy == a_policy(3)


async def test_the_gate_knows_what_either_policy_names(mirror: Writer) -> None:
    gate = await a_gate(mirror)
    await gate.adopt(signed(a_policy(1, "rental")))

    assert [gate.knows(name) for name in ("rental", "deposit", "teleport")] == [True, True, False]
