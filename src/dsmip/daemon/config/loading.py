"""The configuration files, read from TOML and checked whole.

`load` returns a checked `HomeAgentFile` or `MobileNodeFile`, or raises one `ConfigError` that carries every
problem found, each with its key path and line.
"""

from __future__ import annotations

import tomllib
from ipaddress import IPv6Address
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from dsmip.daemon import durable
from dsmip.daemon.config import flow_rules, pool_rules
from dsmip.daemon.config import rules as config_rules
from dsmip.daemon.config.keys import Key
from dsmip.daemon.config.problems import ConfigError, Problem, Problems, locate
from dsmip.daemon.config.schema import (
    ConfigFile,
    HomeAgentFile,
    HomeAgentTable,
    MobileNodeFile,
    MobileNodeTable,
)
from dsmip.daemon.config.uplinks import FlowTable, InterfaceTable, NetworkTable

_ROWS: dict[str, type[msgspec.Struct]] = {
    "mobile_node": MobileNodeTable,
    "interface": InterfaceTable,
    "network": NetworkTable,
    "flow": FlowTable,
    "other_home_agent": HomeAgentTable,
}

_ROLES: dict[str, type[ConfigFile]] = {
    "home-agent": HomeAgentFile,
    "mobile-node": MobileNodeFile,
    "mobile-router": MobileNodeFile,
}


def load(path: Path) -> ConfigFile:
    """Read and check a configuration file. One that anybody could have written is refused.

    Raises ConfigError with every problem found.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if durable.anybody_writes(path):
            raise ConfigError(path, [Problem("", None, f"can be written by everybody: chmod o-w {path}")])
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, [Problem("", None, f"cannot be read: {error}")]) from error
    return parse(text, path)


def exposed_keys(config: ConfigFile, path: Path) -> str | None:
    """What to say if there are keys in the file for everybody to read, None if there are not."""
    tables = config.mobile_node if isinstance(config, HomeAgentFile) else (config,)
    if all(_is_keyless(table) for table in tables) or not durable.anybody_reads(path):
        return None
    return f"{path} has keys in it and can be read by everybody: chmod o-r {path}"


def _is_keyless(table: MobileNodeTable | MobileNodeFile) -> bool:
    shared = table.ike.psk if table.ike is not None else None
    return all(one is None for one in (table.key, table.ipsec, table.payload, shared))


def parse(text: str, path: Path) -> ConfigFile:
    """Check the text of a configuration file; `path` is only named in errors.

    Raises ConfigError with every problem found.
    """
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: a number of thousands of digits and a thousand nested arrays end here too.
        raise ConfigError(path, [Problem("", None, f"is not TOML: {error}")]) from error
    problems = Problems(lambda: locate(text))
    role = tree.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        choices = ", ".join(_ROLES)
        problems.add("role", f"must be one of {choices}" + ("" if role is None else f", not {role!r}"))
        raise ConfigError(path, problems.found)
    schema = _ROLES[role]
    try:
        config = msgspec.convert(tree, schema, dec_hook=decode, strict=True)
    except msgspec.ValidationError as error:
        # That names the first mistake alone; now all of them are wanted.
        _check_table(schema, tree, "", problems)
        if not problems.found:
            problems.add("", str(error))
        raise ConfigError(path, problems.found) from None
    if isinstance(config, HomeAgentFile):
        config_rules.check_home_agent(config, problems)
        pool_rules.check_pools(config, problems)
    else:
        config_rules.check_mobile_node(config, problems)
        flow_rules.check_uplinks(config, problems)
    if problems.found:
        raise ConfigError(path, problems.found)
    return config


def decode(kind: type, value: object) -> object:
    """Build the types msgspec does not know; ValueError becomes a msgspec.ValidationError."""
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {type(value).__name__}")
    if kind is Key:
        try:
            return Key(bytes.fromhex(value))
        except ValueError:
            raise ValueError("expected hexadecimal digits") from None
    if kind is IPv6Address and "%" in value:
        raise ValueError("an address with a zone is not allowed here")
    return kind(value)


def _check_table(schema: type[msgspec.Struct], table: dict[str, Any], where: str, problems: Problems) -> None:
    """Check each key by itself, so that one mistake does not hide the next."""
    fields = {field.name: field for field in msgspec.structs.fields(schema)}
    for key in table:
        if key not in fields:
            near = config_rules.nearest(key, fields)
            problems.add(f"{where}{key}", "is not known" + (f"; did you mean {near!r}?" if near else ""))
    for name, field in fields.items():
        if name not in table:
            if field.required:
                problems.add(f"{where}{name}", "is missing")
            continue
        value = table[name]
        inner = _table_of(field.type)
        if inner is not None and isinstance(value, dict):
            _check_table(inner, value, f"{where}{name}.", problems)
            continue
        rows = _ROWS.get(name)
        if rows is not None and isinstance(value, list):
            for number, row in enumerate(value):
                if isinstance(row, dict):
                    _check_table(rows, row, f"{where}{name}[{number}].", problems)
                else:
                    problems.add(f"{where}{name}[{number}]", "must be a table")
            if not value and field.required:
                problems.add(f"{where}{name}", "needs at least one entry")
            continue
        if isinstance(value, list):
            _check_array(schema, name, value, f"{where}{name}", problems)
            continue
        _check_value(schema, name, value, f"{where}{name}", problems)


def _table_of(kind: object) -> type[msgspec.Struct] | None:
    """The schema of a key that stands for one table."""
    kinds = (kind,) if get_origin(kind) not in (Union, UnionType) else get_args(kind)
    tables = (one for one in kinds if isinstance(one, type) and issubclass(one, msgspec.Struct))
    return next(tables, None)


def _check_array(
    schema: type[msgspec.Struct], name: str, value: list[Any], where: str, problems: Problems
) -> None:
    """Check the elements one by one, then the array as a whole."""
    before = len(problems.found)
    for number, element in enumerate(value):
        _check_value(schema, name, [element], f"{where}[{number}]", problems)
    if len(problems.found) == before:
        _check_value(schema, name, value, where, problems)


def _check_value(
    schema: type[msgspec.Struct], name: str, value: object, where: str, problems: Problems
) -> None:
    kind = next(field.type for field in msgspec.structs.fields(schema) if field.name == name)
    try:
        msgspec.convert(value, kind, dec_hook=decode, strict=True)
    except msgspec.ValidationError as error:
        problems.add(where, str(error).split(" - at `")[0])
