"""`dsmip lab` and `dsmip demo`: the virtual network, by hand or on tour."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

FAILED = 1
SHAPED = ("delay", "jitter", "loss", "rate")
_WIDTH = 140


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands to the program's parser."""
    lab = commands.add_parser("lab", help="a virtual network of namespaces, by hand")
    verbs = lab.add_subparsers(dest="verb", metavar="VERB", required=True)

    up = verbs.add_parser("up", help="build it, start a home agent and a mobile router in it")
    up.add_argument(
        "--at", default="home", metavar="NETWORK", help="where the mobile router is (default: home)"
    )
    up.add_argument(
        "--delay", type=float, default=0.0, metavar="MS", help="delay each way to the access networks"
    )
    up.add_argument(
        "--multihomed", action="store_true", help="Wi-Fi and two cellular links instead of one cable"
    )
    up.add_argument("--no-daemons", action="store_true", help="build the network only")
    up.set_defaults(call=_up)

    show = verbs.add_parser("show", help="nodes, networks, addresses, and where the mobile router is")
    show.add_argument("--json", action="store_true")
    show.set_defaults(call=_show)

    move = verbs.add_parser("move", help="plug the mobile router into another network")
    move.add_argument("network", metavar="NETWORK")
    move.add_argument("--uplink", default="", metavar="INTERFACE", help="which one (default: the first)")
    move.set_defaults(call=_move)

    link = verbs.add_parser(
        "link",
        help="what an uplink does: dsmip lab link lte0 down | up NETWORK | leave | silent | loss 5%%",
        description="down pulls the cable, up plugs it into a network, leave tells the mobile router that "
        "the link is about to end; silent leaves it up and lets every packet vanish, alive ends that; "
        "delay 50ms, jitter 5ms, loss 5%%, rate 20mbit shape it, each way.",
    )
    link.add_argument("uplink", metavar="INTERFACE")
    link.add_argument("what", choices=("down", "up", "leave", "silent", "alive", *SHAPED))
    link.add_argument("value", nargs="?", default="", help="for up where, for delay and the like how much")
    link.set_defaults(call=_link)

    execute = verbs.add_parser("exec", help="run a program in a node: dsmip lab exec host ping 192.0.2.200")
    execute.add_argument("node", metavar="NODE")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="PROGRAM ...")
    execute.set_defaults(call=_exec)

    down = verbs.add_parser("down", help="remove it")
    down.set_defaults(call=_down)
    for verb in (up, show, move, link, execute, down):
        verb.add_argument("--name", default="lab", help="name of the lab, if there are several")

    demo = commands.add_parser("demo", help="a tour through every kind of network, measured")
    demo.add_argument(
        "--tour",
        choices=("networks", "multihomed"),
        default="networks",
        help="networks: one uplink from network to network (default); multihomed: three links at once, "
        "handovers planned, by pulled cable and by silent death, flows on links of their own",
    )
    demo.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    demo.add_argument(
        "--out", type=Path, metavar="DIR", help="write result.json and the picture (.png, .svg) there"
    )
    demo.add_argument("--dwell", type=float, metavar="S", help="seconds after each move")
    demo.add_argument(
        "--protect",
        choices=("signalling", "all"),
        default="",
        help="under ESP (IPsec), with manual keys: Binding Updates, or these and all payload; needs a kernel "
        "with ESP; not with --tour multihomed",
    )
    demo.add_argument(
        "--pace", type=int, default=1, metavar="MS", help="milliseconds between packets, for slow machines"
    )
    demo.add_argument(
        "--patience", type=float, metavar="S", help="seconds until a move counts as failed (default: 15)"
    )
    demo.add_argument(
        "--delay", type=float, default=0.0, metavar="MS", help="delay each way to the access networks"
    )
    demo.set_defaults(call=_demo)


def _guarded(work: Any) -> int:
    """Run work that needs a lab; what goes wrong is one line, not a traceback."""
    from dsmip.lab.errors import LabError
    from dsmip.lab.lab import ended_in_order

    if os.geteuid() != 0:
        print("dsmip: the lab needs root (network namespaces and eBPF)", file=sys.stderr)
        return FAILED
    try:
        with ended_in_order():
            code: int = work()
    except LabError as error:
        print(f"dsmip: {error}", file=sys.stderr)
        return FAILED
    return code


def _console(*, stderr: bool = False) -> Any:
    """Where tables go: as wide as the terminal, wide enough for them in a file or a pipe."""
    from rich.console import Console

    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_WIDTH)


def _up(options: argparse.Namespace) -> int:
    from dsmip.lab.lab import Lab
    from dsmip.lab.uplinks import MULTIHOMED, SINGLE

    def work() -> int:
        uplinks = MULTIHOMED if options.multihomed else SINGLE
        lab = Lab.up(options.name, at=options.at, uplinks=uplinks, delay=options.delay / 1000, keep=True)
        if not options.no_daemons:
            try:
                lab.start_daemons()
            except BaseException:
                lab.down()
                raise
        print(f"lab {options.name!r} is up: dsmip lab show, dsmip lab move NETWORK, dsmip lab down")
        return 0

    return _guarded(work)


def _show(options: argparse.Namespace) -> int:
    from dsmip.lab.lab import Lab

    def work() -> int:
        shown = Lab.load(options.name).show()
        if options.json:
            print(json.dumps(shown, indent=2))
        else:
            from dsmip.lab import report

            _console().print(report.lab(shown))
        return 0

    return _guarded(work)


def _move(options: argparse.Namespace) -> int:
    from dsmip.lab.lab import Lab

    def work() -> int:
        Lab.load(options.name).move(options.network, options.uplink)
        return 0

    return _guarded(work)


def _link(options: argparse.Namespace) -> int:
    from dsmip.lab.lab import Lab
    from dsmip.lab.uplinks import parsed

    def work() -> int:
        lab, uplink = Lab.load(options.name), options.uplink
        match options.what:
            case "down":
                lab.unplug(uplink)
            case "up":
                lab.move(options.value, uplink)
            case "leave":
                lab.leave(uplink)
            case "silent" | "alive":
                lab.reshape(uplink, silent=options.what == "silent")
            case what:
                lab.reshape(uplink, **{what: parsed(what, options.value)})
        return 0

    return _guarded(work)


def _exec(options: argparse.Namespace) -> int:
    from dsmip.lab.lab import Lab

    if not options.argv:
        print("dsmip: name a program to run", file=sys.stderr)
        return 2
    return _guarded(lambda: Lab.load(options.name).exec(options.node, options.argv).returncode)


def _down(options: argparse.Namespace) -> int:
    from dsmip.lab.lab import Lab

    def work() -> int:
        Lab.load(options.name).down()
        return 0

    return _guarded(work)


def _demo(options: argparse.Namespace) -> int:
    if options.tour == "networks":
        return _networks(options)
    if options.protect:
        print("dsmip: --protect is for the tour of one uplink", file=sys.stderr)
        return 2
    return _multihomed(options)


def _networks(options: argparse.Namespace) -> int:
    from dsmip.lab import report, tour
    from dsmip.lab.lab import Lab

    console = _console(stderr=options.json)

    def work() -> int:
        console.print("building the lab: home agent, correspondent, seven access networks, a mobile router")
        name = f"demo{os.getpid()}"
        with Lab.up(name, delay=options.delay / 1000) as lab:
            lab.write_configs(protect=options.protect)
            lab.start_daemons()
            trip = tour.Tour(
                lab,
                dwell=options.dwell or tour.DWELL,
                patience=options.patience or tour.PATIENCE,
                listener=lambda progress: console.print(report.progress(progress)),
                pace=options.pace,
                protect=options.protect,
            )
            result = trip.run()
        if options.out is not None:
            for path in tour.write(result, options.out).values():
                console.print(f"wrote {path}")
        if options.json:
            print(json.dumps(result.as_json(), indent=2))
        else:
            console.print(report.tour(result))
        return FAILED if result.broken or result.failed or result.exposed else 0

    return _guarded(work)


def _multihomed(options: argparse.Namespace) -> int:
    from dsmip.lab.lab import Lab
    from dsmip.lab.multihomed import report, scenario, tour
    from dsmip.lab.uplinks import MULTIHOMED

    console = _console(stderr=options.json)

    def work() -> int:
        console.print("building the lab: home agent, correspondent, mobile router with Wi-Fi and two modems")
        name = f"demo{os.getpid()}"
        start = scenario.START.network
        with Lab.up(name, at=start, uplinks=MULTIHOMED, delay=options.delay / 1000) as lab:
            lab.write_configs(policy=scenario.POLICY)
            lab.start_daemons()
            trip = tour.Tour(
                lab,
                dwell=options.dwell or tour.DWELL,
                listener=lambda progress: console.print(report.progress(progress)),
            )
            found = trip.run()
        if options.out is not None:
            for path in tour.write(found, options.out).values():
                console.print(f"wrote {path}")
        if options.json:
            print(json.dumps(found.as_json(), indent=2))
        else:
            console.print(report.tour(found))
        return FAILED if found.broken or found.failed or found.missed else 0

    return _guarded(work)
