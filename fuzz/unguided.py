"""One target under nothing but chance, where there is no atheris: `python -m fuzz.unguided TARGET SECONDS`.

Ends with status 1, a traceback and the input in fuzz/findings/ when the target raises or hangs.
"""

from __future__ import annotations

import hashlib
import math
import random
import signal
import sys
import time
from pathlib import Path

from fuzz.corpus import seeds
from fuzz.mutation import mutate
from fuzz.targets import TARGETS, Target

FINDINGS = Path(__file__).parent / "findings"

#: An input that takes longer is a finding, seconds.
_PATIENCE = 10
#: How often a seed is damaged at most. Damage without end would leave nothing to read.
_ROUNDS = 4


def run(name: str, target: Target, seed: int, *, seconds: float = math.inf, inputs: float = math.inf) -> int:
    """Try so many mutations, or for so long; their number. What the target raises, passes through."""
    source = random.Random(seed)
    start = list(seeds(name))
    end = time.monotonic() + seconds
    count = 0
    while count < inputs and time.monotonic() < end:
        data = source.choice(start)
        for _ in range(source.randint(1, _ROUNDS)):
            data = mutate(data, source)
        _try(name, target, data)
        count += 1
    return count


def _try(name: str, target: Target, data: bytes) -> None:
    survived = False
    signal.alarm(_PATIENCE)
    try:
        target(data)
        survived = True
    finally:
        signal.alarm(0)
        if not survived:
            FINDINGS.mkdir(exist_ok=True)
            digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
            (FINDINGS / f"{name}-crash-{digest}").write_bytes(data)


def _hangs(_signal: int, _frame: object) -> None:
    raise TimeoutError(f"an input took longer than {_PATIENCE} s")


def main() -> None:
    name, seconds = sys.argv[1], float(sys.argv[2])
    seed = random.SystemRandom().randrange(1 << 32)
    signal.signal(signal.SIGALRM, _hangs)
    count = run(name, TARGETS[name], seed, seconds=seconds)
    sys.stdout.write(f"{count} inputs, seed {seed}\n")


if __name__ == "__main__":
    main()
