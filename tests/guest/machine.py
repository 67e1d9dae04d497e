"""The virtual machine: one boot, one command.

No hardware virtualisation is asked for: the emulator translates (TCG), which is slow but works everywhere.
A boot takes some 10 to 30 s. The guest sees the host's root file system read-only, with whatever it writes
kept in its own memory; what is to outlive it goes to the shared directory, /run/shared in the guest.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.guest.kernel import CACHE, Kernel, Unavailable

EMULATOR = "qemu-system-x86_64"
BUSYBOX = Path("/bin/busybox")
INIT = Path(__file__).with_name("init.sh")
#: What it takes to mount the host's file systems; everything else is loaded when it is asked for.
BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
SHARED = Path("/run/shared")
#: Without what is slow to translate: wide registers, octets copied one by one, another level of page tables.
PROCESSOR = "max,-avx,-avx2,-erms,-la57,-smap"
#: The kernel's other clock is a device, emulated at each look at the time; the processor's is as steady as
#: the host's. There is nothing to harden in a guest of one command.
KERNEL_OPTIONS = (
    "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable "
    "init_on_alloc=0 apparmor=0 audit=0 nowatchdog"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the command: its exit status and everything it printed."""

    status: int
    output: str


class BootFailed(RuntimeError):
    """The guest did not get as far as running the command; the message has its console."""


def check() -> None:
    """Raises Unavailable when this machine has no emulator or no static busybox."""
    if shutil.which(EMULATOR) is None:
        raise Unavailable(f"{EMULATOR} is not installed (Debian package qemu-system-x86)")
    if not BUSYBOX.exists():
        raise Unavailable(f"{BUSYBOX} is not installed (Debian package busybox-static)")


def initramfs(kernel: Kernel) -> Path:
    """The file system of the first process: busybox, the modules to begin with, `init.sh`."""
    target = CACHE / f"initramfs-{kernel.release}"
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in ("bin", "proc", "sys", "dev", "modules"):
            (root / name).mkdir()
        shutil.copy(BUSYBOX, root / "bin" / "busybox")
        shutil.copy(INIT, root / "init")
        (root / "init").chmod(0o755)
        modules = kernel.modules(*BOOT_MODULES)
        for module in modules:
            shutil.copy(module, root / "modules" / module.name)
        (root / "modules" / "order").write_text("\n".join(module.name for module in modules) + "\n")
        names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*"))) + "\n"
        archive = subprocess.run(
            [str(BUSYBOX), "cpio", "-o", "-H", "newc"],
            input=names.encode(),
            capture_output=True,
            cwd=root,
            check=False,
        )
        if archive.returncode:
            raise Unavailable(f"cpio: {archive.stderr.decode(errors='replace').strip()}")
        target.write_bytes(archive.stdout)
    return target


def boot(
    kernel: Kernel,
    command: list[str],
    *,
    directory: Path,
    shared: Path,
    environment: Mapping[str, str] | None = None,
    memory: int = 2048,
    timeout: float = 900.0,
    niceness: int = 0,
) -> Outcome:
    """Run `command` in `directory` of a freshly booted guest.

    `shared` is the host's directory that the guest has as /run/shared. `memory` in MiB, `timeout` in seconds,
    `niceness` of the emulator.
    Raises BootFailed when the command did not run to its end.
    """
    check()
    (shared / "status").unlink(missing_ok=True)
    exports = "\n".join(
        f"export {name}={shlex.quote(value)}" for name, value in {**_PLAIN, **(environment or {})}.items()
    )
    script = f"{exports}\ncd {shlex.quote(str(directory))}\nexec {shlex.join(command)}\n"
    (shared / "command").write_text(script)
    console = shared / "console"
    with console.open("wb") as log:
        emulator = subprocess.Popen(
            ["nice", "-n", str(niceness), *_argv(kernel, shared, memory)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            emulator.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if emulator.poll() is None:
                emulator.kill()
                emulator.wait()
    output = shared / "output"
    text = output.read_text(errors="replace") if output.exists() else ""
    status = shared / "status"
    if not status.exists():
        raise BootFailed(f"console:\n{console.read_text(errors='replace')[-4000:]}\noutput:\n{text[-4000:]}")
    return Outcome(int(status.read_text()), text)


#: The guest starts with nothing: what a program can count on everywhere.
_PLAIN = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    # Bytecode would be written into memory for nothing.
    "PYTHONDONTWRITEBYTECODE": "1",
}


def _argv(kernel: Kernel, shared: Path, memory: int) -> list[str]:
    modules = kernel.root / "lib" / "modules" / kernel.release
    return [
        # It ends with whoever waits for it.
        *("setpriv", "--pdeathsig", "KILL", EMULATOR),
        *("-accel", "tcg,thread=multi", "-cpu", PROCESSOR),
        *("-smp", str(os.cpu_count() or 1), "-m", str(memory)),
        *("-kernel", str(kernel.image), "-initrd", str(initramfs(kernel))),
        *("-append", KERNEL_OPTIONS),
        *("-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"),
        *("-device", "virtio-rng-pci"),
        *_share("root", Path("/"), readonly=True),
        *_share("modules", modules, readonly=True),
        *_share("shared", shared, readonly=False),
    ]


def _share(tag: str, path: Path, *, readonly: bool) -> list[str]:
    options = f"local,path={path},mount_tag={tag},security_model=none,multidevs=remap"
    return ["-virtfs", options + (",readonly=on" if readonly else "")]
