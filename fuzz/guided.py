"""One target under atheris, which watches what an input reaches: `python -m fuzz.guided TARGET ARGUMENTS`.

The arguments are libFuzzer's. The process ends when libFuzzer does, with its status.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["dsmip"], enable_loader_override=False):
    from fuzz.targets import TARGETS


def main() -> None:
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
