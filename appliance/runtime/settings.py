"""Read a TOML file into a frozen type: an unknown, missing or bad key stops the program and is named."""

import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from appliance.domain.errors import ConfigError

Settings = TypeVar("Settings")


def load_settings(path: Path, kind: type[Settings]) -> Settings:
    """The settings in a TOML file. Raises ConfigError that names the file and the key or line.

    `kind` is a msgspec Struct with forbid_unknown_fields; paths and nested tables are Structs and Paths in it.
    """
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return convert_settings(table, kind, origin=str(path))


def convert_settings(table: object, kind: type[Settings], *, origin: str) -> Settings:
    """The same for a table already parsed; `origin` names it in errors."""
    try:
        return msgspec.convert(table, kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {error}") from error


def _decode(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    # msgspec turns a TypeError into an error that names the key.
    raise TypeError(f"Expected `{kind.__name__.lower()}`, got `{type(value).__name__}`")
