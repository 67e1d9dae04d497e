"""`python -m tests.simulation --seed 1234`: plays one seed, and shrinks it when asked to."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.shrink import shrink
from tests.simulation.simulation import Failure, play


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 when the seed holds, 1 when it does not."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, help="only this much of the schedule")
    parser.add_argument("--nodes", help="only these mobile nodes: 0,3,7")
    parser.add_argument(
        "--full-maps", action="store_true", help="with home agents that have no room at times"
    )
    parser.add_argument(
        "--shrink", action="store_true", help="look for a shorter schedule that fails as well"
    )
    options = parser.parse_args(arguments)
    only = frozenset(int(number) for number in options.nodes.split(",")) if options.nodes else None
    began = time.process_time()
    try:
        result = play(options.seed, steps=options.steps, only=only, full_maps=options.full_maps)
    except Failure as failure:
        found = shrink(failure) if options.shrink else failure
        print(found)
        return 1
    used = time.process_time() - began
    rate = result.handovers / used * 60
    print(result, f"in {used:.2f} s of processor time, {rate:.0f} handovers a minute")
    return 0


if __name__ == "__main__":
    sys.exit(main())
