"""Network namespaces: running programs and functions inside them, without touching mounts.

`ip netns exec` gives the program a mount namespace of its own, where BPF objects it pins would vanish with
it. `nsenter --net=` and setns(2) change the network alone.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from dsmip.lab.errors import LabError

#: Where iproute2 keeps named namespaces.
NETNS = Path("/run/netns")
_CLONE_NEWNET = 0x40000000

T = TypeVar("T")


def path(namespace: str) -> Path:
    """The file that stands for a namespace."""
    return NETNS / namespace


def exists(namespace: str) -> bool:
    """Whether there is a namespace of this name."""
    return path(namespace).exists()


def command(namespace: str, argv: Iterable[str]) -> list[str]:
    """The command line that runs `argv` in a namespace; the process id stays that of the program."""
    return ["nsenter", f"--net={path(namespace)}", "--", *argv]


def call(namespace: str, function: Callable[[], T]) -> T:
    """Run a function in a namespace and return its result.

    It runs in a thread of its own, because a namespace belongs to a thread. Sockets it opens stay in the
    namespace. Raises what the function raises, and LabError when there is no such namespace.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            _enter(namespace)
            result.append(function())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, whatever it is
            failure.append(error)

    thread = threading.Thread(target=run, name=f"netns-{namespace}")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def _enter(namespace: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = os.open(path(namespace), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise LabError(f"there is no network namespace {namespace}") from error
    try:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise LabError(f"cannot enter network namespace {namespace}: {os.strerror(code)}")
    finally:
        os.close(descriptor)


def batch(lines: Iterable[str], namespace: str | None = None) -> None:
    """Run many `ip` commands in one process.

    Raises LabError with what `ip` said when one of them fails.
    """
    argv = ["ip", *(("-n", namespace) if namespace else ()), "-batch", "-"]
    feed(argv, "".join(f"{line}\n" for line in lines))


def feed(argv: list[str], text: str) -> None:
    """Run a command with `text` as its input. Raises LabError when it fails."""
    done = subprocess.run(argv, input=text, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)} failed: {(done.stderr or done.stdout).strip()}")


def set_sysctls(namespace: str, settings: Mapping[str, int]) -> None:
    """Write settings below /proc/sys/net of a namespace: path such as `ipv6/conf/all/forwarding` -> value."""

    def write() -> None:
        for key, value in settings.items():
            Path("/proc/sys/net", key).write_text(f"{value}\n", encoding="ascii")

    call(namespace, write)


def open_socket(namespace: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket that lives in a namespace."""
    return call(namespace, lambda: socket.socket(family, kind, protocol))


def holds(namespace: str, pid: int) -> bool:
    """Whether a process runs in this namespace (False when there is no such process or namespace)."""
    try:
        process, name = os.stat(f"/proc/{pid}/ns/net"), os.stat(path(namespace))
    except OSError:
        return False
    return (process.st_dev, process.st_ino) == (name.st_dev, name.st_ino)
