"""What is special about the file: crashes, damage, foreign files, two processes."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import textwrap
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from msgspec.structs import replace

from dsmip.core.types import Binding, CareOfBinding, ReplayState, TunnelFormat
from dsmip.store.api import StoreError
from dsmip.store.sqlite import APPLICATION_ID, SqliteStore

HOME = IPv6Address("2001:db8:100::1234")
BINDING = Binding(
    home_address=HOME,
    index=1,
    care_ofs=(
        CareOfBinding(
            bid=0,
            care_of=IPv6Address("2001:db8:200::1"),
            format=TunnelFormat.IPV6,
            lifetime=420.0,
            updated=1_800_000_000.0,
            expires=1_800_000_420.0,
        ),
    ),
    sequence=1,
    created=1_800_000_000.0,
)
REPLAY = ReplayState(HOME, 1, 0xE5A1_B2C3_0000_0001, 1)

#: Writes bindings for ever and says after each flush how many are safe.
WRITER = """
import sys
from msgspec.structs import replace
from ipaddress import IPv6Address
from pathlib import Path
sys.path.insert(0, {tests!r})
from tests.store.test_sqlite import BINDING, REPLAY
from dsmip.store.sqlite import SqliteStore
store = SqliteStore(Path({path!r}))
number = 0
while True:
    number += 1
    home = IPv6Address(int(BINDING.home_address) + number)
    replay = replace(REPLAY, home_address=home, sequence=number)
    store.put(replace(BINDING, home_address=home, index=number), replay)
    store.flush()
    sys.stdout.write(str(number) + "\\n")
    sys.stdout.flush()
"""


def test_everything_acknowledged_survives_kill_minus_9(tmp_path: Path) -> None:
    path = tmp_path / "bindings.sqlite"
    source = textwrap.dedent(WRITER).format(tests=str(Path(__file__).parents[2]), path=str(path))
    writer = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = 0
    while acknowledged < 300:
        acknowledged = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    acknowledged = max([acknowledged, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    assert writer.wait() == -signal.SIGKILL
    writer.stdout.close()
    with SqliteStore(path) as store:
        bindings, replays = store.load()
    indices = {binding.index for binding in bindings}
    assert indices >= set(range(1, acknowledged + 1))
    # The one being written when the process died may be there or not, but never half.
    assert {state.sequence for state in replays} == indices
    assert len(indices) <= acknowledged + 1


def test_what_was_not_flushed_is_lost_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "bindings.sqlite"
    source = textwrap.dedent(WRITER).format(tests=str(Path(__file__).parents[2]), path=str(path))
    source = source.replace("    store.flush()\n", "")
    writer = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    while int(writer.stdout.readline()) < 50:
        pass
    writer.send_signal(signal.SIGKILL)
    writer.stdout.close()
    writer.wait()
    with SqliteStore(path) as store:
        assert store.load() == ([], [])


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bindings.sqlite"
    path.write_bytes(b"not at all a database, but long enough to have been one" * 20)
    with pytest.raises(StoreError, match=r"bindings\.sqlite is not a database: move it away"):
        SqliteStore(path)


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bindings.sqlite"
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE bookmarks (url TEXT)")
    foreign.commit()
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="database of another program"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bindings.sqlite"
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    newer.execute("PRAGMA user_version = 999")
    newer.close()
    with pytest.raises(StoreError, match="schema version 999"):
        SqliteStore(path)


def test_damage_inside_the_file_is_noticed_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "bindings.sqlite"
    with SqliteStore(path) as store:
        for number in range(200):
            home = IPv6Address(int(HOME) + number)
            store.put(replace(BINDING, home_address=home), ReplayState(home, number))
    octets = bytearray(path.read_bytes())
    octets[4096 * 2 : 4096 * 4] = b"\xa5" * 4096 * 2
    path.write_bytes(octets)
    with pytest.raises(StoreError, match=r"is damaged|cannot be used"):
        SqliteStore(path)


def test_a_record_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bindings.sqlite"
    with SqliteStore(path) as store:
        store.put(BINDING, REPLAY)
    database = sqlite3.connect(path)
    database.execute("UPDATE binding SET record = ?", (b"\x01\x02",))
    database.commit()
    database.close()
    with SqliteStore(path) as store, pytest.raises(StoreError, match="record that cannot be read"):
        store.load()


def test_a_second_process_is_turned_away(tmp_path: Path) -> None:
    path = tmp_path / "bindings.sqlite"
    with SqliteStore(path), pytest.raises(StoreError, match="in use by another process"):
        SqliteStore(path)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="check that its directory exists"):
        SqliteStore(tmp_path / "missing" / "bindings.sqlite")
