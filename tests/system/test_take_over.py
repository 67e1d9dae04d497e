"""A link becomes dsmip's after the kernel has acted on a router advertisement of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.system.conftest import Namespaces, wait_until

pytestmark = pytest.mark.root

_TAKE_OVER = """
import sys
from pathlib import Path
from dsmip.host import autoconf, sysctl
autoconf.take_over("eth0", sysctl.Settings(Path(sys.argv[1])))
"""


def test_what_the_kernel_made_of_advertisements_goes(namespaces: Namespaces, tmp_path: Path) -> None:
    """Its on-link route to the home prefix would swallow Binding Updates sent from the next network."""
    namespaces.add("gw", "mn")
    namespaces.cable(("gw", "eth0"), ("mn", "eth0"))
    for node, name, value in (("gw", "forwarding", 1), ("mn", "accept_ra", 2)):
        namespaces.run(node, "sysctl", "-qw", f"net.ipv6.conf.eth0.{name}={value}")
    configuration = tmp_path / "radvd.conf"
    configuration.write_text(
        "interface eth0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4;"
        " prefix 2001:db8:100::/64 { }; };\n"
    )
    advertiser = ("radvd", "-C", str(configuration), "-n", "-m", "none", "-p", str(tmp_path / "radvd.pid"))
    namespaces.start("gw", *advertiser)

    def made() -> str:
        shown = (
            namespaces.run("mn", "ip", "-6", what, "show", "dev", "eth0").stdout for what in ("route", "addr")
        )
        return "".join(line for text in shown for line in text.splitlines() if "2001:db8:100:" in line)

    wait_until(lambda: made().count("2001:db8:100:") == 2, 20, "the kernel has a route and an address")
    namespaces.run("mn", sys.executable, "-c", _TAKE_OVER, str(tmp_path / "sysctl.json"))
    assert made() == ""
    assert "fe80::" in namespaces.run("mn", "ip", "-6", "addr", "show", "dev", "eth0").stdout
