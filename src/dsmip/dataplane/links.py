"""Programs as links on an interface, without qdisc and filters around them (tcx, Linux 6.6).

A link is pinned, by interface and direction, so it holds without a process; it ends with its interface, whose
number may be another one's then: a link says which interface it is on.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from dsmip.dataplane import libbpf

#: Seconds between tries to attach where a link of ours has still to end, and until they are given up. It ends
#: some milliseconds after its pin has gone, later when the kernel is busy.
_PAUSE = 0.005
_PATIENCE = 1.0

_TYPES = {libbpf.TC_INGRESS: libbpf.TCX_INGRESS, libbpf.TC_EGRESS: libbpf.TCX_EGRESS}


class Links:
    """Implements `attachment.Hooks`; `pins` is where links are pinned, a directory of a bpffs."""

    def __init__(self, pins: Path) -> None:
        self._pins = pins

    def program_at(self, ifindex: int, point: int) -> int | None:
        """See `attachment.Hooks`."""
        link = self._open(ifindex, point)
        if link is None:
            return None
        try:
            info = libbpf.link_info(link)
        finally:
            os.close(link)
        return int(info.program) if info.ifindex == ifindex else None

    def put(self, ifindex: int, point: int, program: int) -> None:
        """See `attachment.Hooks`."""
        link = self._open(ifindex, point)
        if link is not None:
            try:
                if libbpf.link_info(link).ifindex == ifindex:
                    libbpf.link_update(link, program)
                    return
            finally:
                os.close(link)
        self.take(ifindex, point)
        self._pins.mkdir(parents=True, exist_ok=True)
        link = self._create(ifindex, point, program)
        try:
            libbpf.pin(link, self._path(ifindex, point))
        finally:
            os.close(link)

    def take(self, ifindex: int, point: int) -> None:
        """See `attachment.Hooks`."""
        link = self._open(ifindex, point)
        if link is None:
            return
        try:
            # Taking the pin away would detach it as well, but some time later.
            libbpf.link_detach(link)
        finally:
            os.close(link)
        self._path(ifindex, point).unlink(missing_ok=True)

    def _create(self, ifindex: int, point: int, program: int) -> int:
        """A new link. While there is one with the same program, whose pin somebody has removed, another is
        refused; that one is about to end.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return libbpf.link_create(program, ifindex, _TYPES[point])
            except libbpf.KernelRefusal as refusal:
                if refusal.number != errno.EEXIST or time.monotonic() >= deadline:
                    raise
            time.sleep(_PAUSE)

    def _open(self, ifindex: int, point: int) -> int | None:
        path = self._path(ifindex, point)
        return libbpf.pinned(path) if path.exists() else None

    def _path(self, ifindex: int, point: int) -> Path:
        return self._pins / f"{ifindex}-{'in' if point == libbpf.TC_INGRESS else 'out'}"
