"""Runs all fuzz targets for a bounded time, or one input again.

    fuzz/run --seconds 300                                       every target, one after the other
    fuzz/run --seconds 60 --target home-agent                    one of them
    fuzz/run --target home-agent --input fuzz/findings/FILE      what a finding does

Besides the targets there is "oracles": tshark and scapy asked about messages that no test asks about.
Ends with status 1 if anything was found. The input is then in fuzz/findings/, and the last lines say how to
see it again.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from fuzz import corpus
from fuzz.targets import TARGETS
from fuzz.unguided import FINDINGS

_ROOT = Path(__file__).parent.parent
_LOGS = Path(__file__).parent / "logs"
ORACLES = "oracles"

#: Octets of the longest input: a packet; a story that does not take too long; more digits than Python makes
#: a number of, and more than a control request has.
_LONGEST = {"home-agent": 600, "mobile-node": 600, "configuration": 6000, "control": 6000, "http": 8192}
_LONGEST_PACKET = 1500

_NO_ATHERIS = (
    f"atheris is not installed for Python {sys.version_info.major}.{sys.version_info.minor}"
    " (pip install --require-hashes -r fuzz/requirements.lock): no coverage guides the inputs,"
    " they are mutated at random"
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="fuzz/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("--target", choices=[*TARGETS, ORACLES], help="only this one")
    parser.add_argument("--input", type=Path, help="run the target on this file, once")
    arguments = parser.parse_args()
    if arguments.input is not None:
        if arguments.target not in TARGETS:
            parser.error("--input needs --target")
        TARGETS[arguments.target](arguments.input.read_bytes())
        _say(f"{arguments.target}: nothing wrong with {arguments.input}")
        return 0
    guided = importlib.util.find_spec("atheris") is not None
    _say("coverage-guided by atheris" if guided else _NO_ATHERIS)
    names = [arguments.target] if arguments.target else [*TARGETS, ORACLES]
    found = [complaint for name in names for complaint in _fuzz(name, arguments.seconds / len(names), guided)]
    for complaint in found:
        _say(complaint)
    return 1 if found else 0


def _fuzz(name: str, seconds: float, guided: bool) -> list[str]:
    """Run one target; what was found, as lines to print."""
    _say(f"{name}: {seconds:.0f} s")
    if name == ORACLES:
        return _oracles(seconds)
    before = set(FINDINGS.glob("*"))
    if guided:
        place = corpus.write(name)
        command = [sys.executable, "-m", "fuzz.guided", name, str(place)]
        command += [f"-max_total_time={max(1, round(seconds))}", f"-artifact_prefix={FINDINGS}/{name}-"]
        command += [
            f"-max_len={_LONGEST.get(name, _LONGEST_PACKET)}",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
        ]
    else:
        command = [sys.executable, "-m", "fuzz.unguided", name, str(seconds)]
    FINDINGS.mkdir(exist_ok=True)
    status = _logged(name, command)
    new = sorted(set(FINDINGS.glob("*")) - before)
    complaints = [
        f"FOUND by {name}. Again: fuzz/run --target {name} --input {path.relative_to(_ROOT)}" for path in new
    ]
    if status and not new:
        complaints.append(f"FAILED: {name} ended with status {status}, see {_LOGS / name}.log")
    return complaints


def _oracles(seconds: float) -> list[str]:
    """Other seeds for the generated messages of tests/oracles until the time is over."""
    end = time.monotonic() + seconds
    source = random.SystemRandom()
    while time.monotonic() < end:
        seed = str(source.randrange(1 << 32))
        command = [sys.executable, "-m", "pytest", "-q", "tests/oracles", "-k", "generated"]
        if _logged(ORACLES, command, DSMIP_ORACLE_SEED=seed):
            again = f"DSMIP_ORACLE_SEED={seed} {' '.join(command)}"
            return [f"FOUND by {ORACLES}, see {_LOGS / ORACLES}.log. Again: {again}"]
    return []


def _logged(name: str, command: list[str], **environment: str) -> int:
    """Run with the output in a file; its last lines are shown if it fails."""
    _LOGS.mkdir(exist_ok=True)
    log = _LOGS / f"{name}.log"
    with log.open("wb") as file:
        status = subprocess.run(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            cwd=_ROOT,
            check=False,
        ).returncode
    if status:
        _say("\n".join(log.read_text(errors="replace").splitlines()[-25:]))
    return status


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
