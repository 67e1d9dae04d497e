"""A machine: a container whose first process is the real systemd, in a network namespace of the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import dsmip
from tests.system.conftest import PREFIX, Namespaces, run, wait_until

_SETUP = Path(__file__).with_name("machine.sh")
UNITS = Path(__file__).parents[2] / "packaging" / "systemd"

#: Into a control group of its own, so that systemd has one to rule; then into namespaces of its own.
_START = """
mount -t cgroup2 cgroup2 /mnt && mkdir -p "/mnt/$1" && echo $$ > "/mnt/$1/cgroup.procs" && umount /mnt || exit
shift
exec unshare --pid --fork --kill-child --mount --uts --ipc --cgroup sh "$@"
"""
_CLEAN = 'mount -t cgroup2 cgroup2 /mnt && find "/mnt/$1" -depth -type d -exec rmdir {} +'

#: No more than what it takes: nothing that happens to be installed is started.
_TARGET = """\
[Unit]
Requires=sysinit.target dbus.socket
After=sysinit.target dbus.socket
"""

#: With this environment's Python; the process that says READY has to be the one systemd started.
_PROGRAM = """\
#!/bin/sh
PYTHONPATH=/opt/code PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 exec /opt/venv/bin/python -m dsmip "$@"
"""


class Machine:
    """`programs`: a root whose /usr, /etc and /var are laid over those of this machine."""

    def __init__(self, namespaces: Namespaces, node: str, programs: Path | None = None) -> None:
        self._namespaces = namespaces
        self._node = node
        self._programs = programs
        self._group = f"{PREFIX}{node}-{os.getpid()}"
        self._outer: subprocess.Popen[bytes] | None = None
        self._first = 0

    def boot(self) -> None:
        """Switch it on; the namespace has to be there."""
        place = self._namespaces.directory / f"machine-{self._node}"
        memory, usr, etc, var = (place / name for name in ("memory", "usr", "etc", "var"))
        for directory in (memory, usr / "bin", etc, var):
            directory.mkdir(parents=True)
        layers = str(usr)
        if self._programs is not None:
            layers += f":{self._programs / 'usr'}"
            for name, target in (("etc", etc), ("var", var)):
                shutil.copytree(self._programs / name, target, symlinks=True, dirs_exist_ok=True)
        program = usr / "bin" / "dsmip"
        program.write_text(_PROGRAM)
        program.chmod(0o755)
        units = etc / "systemd" / "system"
        units.mkdir(parents=True, exist_ok=True)
        (units / "machine.target").write_text(_TARGET)
        for unit in UNITS.glob("*.service"):
            shutil.copy(unit, units)
        (etc / "sysusers.d").mkdir(exist_ok=True)
        (etc / "sysusers.d" / "dsmip.conf").write_text((UNITS / "sysusers.conf").read_text())
        code = Path(dsmip.__file__).parents[1]
        given = map(str, (self._group, _SETUP, memory, layers, etc, var, sys.prefix, code))
        self._outer = self._namespaces.start(self._node, "unshare", "-m", "sh", "-c", _START, "start", *given)
        try:
            wait_until(self._booted, 60, "systemd is up")
            self.run("systemd-sysusers", "dsmip.conf")
            self.run("install", "-d", "-m", "750", "-g", "dsmip", "/etc/dsmip")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._namespaces.logs()}") from error

    def _booted(self) -> bool:
        assert self._outer is not None
        assert self._outer.poll() is None, "the container ended"
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        if not children:
            return False
        self._first = int(children[0])
        state = self.run("systemctl", "is-active", "machine.target", check=False)
        return state.stdout.strip() == "active"

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command, as in a shell of root's on this machine."""
        enter = ("nsenter", "--target", str(self._first), *("-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"))
        clean = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")
        return run(*enter, *clean, *argv, check=check)

    @property
    def root(self) -> Path:
        """Its file system, seen from here."""
        return Path(f"/proc/{self._first}/root")

    def show(self, unit: str, setting: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", setting, unit).stdout.strip()

    def journal(self, *options: str) -> str:
        return self.run("journalctl", "--no-pager", "-o", "short-monotonic", *options, check=False).stdout

    def close(self) -> None:
        """Switch it off; one that was not booted may be, too."""
        if self._outer is None:
            return
        self._outer.kill()
        self._outer.wait()
        deadline = time.monotonic() + 20
        while run("unshare", "-m", "sh", "-c", _CLEAN, "clean", self._group, check=False).returncode:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
