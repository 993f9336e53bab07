"""What install.sh does: put a release there, leave one that does not start, take all of it away."""

import zipfile
from pathlib import Path

from bench.processes import Failed, must
from campaigns.units.box import KIT, STATE, UNIT, Box

PROGRAM = "opt/storebox"
# Where install.sh puts what stands in systemd/.
PLACES = ("usr/local/lib", "usr/lib/storebox")


class Releases:
    """The first takes a bare machine; each leaves a box that runs."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._machine = box.machine

    def an_install_without_a_line_ends_with_a_box_that_waits_for_its_claim(self) -> str:
        """install.sh, as a technician calls it."""
        self._box.bring_kit()
        took_s = self._box.install(self._box.wheel)
        said = self._machine.run("storebox", "--version").strip()
        self._box.expect_active()
        status = self._machine.show(UNIT, "StatusText")
        must(status == "waiting for a claim", f"it says {status!r}")
        return f"{said}, {took_s:.0f} s"

    def an_upgrade_keeps_the_journal(self) -> str:
        """The same command again; the release before stays beside."""
        before, took_s = self._box.end(), self._box.install(self._box.wheel)
        self._box.expect_active()
        after = self._box.end()
        self._goes_on(before, after)
        must(len(list(self._box.path("opt/storebox.d").iterdir())) == 2, "not two releases")
        return f"{took_s:.0f} s; epoch {after[0]}, seq {before[1]} to {after[1]}"

    def a_release_that_does_not_start_is_left_with_its_units(self) -> str:
        """A wheel whose daemon ends at once, and units that no release before it could start under."""
        before, placed = self._box.end(), self._placed()
        release = self._box.path(PROGRAM).readlink()
        self._make_units_newer()
        try:
            self._box.install(_broken(self._box.wheel, self._box.work))
        except Failed as failure:
            if "the one before runs again" not in str(failure):
                raise
        else:
            raise Failed("a broken release was installed")
        finally:
            self._box.bring_kit()
        self._box.expect_active()
        must(self._box.path(PROGRAM).readlink() == release, "the broken release is in force")
        differ = {path for path, _ in self._placed().items() ^ placed.items()}
        must(not differ, f"not as they were: {differ}")
        self._goes_on(before, self._box.end())
        return "the one before runs again, under its own units"

    def an_uninstall_keeps_the_journal(self) -> str:
        """And another install goes on with it."""
        before = self._box.end()
        said = self._machine.run(f"/{KIT}/install.sh", "--uninstall")
        must(f"Kept: /{STATE}" in said, f"it does not say where the journal is: {said}")
        left = [path for path in (PROGRAM, "usr/bin/storebox") if self._box.path(path).exists()]
        left += self._placed()
        if left or self._machine.is_active(UNIT):
            raise Failed(f"something of it is left: {left}")
        self._box.install(self._box.wheel)
        after = self._box.end()
        self._goes_on(before, after)
        return f"epoch {after[0]}, seq {before[1]} to {after[1]}"

    def _placed(self) -> dict[str, bytes]:
        files = (path for place in PLACES for path in self._box.path(place).rglob("*") if path.is_file())
        named = {str(path.relative_to(self._machine.root)): path for path in files}
        return {name: path.read_bytes() for name, path in named.items() if "storebox" in name}

    def _make_units_newer(self) -> None:
        units = self._box.path(KIT) / "systemd"
        unit = units / UNIT
        unit.write_text(unit.read_text() + "\n[Service]\nExecStartPre=/opt/storebox/bin/storebox newer\n")
        (units / "storebox-newer.service").write_text("[Service]\nExecStart=/bin/true\n")
        escalate = units / "libexec/escalate"
        escalate.write_text(escalate.read_text() + "# newer\n")

    def _goes_on(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        must(
            before[0] == after[0] and before[1] < after[1],
            f"the journal ended at {before}, and ends at {after}",
        )


def _broken(wheel: Path, folder: Path) -> Path:
    """A copy of a wheel whose daemon exits at once; its other commands work."""
    broken = folder / wheel.name
    with zipfile.ZipFile(wheel) as sound, zipfile.ZipFile(broken, "w", zipfile.ZIP_DEFLATED) as copy:
        for entry in sound.infolist():
            content = sound.read(entry)
            if entry.filename == "appliance/runtime/process.py":
                content = content.replace(
                    b"    async def guarded()", b"    raise SystemExit(3)\n\n    async def guarded()"
                )
            copy.writestr(entry, content)
    return broken
