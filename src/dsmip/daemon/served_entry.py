"""The engine's view of a mobile node's table in the configuration."""

from __future__ import annotations

from dsmip.core.types import MobileNodeEntry
from dsmip.daemon.config.schema import MobileNodeTable


def entry_of(table: MobileNodeTable) -> MobileNodeEntry:
    """What the engine has to know of it."""
    return MobileNodeEntry(
        home_address=table.home_address,
        name=table.name,
        identifier=table.identifier or table.name,
        authentication=table.authentication,
        spi=table.spi,
        key=table.key or b"",
        prefixes=table.mobile_network_prefixes,
        ipv4_home_address=table.ipv4_home_address,
        ipv4_prefixes=table.ipv4_prefixes,
        allow_dynamic_ipv4=table.allow_dynamic_ipv4,
        key_mobility=table.ike is not None,
    )
