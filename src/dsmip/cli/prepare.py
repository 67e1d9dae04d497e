"""`dsmip prepare`: what only root can do, done once, so that the daemon need not be root."""

from __future__ import annotations

import argparse
import os
import pwd
import sys

FAILED = 1


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    prepare = commands.add_parser(
        "prepare", help="as root: make ready what 'dsmip run' needs as another user (for service managers)"
    )
    prepare.add_argument(
        "--user", required=True, metavar="USER", help="who runs the daemon, by name or number"
    )
    prepare.set_defaults(call=_prepare)


def _prepare(options: argparse.Namespace) -> int:
    from dsmip.daemon.control import RUN_ROOT
    from dsmip.daemon.runtime import BPF_ROOT
    from dsmip.dataplane.api import DataPlaneError
    from dsmip.dataplane.bpffs import ensure_bpffs

    try:
        user = pwd.getpwuid(int(options.user)) if options.user.isdecimal() else pwd.getpwnam(options.user)
    except KeyError:
        print(f"dsmip: there is no user {options.user}", file=sys.stderr)
        return FAILED
    try:
        ensure_bpffs(BPF_ROOT)
        for path in (RUN_ROOT, BPF_ROOT):
            os.chown(path, user.pw_uid, user.pw_gid)
    except (DataPlaneError, OSError) as error:
        print(f"dsmip: {error}; run this as root", file=sys.stderr)
        return FAILED
    return 0
