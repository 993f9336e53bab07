"""What every test may count on: seeded properties, a loop that nobody blocks, honest skips."""

import inspect
import os
import shutil
from collections.abc import Iterator

import hypothesis
import pytest
from blockbuster import BlockBuster

# No deadline: the first example pays for imports and caches, and a shared machine is slow at times.
hypothesis.settings.register_profile("dev", deadline=None)
# In CI the same commit gives the same answer, every time.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if "CI" in os.environ else "dev")


def require(*tools: str, root: bool = False, device: str = "") -> None:
    """Skip the test when a program or a device it needs is not there (or, with `root`, when it may not run as root).

    With REQUIRE_ALL=1, as in CI, the test fails instead: a test that nobody runs holds no promise.
    """
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if device and not os.access(device, os.R_OK | os.W_OK):
        missing.append(device)
    if root and os.geteuid() != 0:
        missing.append("root")
    if not missing:
        return
    reason = f"needs {', '.join(missing)}"
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def loop_is_never_blocked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a coroutine test whose loop waits for a disk, a socket, a lock or a sleep in our own code."""
    if not inspect.iscoroutinefunction(request.function):
        yield
        return
    detector = BlockBuster(["appliance", "cloud", "till"])
    for name in [name for name in detector.functions if name.startswith("sqlite3.")]:
        # Point look-ups in a read-only database run on the loop by design: a hop to a thread costs more.
        del detector.functions[name]
    for name in ("os.stat", "io.TextIOWrapper.read", "io.BufferedReader.read"):
        # A template is read once in the life of a process.
        detector.functions[name].can_block_in("jinja2/loaders.py", "get_source")
    # Coverage guards its own tables with a lock whenever threads run beside the loop.
    detector.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", "lock_data")
    detector.activate()
    yield
    detector.deactivate()
