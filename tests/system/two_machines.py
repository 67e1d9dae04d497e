"""What the configuration files of many tests begin with; `{state}` is left for the test to fill in."""

from __future__ import annotations

#: A home agent with IPv4 home addresses, and a laptop somebody else configures the interface of.
HOME_AGENT_OF_A_LAPTOP = """\
role = "home-agent"
name = "ha"
address = "2001:db8:ffff::1"
ipv4_address = "192.0.2.1"
uplinks = ["eth0"]
home_prefixes = ["2001:db8:100::/64"]
ipv4_home_prefixes = ["198.51.100.0/24"]
ipv4_pool = "198.51.100.128/25"
state_directory = "{state}/ha"

[[mobile_node]]
name = "laptop"
home_address = "2001:db8:100::20"
"""
LAPTOP = """\
role = "mobile-node"
name = "laptop"
home_agent = "2001:db8:ffff::1"
home_agent_ipv4 = "192.0.2.1"
home_address = "2001:db8:100::20"
home_prefix = "2001:db8:100::/64"
ipv4_home_address = "dynamic"
state_directory = "{state}/mn"
"""
WATCHED_INTERFACE = """
[[interface]]
name = "eth0"
manage = false
"""

_KEY = 'key = "6d6f62696c652d697076362d6b657921"\n'


def home_agent_on_two_links(name: str, *, ipv4: bool = False) -> str:
    """It serves bus-17; one link is eth0, the other eth1."""
    return (
        f'role = "home-agent"\nname = "{name}"\naddress = "2001:db8:ffff::1"\n'
        + ('ipv4_address = "192.0.2.1"\n' if ipv4 else "")
        + 'uplinks = ["eth0", "eth1"]\nhome_prefixes = ["2001:db8:100::/64"]\n'
        + 'state_directory = "{state}/ha"\n'
        + '\n[[mobile_node]]\nname = "bus-17"\nhome_address = "2001:db8:100::17"\n'
        + _KEY
    )


def bus(name: str, *, ipv4: bool = False) -> str:
    """The mobile node bus-17 of that home agent, without an interface."""
    return (
        f'role = "mobile-node"\nname = "{name}"\nidentifier = "bus-17"\nhome_agent = "2001:db8:ffff::1"\n'
        + ('home_agent_ipv4 = "192.0.2.1"\n' if ipv4 else "")
        + 'home_address = "2001:db8:100::17"\nhome_prefix = "2001:db8:100::/64"\n'
        + 'state_directory = "{state}/mn"\n'
        + _KEY
    )
