"""The program's commands and options as data, read off the argument parser.

Help texts, completion and manual pages are all made from this, so none of them can tell anything else.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Argument:
    """An option (`flags` not empty) or a positional argument."""

    flags: tuple[str, ...]
    name: str  #: what stands for the value in texts; "" = takes none
    text: str
    choices: tuple[str, ...] = ()
    is_path: bool = False
    is_instance: bool = False
    optional: bool = False
    many: bool = False
    rest: bool = False  #: everything that follows belongs to it


@dataclass(frozen=True, slots=True)
class Command:
    """A command; `path` is () for the program itself and ("lab", "up") for `dsmip lab up`."""

    path: tuple[str, ...]
    text: str
    arguments: tuple[Argument, ...]
    commands: tuple[Command, ...]

    def walk(self) -> Iterator[Command]:
        """This command and all below it."""
        yield self
        for command in self.commands:
            yield from command.walk()

    @property
    def options(self) -> tuple[Argument, ...]:
        """Arguments that begin with a dash."""
        return tuple(argument for argument in self.arguments if argument.flags)

    @property
    def positionals(self) -> tuple[Argument, ...]:
        """Arguments that do not."""
        return tuple(argument for argument in self.arguments if not argument.flags)


def tree(parser: argparse.ArgumentParser) -> Command:
    """All commands of a parser."""
    return _command(parser, (), parser.description or "")


def _command(parser: argparse.ArgumentParser, path: tuple[str, ...], text: str) -> Command:
    arguments = []
    commands: list[Command] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            commands = [_command(p, (*path, name), helps.get(name, "")) for name, p in action.choices.items()]
        elif action.help != argparse.SUPPRESS:
            arguments.append(_argument(action))
    return Command(path, text, tuple(arguments), tuple(commands))


def _argument(action: argparse.Action) -> Argument:
    takes_value = action.nargs != 0
    choices = tuple(str(choice) for choice in action.choices or ())
    metavar = action.metavar if isinstance(action.metavar, str) else None
    name = metavar or ("|".join(choices) if choices else action.dest.upper())
    return Argument(
        flags=tuple(action.option_strings),
        name=name if takes_value else "",
        text=_text(action),
        choices=choices,
        is_path=action.type is Path,
        is_instance=action.dest == "instance" or metavar == "INSTANCE",
        optional=action.nargs in ("?", "*") or bool(action.option_strings and not action.required),
        many=action.nargs in ("*", "+"),
        rest=action.nargs == argparse.REMAINDER,
    )


def _text(action: argparse.Action) -> str:
    """The help text with its placeholders filled in."""
    return (action.help or "") % vars(action) if "%(" in (action.help or "") else (action.help or "")
