"""`dsmip run` and `dsmip check`."""

from __future__ import annotations

import argparse
import gc
import sys

from dsmip.cli import log
from dsmip.daemon.config.problems import ConfigError

FAILED = 1
BAD_CONFIG = 2


def check(options: argparse.Namespace) -> int:
    """Report every error of a configuration file."""
    from dsmip.daemon.config.loading import exposed_keys
    from dsmip.daemon.provisioned import load_complete

    try:
        config = load_complete(options.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return BAD_CONFIG
    exposed = exposed_keys(config, options.config)
    if exposed is not None:
        print(f"warning: {exposed}", file=sys.stderr)
    print(f"{options.config}: fine ({config.role} {config.name})")
    return 0


def run(options: argparse.Namespace) -> int:
    """Run the role the file describes until SIGTERM or Ctrl-C."""
    # What a start makes stays: the collector would go through all of it again and again, which takes as long
    # as the start itself with a hundred thousand mobile nodes. The runtime turns it on again.
    gc.disable()
    from dsmip.daemon.config.loading import load
    from dsmip.daemon.process_memory import keep_large_blocks_apart

    keep_large_blocks_apart()
    try:
        config = load(options.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return BAD_CONFIG
    log.set_up(options.verbose)
    # The daemons import netlink and the data plane: heavy, and of no use to the other commands.
    import asyncio

    from dsmip.daemon.config.schema import HomeAgentFile
    from dsmip.daemon.home_agent.daemon import HomeAgentDaemon
    from dsmip.daemon.mobile_node.daemon import MobileNodeDaemon
    from dsmip.daemon.runtime import StartError
    from dsmip.dataplane.api import DataPlaneError
    from dsmip.host.routing import HostError
    from dsmip.store.api import StoreError

    try:
        daemon: HomeAgentDaemon | MobileNodeDaemon
        if isinstance(config, HomeAgentFile):
            daemon = HomeAgentDaemon(config, options.config.absolute())
        else:
            daemon = MobileNodeDaemon(config, options.config.absolute())
        asyncio.run(daemon.run(keep_forwarding=options.keep_forwarding))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return BAD_CONFIG
    except (StartError, DataPlaneError, HostError, StoreError) as error:
        for line in str(error).splitlines():
            print(f"dsmip: {line}", file=sys.stderr)
        return FAILED
    return 0
