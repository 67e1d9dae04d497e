"""strongSwan's IKE daemon in a namespace, and a certificate authority by hand."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.system.conftest import Namespaces, run, wait_until

CONFIGURATION = """\
charon-systemd {{
    load_modular = no
    install_routes = no
    filelog {{
        log {{
            path = {directory}/charon.log
            default = 1
            flush_line = yes
        }}
    }}
    plugins {{
        vici {{
            socket = unix://{directory}/charon.vici
        }}
    }}
}}
"""
#: No service manager starts it here.
PROGRAM = "/usr/sbin/charon-systemd"


class Charon:
    """One instance, with a socket of its own; started by `start`, and again after `kill` or `stop`."""

    def __init__(self, namespaces: Namespaces, node: str, directory: Path) -> None:
        self.directory = directory / f"charon-{node}"
        self.directory.mkdir()
        self._namespaces = namespaces
        self._node = node
        self._process: subprocess.Popen[bytes] | None = None
        (self.directory / "strongswan.conf").write_text(CONFIGURATION.format(directory=self.directory))

    @property
    def vici(self) -> Path:
        return self.directory / "charon.vici"

    @property
    def log(self) -> str:
        path = self.directory / "charon.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        self.vici.unlink(missing_ok=True)
        configuration = f"STRONGSWAN_CONF={self.directory}/strongswan.conf"
        self._process = self._namespaces.start(self._node, "env", configuration, PROGRAM)
        wait_until(self.vici.exists, 60, f"charon of {self._node} listens")

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """It dies, and tells nobody; what it put into the kernel stays."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def stop(self) -> None:
        """It says good-bye to its peers."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)


def authority(directory: Path, name: str) -> Path:
    """A new authority; its certificate is `name`.pem."""
    key, certificate = directory / f"{name}.key", directory / f"{name}.pem"
    _new_key(key)
    run(
        *("openssl", "req", "-x509", "-new", "-key", str(key), "-subj", f"/CN={name}", "-days", "30"),
        *("-addext", "keyUsage=critical,keyCertSign", "-out", str(certificate)),
    )
    return certificate


def certificate(directory: Path, authority: str, identity: str) -> str:
    """The three keys of `[ike]` for somebody that this authority vouches for."""
    name = f"{authority}-{identity}"
    key, request, signed = (directory / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
    extensions = directory / f"{name}.cnf"
    extensions.write_text(f"subjectAltName=DNS:{identity}\nkeyUsage=digitalSignature\n")
    _new_key(key)
    run("openssl", "req", "-new", "-key", str(key), "-subj", f"/CN={identity}", "-out", str(request))
    run(
        *("openssl", "x509", "-req", "-in", str(request), "-CA", str(directory / f"{authority}.pem")),
        *("-CAkey", str(directory / f"{authority}.key"), "-CAcreateserial", "-days", "30"),
        *("-extfile", str(extensions), "-out", str(signed)),
    )
    return (
        f'certificate = "{signed}"\nprivate_key = "{key}"\nca = "{directory / authority}.pem"\n'
        f'identity = "{identity}"\n'
    )


def _new_key(path: Path) -> None:
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(path))
    path.chmod(0o600)
