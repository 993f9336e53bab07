"""Other people's programs, run to their end: what they print, or a loud failure."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


class Failed(Exception):
    """A step of the build did not do what it was for; the text says which."""


def run(
    *command: str | Path,
    given: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> bytes:
    """Run a program; what it printed. Raises Failed, with the end of what it complained of, unless it exits 0."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(  # noqa: S603  our own choice of programs, and no shell reads the words
            words,
            input=given,
            capture_output=True,
            check=False,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
        )
    except FileNotFoundError as error:
        raise Failed(f"{words[0]} is missing: docs/IMAGE.md names the packages that a build needs") from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace")[-4000:].strip()
        raise Failed(f"{' '.join(words)[:400]} exited {done.returncode}:\n{said}")
    return done.stdout


def inside(root: Path, *command: str | Path, environment: Mapping[str, str] | None = None) -> bytes:
    """The same, with a made root as its root. Needs to be root."""
    return run("chroot", root, *command, environment=environment)
