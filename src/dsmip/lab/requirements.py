"""Whether this machine can hold a lab: asked before anything is changed."""

from __future__ import annotations

import os
import shutil
import subprocess

from dsmip.lab.errors import LabError

#: program -> Debian package
PROGRAMS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "nft": "nftables",
    "radvd": "radvd",
    "dnsmasq": "dnsmasq-base",
    "ping": "iputils-ping",
}

#: kernel feature -> shell command that needs it. Run in a nameless namespace that ends with the probe.
_FEATURES = {
    "virtual Ethernet pairs (CONFIG_VETH)": "ip link add name va type veth peer name vb",
    "bridges (CONFIG_BRIDGE)": "ip link add name br type bridge",
    "IPv6 (CONFIG_IPV6)": "test -d /proc/sys/net/ipv6",
    "nftables NAT (CONFIG_NFT_NAT, CONFIG_NFT_MASQ)": (
        "echo 'table ip t { chain c { type nat hook postrouting priority 100; "
        "masquerade random,fully-random; }; }' | nft -f -"
    ),
}


def missing() -> list[str]:
    """What this machine lacks, one line each with its mend; empty when nothing is lacking."""
    path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin:/sbin"
    absent = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    lines = [
        f"program {name} is not installed: install its package (apt-get install {PROGRAMS[name]})"
        for name in absent
    ]
    if os.geteuid() != 0:
        lines.append("network namespaces need root: run this as root (sudo)")
    if not lines:
        lines.extend(_missing_features())
    return lines


def _missing_features() -> list[str]:
    script = "\n".join(
        f"{{ {command}; }} >/dev/null 2>&1 || echo '{feature}'" for feature, command in _FEATURES.items()
    )
    probe = subprocess.run(
        ["unshare", "--net", "sh"], input=script, text=True, capture_output=True, check=False
    )
    if probe.returncode != 0:
        return [
            f"the kernel refuses a new network namespace ({probe.stderr.strip()}): run this on the machine "
            "itself or in a container with CAP_SYS_ADMIN, on a kernel with CONFIG_NET_NS"
        ]
    return [
        f"the kernel lacks {feature}: load the module or use a kernel that has it"
        for feature in probe.stdout.splitlines()
    ]


def check() -> None:
    """Raise LabError naming everything that is missing, with its mend."""
    lines = missing()
    if lines:
        raise LabError("this machine cannot hold a lab:\n" + "\n".join(f"  {line}" for line in lines))
