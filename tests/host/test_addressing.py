"""Addresses of visited networks in the kernel."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from dsmip.host.addressing import Addressing
from dsmip.lab import namespaces

NAMESPACE = "dsmip-ad-node"


@pytest.fixture
def uplink() -> Iterator[None]:
    """An interface u0 with a carrier, in a namespace of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with contextlib.suppress(Exception):
        namespaces.batch([f"netns del {NAMESPACE}"])
    namespaces.batch([f"netns add {NAMESPACE}"])
    try:
        namespaces.batch(
            ["link add u0 type veth peer name u1", *(f"link set {name} up" for name in ("lo", "u0", "u1"))],
            NAMESPACE,
        )
        settings = {"ipv6/conf/u0/optimistic_dad": 1, "ipv6/conf/u0/use_optimistic": 1}
        namespaces.set_sysctls(NAMESPACE, settings)
        yield
    finally:
        namespaces.batch([f"netns del {NAMESPACE}"])


@contextlib.contextmanager
def nothing_else_runs() -> Iterator[None]:
    """No worker of the kernel has this thread's CPU before the thread waits for something."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize("dad", [True, False], ids=["optimistic", "unchecked"])
def test_an_answer_to_what_leaves_at_once_is_received(uplink: None, dad: bool) -> None:
    address = IPv6Address("2001:db8:1::1")

    def received() -> bytes:
        addressing = Addressing()
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver, nothing_else_runs():
            receiver.setblocking(False)
            receiver.bind(("::", 4191))
            addressing.add_address(
                socket.if_nametoindex("u0"), address, 64, valid=100, preferred=100, metric=100, dad=dad
            )
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"answer", (str(address), 4191))
            addressing.close()
            return receiver.recv(16)

    assert namespaces.call(NAMESPACE, received) == b"answer"
