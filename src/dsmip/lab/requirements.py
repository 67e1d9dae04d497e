"""Whether this machine can hold a lab: asked before anything is changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

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


#: For labs whose traffic is under ESP.
_ESP = {
    "IPsec (CONFIG_XFRM_USER, CONFIG_INET6_ESP, CONFIG_CRYPTO_GCM)": (
        "ip xfrm state add src ::1 dst ::2 proto esp spi 0x100 mode tunnel "
        f"aead 'rfc4106(gcm(aes))' 0x{bytes(20).hex()} 128"
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
        lines.extend(_missing_features(_FEATURES))
    return lines


def _missing_features(features: Mapping[str, str]) -> list[str]:
    script = "\n".join(
        f"{{ {command}; }} >/dev/null 2>&1 || echo '{feature}'" for feature, command in features.items()
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


def check_esp() -> None:
    """Raise LabError when this kernel has no ESP."""
    lines = _missing_features(_ESP)
    if lines:
        raise LabError("nothing can be under ESP here:\n" + "\n".join(f"  {line}" for line in lines))


def check() -> None:
    """Raise LabError naming everything that is missing, with its mend."""
    lines = missing()
    if lines:
        raise LabError("this machine cannot hold a lab:\n" + "\n".join(f"  {line}" for line in lines))
