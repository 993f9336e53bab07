"""Run `storebox` commands in forks of one warm process, each killed before the step it is told, if any.

A step is one thing that the command does to its state directory or to the network, as Python's own audit events tell:
opening a file, renaming, removing, connecting. One JSON object per line on standard input starts a run; its end is told
on standard output, where the command's own lines appear too.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from appliance import cli

STEPS = ("open", "os.rename", "os.remove", "socket.connect")


def dying(folder: Path, die_at: int) -> Any:
    """An audit hook that kills this process before its `die_at`th step, and writes down how many it has seen."""
    seen, begin, tally = 0, str(folder), os.open(folder.with_suffix(".steps"), os.O_CREAT | os.O_WRONLY)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in STEPS or (event != "socket.connect" and not str(arguments[0]).startswith(begin)):
            return
        seen += 1
        os.pwrite(tally, b"%d" % seen, 0)
        if seen == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            sys.addaudithook(dying(Path(order["folder"]), order["die_at"]))
            cli.main(order["arguments"])
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
