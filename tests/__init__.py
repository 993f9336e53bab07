"""Tests, by what they need: unit (nothing), integration (a disk, loopback), contract, simulation, e2e."""
