"""`dsmip man`: the manual pages, made from the same definitions as `--help` and as the configuration."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from dsmip import __version__
from dsmip.cli.command_tree import Argument, Command, tree

#: Pages by name, each with its section.
PAGES = {"dsmip": 1, "dsmip.toml": 5}

_EXIT = (("0", "Fine."), ("1", "Failed: the message says why."), ("2", "Bad usage or configuration."))
_FILES = (
    ("/run/dsmip/NAME/control.sock", "Control socket of a running daemon: one JSON object a line."),
    ("/run/dsmip/bpf/NAME", "The pinned maps and programs of its data plane."),
    ("/var/lib/dsmip/NAME", "Bindings, replay state, known networks: what survives a restart."),
)

FAILED = 1


def add_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], parser: argparse.ArgumentParser
) -> None:
    """Add the command to the program's parser, which is what the manual is about."""
    manual = commands.add_parser("man", help="print a manual page, or write all of them")
    manual.add_argument(
        "page", nargs="?", choices=tuple(PAGES), default="dsmip", help="which (default: dsmip)"
    )
    manual.add_argument("--out", type=Path, metavar="DIR", help="write all pages to DIR/man1 and DIR/man5")
    manual.add_argument(
        "--markdown", action="store_true", help="print the configuration reference as Markdown"
    )

    def call(options: argparse.Namespace) -> int:
        from dsmip.cli.config_reference import markdown

        if options.markdown:
            print(markdown(), end="")
        elif options.out is not None:
            try:
                _write(options.out, tree(parser))
            except OSError as error:
                print(f"dsmip: {error.filename}: {error.strerror}", file=sys.stderr)
                return FAILED
        else:
            print(page(options.page, tree(parser)), end="")
        return 0

    manual.set_defaults(call=call)


def _write(out: Path, root: Command) -> None:
    for name, section in PAGES.items():
        directory = out / f"man{section}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.{section}").write_text(page(name, root), encoding="utf-8")


def page(name: str, root: Command) -> str:
    """One page in roff, for man(1)."""
    return _commands(root) if name == "dsmip" else _configuration()


def _commands(root: Command) -> str:
    lines = _head("dsmip", "Dual Stack Mobile IPv6")
    lines += [".SH SYNOPSIS"]
    for command in root.walk():
        if command.path and not command.commands:
            lines += [".br", f"\\fBdsmip {_escape(' '.join(command.path))}\\fR {_usage(command)}".rstrip()]
    lines += [".SH DESCRIPTION", _escape(root.text)]
    lines += [
        _escape("A daemon runs a home agent, a mobile node or a mobile router; the other commands ask it.")
    ]
    lines += [".SH OPTIONS", *_arguments(root.arguments), ".SH COMMANDS"]
    for command in root.walk():
        if command.path:
            lines += [f".SS dsmip {_escape(' '.join(command.path))}", _escape(_sentence(command.text))]
            lines += _arguments(command.arguments)
    lines += [".SH EXIT STATUS", *_list(_EXIT), ".SH FILES", *_list(_FILES)]
    lines += [".SH SEE ALSO", "\\fBdsmip.toml\\fR(5)"]
    return "\n".join(lines) + "\n"


def _configuration() -> str:
    from dsmip.cli.config_reference import files

    lines = _head("dsmip.toml", "configuration of a Dual Stack Mobile IPv6 daemon")
    lines += [".SH DESCRIPTION"]
    lines += [_escape('One TOML file a daemon, given to "dsmip run". Unknown keys are errors;')]
    lines += [_escape('"dsmip check" reports every error at once.')]
    for file in files():
        lines += [f".SH {_escape(file.title.upper())}", _escape(file.roles)]
        for section in file.sections:
            if section.header:
                lines += [f".SS {_escape(section.header)}", _escape(_plain(section.text))]
            for entry in section.entries:
                default = (
                    "required" if entry.required else f"default {entry.default}" if entry.default else ""
                )
                value = f"{entry.kind}; {default}" if default else entry.kind
                lines += [
                    ".TP",
                    f"\\fB{_escape(entry.name)}\\fR ({_escape(value)})",
                    _escape(_plain(entry.text)),
                ]
    lines += [".SH SEE ALSO", "\\fBdsmip\\fR(1)"]
    return "\n".join(lines) + "\n"


def _head(name: str, about: str) -> list[str]:
    section = PAGES[name]
    return [
        f'.TH "{name.upper()}" "{section}" "" "dsmip {__version__}" "dsmip manual"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_escape(name)} \\- {_escape(about)}",
    ]


def _usage(command: Command) -> str:
    parts = ["[\\fIoptions\\fR]"] if len(command.options) > 1 else []
    for argument in command.positionals:
        name = f"\\fI{_escape(argument.name)}\\fR"
        parts.append(f"[{name}]" if argument.optional else name)
    return " ".join(parts)


def _arguments(arguments: Iterable[Argument]) -> list[str]:
    """Definitions of arguments; that there is --help goes without saying."""
    lines: list[str] = []
    for argument in arguments:
        if "--help" in argument.flags or not argument.text:
            continue
        value = f"\\fI{_escape(argument.name)}\\fR" if argument.name else ""
        flags = ", ".join(f"\\fB{_escape(flag)}\\fR" for flag in argument.flags)
        lines += [".TP", " ".join(part for part in (flags, value) if part), _escape(_sentence(argument.text))]
    return lines


def _list(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [line for name, text in rows for line in (".TP", f"\\fB{_escape(name)}\\fR", _escape(text))]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".") if text else ""


def _plain(text: str) -> str:
    """Without the marks of Markdown."""
    return text.replace("`", "")


def _escape(text: str) -> str:
    """Text for roff: backslashes and hyphens as they are, no line that begins with a control character."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped
