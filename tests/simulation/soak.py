"""`python -m tests.simulation.soak --seconds 600`: seeds nobody has played yet, until the time is over."""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.simulation.shrink import shrink
from tests.simulation.simulation import Failure, play

#: Seconds between two lines about how it goes.
_REPORT = 30.0

#: Failures after which there is enough to do.
_ENOUGH = 5


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 when every seed held, 1 when one did not."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--first-seed", type=int, help="begin here instead of anywhere")
    options = parser.parse_args(arguments)
    first = options.first_seed if options.first_seed is not None else random.SystemRandom().randrange(10**9)
    began = reported = time.monotonic()
    used = time.process_time()
    seed, handovers, failures = first, 0, 0
    while time.monotonic() - began < options.seconds and failures < _ENOUGH:
        try:
            handovers += play(seed, full_maps=seed % 8 == 7).handovers
        except Failure as failure:
            failures += 1
            print(shrink(failure), flush=True)
        seed += 1
        now = time.monotonic()
        if now - reported >= _REPORT:
            reported = now
            print(f"simulation: {seed - first} seeds, {handovers} handovers, {failures} failures", flush=True)
    rate = handovers / max(time.process_time() - used, 1e-9) * 60
    print(
        f"simulation: seeds {first} to {seed - 1}, {handovers} handovers, {rate:.0f} a minute of processor "
        f"time, {failures} failures"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
