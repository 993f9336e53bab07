"""The commands about tills."""

import argparse

from appliance.config import load_config
from appliance.domain.errors import ConfigError
from appliance.gateways.tills import TillBook
from appliance.services.presence import CONSOLE
from appliance.wiring import files_in


def pair(options: argparse.Namespace) -> int:
    """Print a new token for a till, bound to no key; its earlier tokens end. Only where there is no TLS."""
    config = load_config(options.config)
    config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if config.lan.tls != "off":
        raise ConfigError('tills pair by themselves over TLS; this command is for lan.tls = "off"')
    if options.till == CONSOLE:
        raise ConfigError(f"{CONSOLE!r} is the box's own name for itself")
    print(TillBook(files_in(config).tills).pair(options.till))
    return 0


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", configured: argparse.ArgumentParser
) -> None:
    """Add the commands to the parser of `storebox`."""
    pair_command = commands.add_parser(
        "pair", parents=[configured], help="print a new token for a till, where there is no TLS"
    )
    pair_command.add_argument("--till", required=True, metavar="ID", help="the till's id, as in its sales")
    pair_command.set_defaults(command=pair)
