"""Imports point downwards only: docs/architecture.md draws what this enforces."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import dsmip

ROOT = Path(dsmip.__file__).parent

#: What each layer may import besides itself.
ALLOWED: dict[str, set[str]] = {
    "wire": set(),
    "core": {"wire"},
    "movement": {"wire", "core"},
    "dataplane": {"wire", "core"},
    "store": {"wire", "core"},
    "host": {"wire", "core", "movement"},
    "daemon": {"wire", "core", "movement", "dataplane", "store", "host"},
    "lab": {"wire"},
    "bench": {"wire", "core", "dataplane", "store", "daemon", "lab"},
    "cli": {"wire", "core", "dataplane", "store", "host", "daemon", "lab", "bench"},
}

#: Layers that are pure: no sockets, clocks, files, processes or tasks.
PURE = ("wire", "core", "movement")
IMPURE_MODULES = {
    "asyncio",
    "fcntl",
    "logging",
    "multiprocessing",
    "os",
    "select",
    "signal",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}


@functools.cache
def _imports(path: Path) -> frozenset[str]:
    """Names of the modules a file imports, "dsmip.core" for dsmip.core.types."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            found.add(module)
            # What is named may be a module too.
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def _files(layer: str) -> list[Path]:
    return sorted((ROOT / layer).rglob("*.py"))


@pytest.mark.parametrize("layer", sorted(ALLOWED))
def test_layer_imports_downwards_only(layer: str) -> None:
    files = _files(layer)
    assert files
    for path in files:
        for module in _imports(path):
            parts = module.split(".")
            if parts[0] == "dsmip" and len(parts) > 1 and parts[1] in ALLOWED:
                assert parts[1] == layer or parts[1] in ALLOWED[layer], f"{path} imports {module}"


def test_no_files_import_in_a_circle() -> None:
    """Not even for the type checker, or inside a function."""
    paths = {
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in ROOT.rglob("*.py")
    }
    try:
        TopologicalSorter({name: _imports(path) & paths.keys() for name, path in paths.items()}).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("layer", PURE)
def test_pure_layers_do_no_input_or_output(layer: str) -> None:
    for path in _files(layer):
        touched = {module.split(".")[0] for module in _imports(path)} & IMPURE_MODULES
        assert not touched, f"{path} imports {sorted(touched)}"


@pytest.mark.parametrize(
    ("package", "rooms"),
    [
        ("textual", {"cli/watch_screen.py"}),
        ("prometheus_client", {"daemon/metrics.py"}),
    ],
)
def test_packages_of_extras_stay_in_their_room(package: str, rooms: set[str]) -> None:
    """Daemons and commands run without them."""
    importers = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if any(module.split(".")[0] == package for module in _imports(path))
    }
    assert importers == rooms


def test_commands_that_only_ask_start_quickly() -> None:
    """Without what takes long to import and serves daemons only."""
    code = "import sys, dsmip.cli.main; dsmip.cli.main.parser(); print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "dsmip.daemon.control" in loaded
    assert not loaded & {"asyncio", "msgspec", "pyroute2", "dsmip.core", "dsmip.wire", "dsmip.host"}


def test_every_package_has_its_rule() -> None:
    packages = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert packages == set(ALLOWED)
