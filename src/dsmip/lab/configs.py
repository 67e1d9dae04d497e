"""The two configuration files a lab needs: one for its home agent, one for its mobile router."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from dsmip.lab import plan, protection
from dsmip.lab.uplinks import SINGLE, Uplink

IDENTIFIER = "mr1@example.org"
SPI = 4096

_HOME_AGENT = """role = "home-agent"
name = "{name}"
address = "{ha}"
ipv4_address = "{ha4}"
home_prefixes = ["{home}"]
ipv4_home_prefixes = ["{home4}"]
uplinks = ["eth0"]
home_link = "eth0"
state_directory = "{state}"

[[mobile_node]]
name = "mr1"
identifier = "{identifier}"
home_address = "{address}"
ipv4_home_address = "{address4}"
mobile_network_prefixes = ["{prefix}"]
ipv4_prefixes = ["{prefix4}"]
{authentication}"""

_MOBILE_ROUTER = """role = "mobile-router"
name = "{name}"
identifier = "{identifier}"
home_agent = "{ha}"
home_agent_ipv4 = "{ha4}"
home_address = "{address}"
home_prefix = "{home}"
ipv4_home_address = "{address4}/{length4}"
mobile_network_prefixes = ["{prefix}"]
ipv4_prefixes = ["{prefix4}"]
{authentication}lifetime = 600
state_directory = "{state}"
"""

_KEY = """spi = {spi}
key = "{key}"
"""

_IPSEC = """authentication = "ipsec"
"""

_INTERFACE = """
[[interface]]
name = "{name}"
manage = true
"""


def write(
    directory: Path,
    names: tuple[str, str],
    state: Path,
    uplinks: Sequence[Uplink] = SINGLE,
    policy: str = "",
    key: str = "",
    protect: str = protection.NOTHING,
) -> tuple[Path, Path]:
    """Write ha.toml and mr.toml and return their paths.

    `names` are those of the home agent and the mobile router; each keeps its state below `state`. `policy` is
    put at the end of mr.toml. Without a key (hexadecimal) a new one is drawn. `protect`: what is under ESP.
    """
    authentication = _IPSEC if protect else _KEY.format(spi=SPI, key=key or secrets.token_hex(16))
    values = {
        "ha": plan.HOME_AGENT,
        "ha4": plan.HOME_AGENT_IPV4,
        "home": plan.HOME_PREFIX,
        "home4": plan.IPV4_HOME_PREFIX,
        "address": plan.HOME_ADDRESS,
        "address4": plan.IPV4_HOME_ADDRESS,
        "length4": plan.IPV4_HOME_PREFIX.prefixlen,
        "prefix": plan.MOBILE_PREFIX,
        "prefix4": plan.IPV4_MOBILE_PREFIX,
        "identifier": IDENTIFIER,
        "authentication": authentication,
    }
    directory.mkdir(parents=True, exist_ok=True)
    paths = (directory / "ha.toml", directory / "mr.toml")
    for path, template, name in zip(paths, (_HOME_AGENT, _MOBILE_ROUTER), names, strict=True):
        path.touch(mode=0o600)
        path.write_text(template.format(name=name, state=state / name, **values), encoding="ascii")
    with paths[1].open("a", encoding="ascii") as file:
        for uplink in uplinks:
            file.write(_INTERFACE.format(name=uplink.interface))
            if len(uplinks) > 1:
                file.write(f"preference = {uplink.preference}\n")
        file.write(policy)
    for path, table in zip(paths, protection.tables(protect), strict=True):
        with path.open("a", encoding="ascii") as file:
            file.write(table)
    return paths
