"""The distribution's kernel, taken from its package without installing it.

It comes from where the machine's other packages come from. Unpacked and indexed it is kept under
`build/guest`, one directory a version, so that only the first boot pays for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / "build" / "guest"
METAPACKAGE = "linux-image-amd64"
#: Where Debian keeps administrators' programs, which may be missing from the path of whoever runs the tests.
ADMINISTRATION = "/usr/local/sbin:/usr/sbin:/sbin"


class Unavailable(RuntimeError):
    """No kernel or no emulator can be had on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel image and the root of its modules, `root`/lib/modules/`release`."""

    release: str
    root: Path

    @property
    def image(self) -> Path:
        """The file to boot."""
        return self.root / "boot" / f"vmlinuz-{self.release}"

    def modules(self, *names: str) -> list[Path]:
        """Files of these modules and of those they need, in the order in which to load them."""
        files: dict[Path, None] = {}
        for name in names:
            shown = run("modprobe", "-d", str(self.root), "-S", self.release, "--show-depends", name)
            for line in shown.splitlines():
                action, path, *_ = line.split()
                if action == "insmod":
                    files[Path(path)] = None
        return list(files)


def run(*argv: str, cwd: Path | None = None) -> str:
    """What a program prints. Raises Unavailable when it is missing or fails."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{ADMINISTRATION}"}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=cwd, env=environment)
    except FileNotFoundError as error:
        raise Unavailable(f"{argv[0]} is not installed") from error
    if done.returncode:
        raise Unavailable(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def fetch(cache: Path = CACHE) -> Kernel:
    """The newest kernel of the distribution, downloaded if it is not in the cache. Raises Unavailable."""
    package = _package()
    release = package.removeprefix("linux-image-")
    kernel = Kernel(release, cache / release)
    if kernel.image.exists():
        return kernel
    fresh = cache / f"{release}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    run("apt-get", "download", "-q", package, cwd=fresh)
    archive = next(fresh.glob("*.deb"))
    run("dpkg-deb", "-x", str(archive), str(fresh))
    archive.unlink()
    run("depmod", "-b", str(fresh), release)
    # In place only when complete: an interrupted download is begun anew.
    shutil.rmtree(kernel.root, ignore_errors=True)
    fresh.rename(kernel.root)
    return kernel


def _package() -> str:
    """The package of the kernel itself, on which the metapackage depends."""
    for line in run("apt-cache", "depends", METAPACKAGE).splitlines():
        words = line.split()
        if words[:1] == ["Depends:"] and words[1].startswith("linux-image-"):
            return words[1]
    raise Unavailable(f"{METAPACKAGE} depends on no kernel: are the package lists there (apt-get update)?")
