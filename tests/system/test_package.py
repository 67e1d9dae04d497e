"""The wheel and the Debian package: built, and the latter installed on a layer over this machine."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from tests.system.conftest import run

PACKAGING = Path(__file__).parents[2] / "packaging" / "debian"


@pytest.mark.root
def test_the_debian_package_is_installed_used_and_purged(tmp_path: Path) -> None:
    """Half a minute, most of it to fetch the libraries and to pack them."""
    run(str(PACKAGING / "build"), sys.executable, str(tmp_path))
    (wheel,) = tmp_path.glob("dsmip-*.whl")
    with zipfile.ZipFile(wheel) as inside:
        assert {"dsmip/dataplane/dsmip.bpf.o", "dsmip/daemon/web.html"} <= set(inside.namelist())
    (package,) = tmp_path.glob("dsmip_*.deb")
    files = run("dpkg-deb", "--contents", str(package)).stdout
    for path in (
        *("systemd/system/dsmip@.service", "systemd/networkd.conf.d/50-dsmip.conf", "sysusers.d/dsmip.conf"),
        *("man/man1/dsmip.1.gz", "man/man5/dsmip.toml.5.gz", "bash-completion/completions/dsmip"),
    ):
        assert path in files
    told = run(str(PACKAGING / "check"), str(package), "here").stdout
    assert "/bus-17.toml: fine (mobile-router bus-17)" in told
    assert told.endswith("here: installed, ran a home agent, purged\n")
