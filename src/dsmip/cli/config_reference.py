"""The configuration files as their schema describes them: tables, keys, types, defaults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from dsmip.daemon.config.help import KEYS
from dsmip.daemon.config.keys import Key
from dsmip.daemon.config.observation import ListenAddress
from dsmip.daemon.config.schema import DnsName, HomeAgentFile, HomeAgentPlace, IPv4Home, MobileNodeFile
from dsmip.daemon.config.uplinks import Network

_WORDS: dict[Any, str] = {
    Key: "hexadecimal digits",
    IPv4Home: 'IPv4 address with prefix length, or "dynamic"',
    HomeAgentPlace: 'IPv6 address, DNS name, or "discover"',
    DnsName: "DNS name",
    ListenAddress: "address and port",
    Network: "IPv4 or IPv6 prefix",
    Path: "path",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One key. `default` is how it would be written, "" when the key is required or has none."""

    name: str
    kind: str
    default: str
    required: bool
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """One table: "" is the top of the file."""

    header: str
    text: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class File:
    """One kind of file."""

    title: str
    roles: str
    sections: tuple[Section, ...]


def files() -> tuple[File, ...]:
    """Both kinds."""
    return (
        File("Home agent", 'role = "home-agent"', tuple(_sections(HomeAgentFile))),
        File(
            "Mobile node and mobile router",
            'role = "mobile-node" or "mobile-router"',
            tuple(_sections(MobileNodeFile)),
        ),
    )


def _sections(
    schema: type[msgspec.Struct], header: str = "", about: str = "", path: str = ""
) -> Iterator[Section]:
    inner = []
    entries = []
    for field in msgspec.structs.fields(schema):
        described = inspect.type_info(field.type)
        table, many = _table(described)
        text = KEYS.get(schema, {}).get(field.name, "")
        if table is not None:
            name = f"{path}{field.name}"
            inner.append((table, f"[[{name}]]" if many else f"[{name}]", text, f"{name}."))
            continue
        entries.append(
            Entry(field.name, _kind(described), _default(field), required=field.required, text=text)
        )
    yield Section(header, about, tuple(entries))
    for table, name, text, within in inner:
        yield from _sections(table, name, text, within)


def schemas(schema: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """A table and all tables in it."""
    yield schema
    for field in msgspec.structs.fields(schema):
        table, _ = _table(inspect.type_info(field.type))
        if table is not None:
            yield from schemas(table)


def _table(described: inspect.Type) -> tuple[type[msgspec.Struct] | None, bool]:
    """The table a key stands for, and whether there may be many."""
    if isinstance(described, inspect.UnionType):
        described = next(one for one in described.types if not isinstance(one, inspect.NoneType))
    if isinstance(described, inspect.StructType):
        return described.cls, False
    if isinstance(described, inspect.VarTupleType | inspect.ListType) and isinstance(
        described.item_type, inspect.StructType
    ):
        return described.item_type.cls, True
    return None, False


def _kind(described: inspect.Type) -> str:
    """A type in words, with its range."""
    match described:
        case inspect.UnionType():
            kinds = [_kind(one) for one in described.types if not isinstance(one, inspect.NoneType)]
            return " or ".join(kinds)
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType():
            return " or ".join(f'"{value}"' for value in described.values)
        case inspect.VarTupleType() | inspect.ListType():
            return f"array: {_kind(described.item_type)}"
        case inspect.IntType():
            bounded = described.ge is not None
            return f"whole number, {described.ge} to {described.le}" if bounded else "whole number"
        case inspect.FloatType():
            return "number above 0" if described.gt == 0 else "number"
        case inspect.StrType():
            return "text"
        case inspect.CustomType():
            return _WORDS.get(described.cls) or _address(described.cls)
        case _:
            raise TypeError(f"no words for {described}")


def _address(kind: type) -> str:
    """ "IPv6 address" for IPv6Address, "text" for what has no words yet."""
    name = kind.__name__
    if not name.startswith("IPv"):
        return "text"
    return f"{name[:4]} {'prefix' if name.endswith('Network') else 'address'}"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required or field.default is msgspec.NODEFAULT or field.default in (None, ()):
        return ""
    value = field.default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | Path):
        return f'"{value}"' if value else ""
    return f"{value:g}" if isinstance(value, float) else str(value)


# Markdown --------------------------------------------------------------------------------------------------

_HEAD = """# Configuration

One TOML file a daemon. `dsmip check FILE` reports every error at once, each with its line. Unknown keys are
errors.
This page is made from the schema by `make docs`; `dsmip man dsmip.toml` prints the same as a manual page.
"""


def markdown() -> str:
    """docs/configuration.md."""
    parts = [_HEAD]
    for file in files():
        parts.append(f"## {file.title}\n\n`{file.roles}`\n")
        for section in file.sections:
            if section.header:
                parts.append(f"### `{section.header}`\n\n{section.text}\n")
            lines = ["| key | value | default | |", "|---|---|---|---|"]
            for entry in section.entries:
                default = "required" if entry.required else f"`{entry.default}`" if entry.default else ""
                cells = (f"`{entry.name}`", entry.kind, default, entry.text)
                lines.append(f"| {' | '.join(map(_cell, cells))} |")
            parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
