"""`python -m tests.guest COMMAND...`: run one command in a guest, from this directory; prints its output."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.guest import kernel, machine


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="dsmip-guest-") as shared:
        outcome = machine.boot(kernel.fetch(), sys.argv[1:], directory=Path.cwd(), shared=Path(shared))
    sys.stdout.write(outcome.output)
    return outcome.status


if __name__ == "__main__":
    sys.exit(main())
