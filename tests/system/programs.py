"""Debian's programs without installing them: unpacked beside, to be laid over a container's file system.

Installed, NetworkManager or dhcpcd would take over the machine that the tests run on.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from tests.guest.kernel import run

CACHE = Path(__file__).resolve().parents[2] / "build" / "programs"
PLACES = ("usr", "etc", "var")
_NEW = re.compile(r"^Inst (\S+) \((\S+) ", re.MULTILINE)


def fetch(*packages: str, cache: Path = CACHE) -> Path:
    """Where these packages, and what they depend on and this machine lacks, are unpacked: a root with
    PLACES.

    Raises Unavailable when they cannot be had.
    """
    simulated = run("apt-get", "--simulate", "--no-install-recommends", "install", *packages)
    wanted = [f"{name}={version}" for name, version in _NEW.findall(simulated)]
    root = cache / hashlib.sha256("\n".join(sorted(wanted)).encode()).hexdigest()[:16]
    if root.exists():
        return root
    fresh = root.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    archives = fresh / "archives"
    archives.mkdir(parents=True)
    for directory in PLACES:
        (fresh / directory).mkdir()
    if wanted:
        run("apt-get", "download", "-q", *wanted, cwd=archives)
    for archive in archives.glob("*.deb"):
        unpacked = fresh / archive.stem
        run("dpkg-deb", "-x", str(archive), str(unpacked))
        for directory in ("bin", "sbin", "lib"):  # links to those in /usr on every machine of today
            if (unpacked / directory).is_dir():
                shutil.copytree(
                    unpacked / directory, fresh / "usr" / directory, symlinks=True, dirs_exist_ok=True
                )
        for directory in PLACES:
            if (unpacked / directory).is_dir():
                shutil.copytree(unpacked / directory, fresh / directory, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(unpacked)
    shutil.rmtree(archives)
    # In place only when complete: an interrupted download is begun anew.
    fresh.rename(root)
    return root
