"""What is missing is named, with the mend."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dsmip.dataplane import bpf, features, libbpf, tun


@pytest.mark.root
def test_nothing_is_missing_here_and_nothing_changes() -> None:
    before = Path("/proc/net/dev").read_text().count("\n")
    assert features.probe() == []
    assert Path("/proc/net/dev").read_text().count("\n") == before


def test_missing_things_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(features, "OBJECT", tmp_path / "dsmip.bpf.o")
    monkeypatch.setattr(features, "TUN_PATH", str(tmp_path / "tun"))
    monkeypatch.setattr(features, "kernel_version", lambda: (5, 10))
    monkeypatch.setattr(libbpf, "LIBRARY", "libbpf.so.none")
    libbpf.library.cache_clear()
    found = {problem.name: problem.mend for problem in features.probe()}
    libbpf.library.cache_clear()
    assert {"eBPF program", tun.TUN_PATH, "kernel", "libbpf"} - {"/dev/net/tun"} <= set(found)
    assert "modprobe tun" in found[str(tmp_path / "tun")]
    assert f"make -C {tmp_path}" in found["eBPF program"]
    assert "5.15" in found["kernel"]
    assert "libbpf1" in found["libbpf"]


def test_kernel_versions_of_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    for release, version in (
        ("6.1.0-28-amd64", (6, 1)),
        ("5.15.0-126-generic", (5, 15)),
        ("6.18.44-fc", (6, 18)),
    ):
        monkeypatch.setattr(os, "uname", lambda r=release: type("Uname", (), {"release": r}))
        assert bpf.kernel_version() == version
