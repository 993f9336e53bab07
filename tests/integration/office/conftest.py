"""Head office with boxes in two shops, and a technician of the first."""

from tests.integration.cloud.conftest import box, clock, world

__all__ = ["box", "clock", "world"]
