"""`dsmip init`: the first configuration of a home agent."""

from __future__ import annotations

import argparse
from pathlib import Path

from dsmip.cli.provision import HOME_AGENT_FILE


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    init = commands.add_parser("init", help="write the first configuration of a home agent")
    roles = init.add_subparsers(dest="role", metavar="ROLE", required=True)
    text = "ask three questions, or take options, and write a configuration that works"
    agent = roles.add_parser("home-agent", help=text)
    agent.add_argument(
        "--uplink", metavar="INTERFACE", help="where mobile nodes come in (the default route's)"
    )
    agent.add_argument(
        "--prefix", metavar="PREFIX", help="IPv6 prefix routed to this machine, a /64 or larger"
    )
    agent.add_argument("--ipv4-network", metavar="NETWORK", help="IPv4 network routed to it: home addresses")
    agent.add_argument("--ipv4-prefixes", metavar="NETWORK", help="IPv4 network for those in vehicles")
    agent.add_argument("--address", metavar="ADDRESS", help="its own IPv6 address (the uplink's)")
    agent.add_argument("--ipv4-address", metavar="ADDRESS", help="its own IPv4 address (the uplink's)")
    agent.add_argument("--name", default="home-agent", help="of the daemon (home-agent)")
    agent.add_argument(
        "--out", type=Path, default=HOME_AGENT_FILE, metavar="FILE", help=f"({HOME_AGENT_FILE})"
    )
    agent.add_argument("--force", action="store_true", help="replace the file if there is one")
    agent.set_defaults(call=_init)


def _init(options: argparse.Namespace) -> int:
    # Imports the whole configuration: of no use to the other commands.
    from dsmip.cli.init_home_agent import init

    return init(options)
