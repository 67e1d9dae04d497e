"""Settings under /proc/sys that are put back, all of them or those of one interface."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsmip.host import sysctl


def test_what_is_of_one_interface_is_put_back_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysctl, "_ROOT", tmp_path)
    for name in ("wlan0", "wlan01", "lte0"):
        (tmp_path / "net/ipv6/conf" / name).mkdir(parents=True)
        (tmp_path / "net/ipv6/conf" / name / "accept_ra").write_text("1\n")
    memory = tmp_path / "settings.json"
    settings = sysctl.Settings(memory)
    for name in ("wlan0", "wlan01", "lte0"):
        settings.set(f"net/ipv6/conf/{name}/accept_ra", 0)
    settings.restore("wlan0")
    assert [sysctl.read(f"net/ipv6/conf/{name}/accept_ra") for name in ("wlan0", "wlan01", "lte0")] == [
        "1",
        "0",
        "0",
    ]
    sysctl.Settings(memory).restore()  # after a crash
    assert [sysctl.read(f"net/ipv6/conf/{name}/accept_ra") for name in ("wlan01", "lte0")] == ["1", "1"]
    assert not memory.exists()
