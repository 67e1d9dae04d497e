"""`dsmip provision`: mobile nodes of a home agent, added and removed with one command each."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dsmip.cli.table import table
from dsmip.daemon import durable
from dsmip.daemon.config.problems import ConfigError

if TYPE_CHECKING:
    from dsmip.daemon.provisioned import ProvisionedNode
    from dsmip.daemon.provisioning import Provisioning

FAILED = 1
BAD_CONFIG = 2

#: Where `dsmip init` puts a home agent's configuration, and where it is looked for.
HOME_AGENT_FILE = Path("/etc/dsmip/home-agent.toml")
#: A vehicle's uplink, if nobody says another.
_UPLINK = "wan0"


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the program's parser."""
    provision = commands.add_parser("provision", help="on a home agent: add mobile nodes, or remove them")
    verbs = provision.add_subparsers(dest="verb", metavar="VERB", required=True)

    add = verbs.add_parser(
        "add", help="allot addresses, prefixes and a key; print the vehicle's configuration"
    )
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "--uplink",
        action="append",
        metavar="INTERFACE",
        help=f"an interface of the vehicle to reach networks by, best first; may be repeated ({_UPLINK})",
    )
    add.add_argument(
        "--host", action="store_true", help="a mobile node without a network behind it, such as a laptop"
    )
    add.set_defaults(call=_guarded(_add))

    listing = verbs.add_parser("list", help="who is provisioned, with addresses and prefixes")
    listing.set_defaults(call=_guarded(_list))

    show = verbs.add_parser("show", help="print the vehicle's configuration again")
    show.add_argument("name", metavar="NAME")
    show.set_defaults(call=_guarded(_show))

    rotate = verbs.add_parser("rotate-key", help="make a new key; the old one is refused from now on")
    rotate.add_argument("name", metavar="NAME")
    rotate.add_argument(
        "--end-binding",
        action="store_true",
        help="the old key is in wrong hands: end the binding made with it, too (without, it lasts until its"
        " lifetime ends, time to bring the new configuration to the vehicle)",
    )
    rotate.set_defaults(call=_guarded(_rotate))

    remove = verbs.add_parser("remove", help="serve it no more; its addresses and prefixes are free again")
    remove.add_argument("name", metavar="NAME")
    remove.set_defaults(call=_guarded(_remove))

    for verb in (add, show, rotate):
        verb.add_argument("--out", type=Path, metavar="FILE", help="write it there, readable by you alone")
        verb.add_argument("--qr", action="store_true", help="print the configuration as a QR code as well")
    for verb in (add, listing, show, rotate, remove):
        verb.add_argument(
            "--config",
            type=Path,
            default=HOME_AGENT_FILE,
            metavar="FILE",
            help=f"the home agent's configuration ({HOME_AGENT_FILE})",
        )
        verb.add_argument("--json", action="store_true", help="print JSON")


def _guarded(verb: Any) -> Any:
    """A verb whose failures are one sentence each and an exit code."""

    def call(options: argparse.Namespace) -> int:
        from dsmip.daemon.allotment import PoolExhausted
        from dsmip.daemon.provisioning import ProvisionError, Provisioning

        try:
            verb(options, Provisioning(options.config))
        except ConfigError as error:
            print(error, file=sys.stderr)
            return BAD_CONFIG
        except (ProvisionError, PoolExhausted) as error:
            print(f"dsmip: {error}", file=sys.stderr)
            return FAILED
        except BrokenPipeError:
            raise
        except PermissionError as error:
            print(f"dsmip: {error.filename}: permission denied; run this as root", file=sys.stderr)
            return FAILED
        except OSError as error:
            print(f"dsmip: {error.filename}: {error.strerror}", file=sys.stderr)
            return FAILED
        return 0

    return call


def _add(options: argparse.Namespace, provisioning: Provisioning) -> None:
    role: Literal["mobile-node"] | None = "mobile-node" if options.host else None
    node = provisioning.add(options.name, role=role, uplinks=tuple(options.uplink or [_UPLINK]))
    _hand_over(options, provisioning, node)
    _tell(provisioning, f"serves {node.name} from now on", f"will serve {node.name} when it is started")


def _show(options: argparse.Namespace, provisioning: Provisioning) -> None:
    _hand_over(options, provisioning, provisioning.get(options.name))


def _rotate(options: argparse.Namespace, provisioning: Provisioning) -> None:
    node = provisioning.rotate_key(options.name, end_binding=options.end_binding)
    _hand_over(options, provisioning, node)
    _tell(
        provisioning, f"refuses the old key of {node.name} from now on", "is not running; the key is changed"
    )


def _remove(options: argparse.Namespace, provisioning: Provisioning) -> None:
    node = provisioning.remove(options.name)
    if options.json:
        print(json.dumps({**_row(node), "removed": True}, indent=2))
    _tell(provisioning, f"serves {node.name} no more", f"will not serve {node.name} any more")


def _list(options: argparse.Namespace, provisioning: Provisioning) -> None:
    nodes = provisioning.nodes()
    if options.json:
        print(json.dumps([_row(node) for node in nodes], indent=2))
        return
    if not nodes:
        print("nobody is provisioned: 'dsmip provision add NAME' does it")
        return
    rows = [
        (
            node.name,
            node.role,
            str(node.home_address),
            str(node.ipv4_home_address or "-"),
            ", ".join(map(str, (*node.mobile_network_prefixes, *node.ipv4_prefixes))) or "-",
            time.strftime("%Y-%m-%d", time.localtime(node.key_created)),
        )
        for node in nodes
    ]
    print(table(("NAME", "ROLE", "HOME ADDRESS", "IPV4", "PREFIXES", "KEY OF"), rows))


def _hand_over(options: argparse.Namespace, provisioning: Provisioning, node: ProvisionedNode) -> None:
    """Print the vehicle's configuration in the form that is wanted."""
    text = provisioning.vehicle_file(node)
    if options.out is not None:
        _write(options.out, text, node.name)
    if options.json:
        print(json.dumps({**_row(node), "config": text}, indent=2))
        return
    if options.out is None:
        print(text, end="")
    if options.qr:
        _print_qr(text)


def _write(path: Path, text: str, name: str) -> None:
    try:
        durable.write(path, text.encode(), keep_owner=True)
    except OSError as error:
        again = f"'dsmip provision show {name}' prints it"
        print(f"dsmip: {path} cannot be written: {error.strerror}; {again}", file=sys.stderr)


def _print_qr(text: str) -> None:
    import segno

    # Comments and empty lines only make it larger.
    short = "\n".join(line for line in text.splitlines() if line and not line.startswith("#")) + "\n"
    sys.stdout.write("\n")
    segno.make(short, error="l", micro=False).terminal(sys.stdout, compact=True)


def _tell(provisioning: Provisioning, served: str, stored: str) -> None:
    """On standard error, so that the configuration can go into a file."""
    name = provisioning.config.name
    print(f"home agent {name} {served if provisioning.served else stored}", file=sys.stderr)


def _row(node: ProvisionedNode) -> dict[str, Any]:
    """Everything but the key."""
    return {
        "name": node.name,
        "role": node.role,
        "home_address": str(node.home_address),
        "ipv4_home_address": str(node.ipv4_home_address) if node.ipv4_home_address else None,
        "mobile_network_prefixes": [str(prefix) for prefix in node.mobile_network_prefixes],
        "ipv4_prefixes": [str(prefix) for prefix in node.ipv4_prefixes],
        "uplinks": list(node.uplinks),
        "created": node.created,
        "key_created": node.key_created,
    }
