"""Which running daemon a question goes to: the one named, or the only one here that knows the answer."""

from __future__ import annotations

import argparse
from typing import Any

from dsmip.daemon.control import RUN_ROOT, ControlError, ask, instances


def add_instance(command: argparse.ArgumentParser) -> None:
    """The argument that names a daemon."""
    command.add_argument(
        "instance",
        nargs="?",
        help="name of the daemon (its `name` in the configuration), if several run here",
    )


def question(instance: str | None, command: str, **arguments: Any) -> Any:
    """The daemon's answer. Raises ControlError when there is none, or several could be meant."""
    return find(instance, command, **arguments)[1]


def find(instance: str | None, command: str, **arguments: Any) -> tuple[str, Any]:
    """The daemon's name and its answer. Raises ControlError when there is none, or several could be meant."""
    if instance is not None:
        return instance, ask(instance, command, **arguments)
    answers: dict[str, Any] = {}
    errors: list[str] = []
    for name in instances():
        try:
            answers[name] = ask(name, command, **arguments)
        except ControlError as error:
            errors.append(str(error))
    if len(answers) == 1:
        return next(iter(answers.items()))
    if not answers:
        raise ControlError(
            "; ".join(errors) if errors else f"no daemon is running here (looked in {RUN_ROOT})"
        )
    raise ControlError(f"several daemons run here: name one of {', '.join(answers)}")
