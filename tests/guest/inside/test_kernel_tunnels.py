"""The bench beside the kernel's own tunnels, which only such a kernel has; the figures are not looked at."""

from __future__ import annotations

from dsmip.bench import kernel_tunnels, throughput
from dsmip.bench.figures import Figure


def test_each_format_has_a_tunnel_of_the_kernel_beside_it() -> None:
    found: list[Figure] = []
    kernel_tunnels.measure(found.append, lambda _: None, repeat=1, seconds=0.05)
    assert {figure.name for figure in found} == {
        f"throughput/64 B packets {form.name} {direction}, beside the kernel's own"
        for form in throughput.FORMATS
        for direction in ("down", "up")
    }
    for figure in found:
        assert figure.value.minimum > 0
        assert figure.baseline is not None
        assert figure.baseline.minimum > 0
