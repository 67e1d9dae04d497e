"""Outer addresses that follow from a binding, or from a path."""

from __future__ import annotations

from collections.abc import Mapping

from dsmip.core.types import Binding, CareOfBinding, Nat, Path
from tests.simulation.data_plane import Source


def route_of(path: Path) -> tuple[object, ...]:
    """Where a path leads, without its end."""
    return (path.format, path.local, path.remote, path.local_port, path.remote_port)


def outer_sources(binding: Binding) -> list[Source]:
    """Where tunnelled packets of this binding come from."""
    return [source for entry in binding.care_ofs for source in _sources_of(entry)]


def sources_until(binding: Binding, deadlines: Mapping[int, float]) -> dict[Source, float]:
    """The same, and until when: two care-of addresses may share one."""
    until: dict[Source, float] = {}
    for entry in binding.care_ofs:
        for source in _sources_of(entry):
            until[source] = max(deadlines[entry.bid], until.get(source, 0.0))
    return until


def _sources_of(entry: CareOfBinding) -> list[Source]:
    """Behind a NAT they come out of the mapping that was seen. Without one the mobile node may choose how."""
    if entry.at_home:
        return []
    if entry.nat_source is None:
        return [(entry.care_of, 0)]
    mapped = (entry.nat_source.address, entry.nat_source.port)
    return [mapped] if entry.nat is Nat.DETECTED else [mapped, (entry.nat_source.address, 0)]
