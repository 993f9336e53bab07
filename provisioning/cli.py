"""The command `storebox-provision`.

Exit codes: 0 fine, 1 failed, 2 misuse, 3 refused by head office, 4 nobody answers.
"""

import argparse

from appliance import __version__


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    _parser().parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="storebox-provision", description="Bring boxes to life, swap and revoke them."
    )
    parser.add_argument("--version", action="version", version=f"storebox {__version__}")
    return parser
