"""Commands of `storebox-cloud` about who may come in."""

import argparse


def add_commands(
    _commands: "argparse._SubParsersAction[argparse.ArgumentParser]", _shown: argparse.ArgumentParser
) -> None:
    """Make the commands known; `_shown` brings the options that they share."""
