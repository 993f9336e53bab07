"""The disk of the power-cut campaigns holds what was fsynced, and of the rest what the model says."""

import random

import pytest

from campaigns.powercut.crashpoints import points
from campaigns.powercut.disk import (
    MODELS,
    SECTOR,
    AnyOp,
    Create,
    Cut,
    Disk,
    Model,
    Rename,
    Sync,
    SyncFailed,
    SyncNames,
    Told,
    Truncate,
    Unlink,
    Write,
)

OLD, NEW = b"o" * SECTOR * 4, b"n" * SECTOR * 4
# A file that is durable under its name.
DURABLE: list[AnyOp] = [Create("a", 1), Write(1, 0, OLD), Sync(1), SyncNames()]


def disk_after(*ops: AnyOp) -> Disk:
    disk = Disk()
    for op in ops:
        disk.apply(op)
    return disk


def left(disk: Disk, model: Model = "lose", seed: int = 1) -> dict[str, bytes]:
    return disk.after_cut(model, random.Random(seed))


@pytest.mark.parametrize("model", MODELS)
def test_what_was_fsynced_survives_every_cut(model: Model) -> None:
    assert left(disk_after(*DURABLE), model) == {"a": OLD}


def test_what_was_not_fsynced_is_lost_or_kept_as_the_model_says() -> None:
    disk = disk_after(*DURABLE, Write(1, 0, NEW), Truncate(1, SECTOR))

    assert left(disk, "lose") == {"a": OLD}
    assert left(disk, "keep") == {"a": NEW[:SECTOR]}


def test_a_prefix_keeps_the_order_of_the_writes() -> None:
    disk = disk_after(*DURABLE, Write(1, 0, b"1"), Write(1, 1, b"2"), Write(1, 2, b"3"))

    seen = {left(disk, "prefix", seed)["a"][:3] for seed in range(50)}
    assert seen == {b"ooo", b"1oo", b"12o", b"123"}


def test_a_subset_keeps_whole_sectors_in_any_mix() -> None:
    disk = disk_after(*DURABLE, Write(1, 0, NEW))

    images = {left(disk, "subset", seed)["a"] for seed in range(200)}
    sectors = {
        tuple(image[start : start + SECTOR] for start in range(0, 4 * SECTOR, SECTOR)) for image in images
    }
    assert len(images) == 16
    assert all(set(mix) <= {OLD[:SECTOR], NEW[:SECTOR]} for mix in sectors)


def test_a_torn_write_can_end_within_a_sector() -> None:
    disk = disk_after(*DURABLE, Write(1, 0, NEW))

    assert any(left(disk, "torn", seed)["a"].count(b"n") % SECTOR for seed in range(50))


def test_a_name_is_durable_only_when_the_directory_was_fsynced() -> None:
    created = disk_after(Create("a", 1), Write(1, 0, OLD), Sync(1))
    renamed = disk_after(*DURABLE, Rename("a", "b"))
    removed = disk_after(*DURABLE, Unlink("a"))

    assert left(created) == {}
    assert left(renamed) == left(removed) == {"a": OLD}
    assert left(renamed, "keep") == {"b": OLD}
    assert left(removed, "keep") == {}
    for disk in (created, renamed, removed):
        disk.apply(SyncNames())
        assert left(disk) == left(disk, "keep")


def test_after_a_failed_fsync_the_cache_shows_what_the_disk_never_gets() -> None:
    disk = disk_after(*DURABLE, Write(1, 0, NEW), SyncFailed(1), Sync(1))

    assert bytes(disk.files[1].live) == NEW
    assert left(disk, "keep") == {"a": OLD}


def test_a_cut_is_one_of_the_operations_and_the_same_each_time() -> None:
    day = [*DURABLE, Write(1, 0, NEW), Cut("torn", "seed")]

    once, twice = disk_after(*day), disk_after(*day)
    assert left(once) == left(twice) == left(once, "keep")


def test_each_moment_of_a_recording_has_its_crash_points() -> None:
    day: list[AnyOp] = [*DURABLE, Write(1, 0, NEW), Told("ack"), Sync(1)]

    found = list(points(day, "seed"))
    assert {point.at for point in found} == set(range(len(day) + 1))
    during_the_write = {p.variant: p.image["a"] for p in found if p.at == 4 and p.variant.startswith("tear")}
    assert {NEW[:n] + OLD[n:] for n in (SECTOR, 2 * SECTOR, 3 * SECTOR)} <= set(during_the_write.values())
    before_the_sync = {p.image["a"] for p in found if p.at == 6}
    assert {OLD, NEW} < before_the_sync
    assert found == list(points(day, "seed"))
