"""Who this till is, and where it may look."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from till.cloud import SALE_S
from till.sentences import Lang


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a command was told. Without a cloud the till sells through the box only.

    `box_token` and an http `box_url` are for a box without TLS; else the state's pairing says all.
    """

    state: Path
    till_id: str
    box_token: str | None = None
    cloud_url: str | None = None
    cloud_token: str | None = None
    box_url: str | None = None
    interfaces: Sequence[str] = ()
    lang: Lang = "fr"
    cloud_timeout_s: float = SALE_S

    @property
    def plain(self) -> bool:
        """Whether the box is to be spoken to without TLS."""
        return self.box_url is not None and self.box_url.startswith("http://")
