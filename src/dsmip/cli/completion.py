"""`dsmip completion SHELL`: what the shell needs to complete commands, options and names of daemons.

The scripts know all commands and start no program while completing; only the names of running daemons are
looked up, in the run directory.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from dsmip.cli.command_tree import Argument, Command, tree
from dsmip.daemon.control import RUN_ROOT, SOCKET_NAME


def add_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], parser: argparse.ArgumentParser
) -> None:
    """Add the command to the program's parser, which is what it completes."""
    completion = commands.add_parser("completion", help="print the completion script for a shell")
    completion.add_argument("shell", choices=tuple(_SCRIPTS))

    def call(options: argparse.Namespace) -> int:
        print(_SCRIPTS[options.shell](tree(parser)), end="")
        return 0

    completion.set_defaults(call=call)


def _words(command: Command) -> list[str]:
    """What may come next: commands or choices, and options."""
    words = [below.path[-1] for below in command.commands]
    for argument in command.arguments:
        words += argument.flags or argument.choices
    return words


def _valued(command: Command) -> list[Argument]:
    """Options that take a value."""
    return [option for option in command.options if option.name]


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# bash ------------------------------------------------------------------------------------------------------


def bash(root: Command) -> str:
    """To be sourced, or put into /usr/share/bash-completion/completions/dsmip."""
    known = [" ".join(command.path) for command in root.walk() if command.path]
    lines = [
        '# Completion of dsmip for bash: eval "$(dsmip completion bash)"',
        "_dsmip_daemons() {",
        "    local socket",
        f"    for socket in {RUN_ROOT}/*/{SOCKET_NAME}; do",
        '        [ -S "$socket" ] && basename "$(dirname "$socket")"',
        "    done",
        "}",
        "_dsmip() {",
        '    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"',
        '    local path="" word words="" files="" daemons=""',
        '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
        '        case "${path:+$path }$word" in',
        "            " + "|".join(_quote(path) for path in known) + ') path="${path:+$path }$word" ;;',
        "        esac",
        "    done",
        '    case "$path|$previous" in',
    ]
    for command in root.walk():
        for option in _valued(command):
            pattern = "|".join(_quote(f"{' '.join(command.path)}|{flag}") for flag in option.flags)
            lines.append(f"        {pattern}) {_bash_value(option)} ;;")
    lines += ["        *)", '            case "$path" in']
    for command in root.walk():
        parts = [f"words={_quote(' '.join(_words(command)))}"]
        parts += [one for one in map(_bash_value, command.positionals) if not one.startswith("words=")]
        lines.append(
            f"                {_quote(' '.join(command.path))}) {'; '.join(dict.fromkeys(parts))} ;;"
        )
    lines += [
        "            esac ;;",
        "    esac",
        '    [ -n "$daemons" ] && words="$words $(_dsmip_daemons)"',
        '    COMPREPLY=($(compgen -W "$words" -- "$current"))',
        '    [ -n "$files" ] && COMPREPLY+=($(compgen -f -- "$current"))',
        "    return 0",
        "}",
        "complete -o filenames -F _dsmip dsmip",
    ]
    return "\n".join(lines) + "\n"


def _bash_value(argument: Argument) -> str:
    if argument.choices:
        return f"words={_quote(' '.join(argument.choices))}"
    if argument.is_path:
        return "files=yes"
    return "daemons=yes" if argument.is_instance else "words=''"


# zsh -------------------------------------------------------------------------------------------------------


def zsh(root: Command) -> str:
    """To be put into a directory of $fpath as _dsmip."""
    lines = [
        "#compdef dsmip",
        '# Completion of dsmip for zsh: dsmip completion zsh > "${fpath[1]}/_dsmip"',
        "_dsmip_daemons() {",
        "    local -a found",
        f"    found=({RUN_ROOT}/*/{SOCKET_NAME}(N=:h:t))",
        "    compadd -a found",
        "}",
    ]
    for command in root.walk():
        lines += _zsh_function(command)
    lines += ['if [ "$funcstack[1]" = "_dsmip" ]; then _dsmip "$@"; else compdef _dsmip dsmip; fi']
    return "\n".join(lines) + "\n"


def _zsh_name(path: tuple[str, ...]) -> str:
    return "_".join(("_dsmip", *path)).replace("-", "_")


def _zsh_function(command: Command) -> list[str]:
    lines = [f"{_zsh_name(command.path)}() {{"]
    specs = [_zsh_option(option, flag) for option in command.options for flag in option.flags]
    if command.commands:
        specs += ["'1: :->command'", "'*:: :->arguments'"]
    else:
        specs += [_zsh_positional(argument) for argument in command.positionals]
    lines.append('    local curcontext="$curcontext" state line')
    lines.append("    _arguments -C \\\n        " + " \\\n        ".join(specs) + " && return 0")
    if command.commands:
        lines += [
            '    case "$state" in',
            "        command)",
            "            local -a commands",
            "            commands=(",
        ]
        for below in command.commands:
            lines.append(f"                {_quote(below.path[-1] + ':' + below.text.replace(':', ''))}")
        lines += ["            )", "            _describe command commands ;;", "        arguments)"]
        lines.append('            case "$words[1]" in')
        for below in command.commands:
            lines.append(f"                {below.path[-1]}) {_zsh_name(below.path)} ;;")
        lines += ["            esac ;;", "    esac"]
    return [*lines, "}"]


def _zsh_text(text: str) -> str:
    return text.replace("[", "(").replace("]", ")").replace(":", " -")


def _zsh_option(option: Argument, flag: str) -> str:
    value = f":{_zsh_text(option.name)}:{_zsh_action(option)}" if option.name else ""
    return _quote(f"{flag}[{_zsh_text(option.text)}]{value}")


def _zsh_positional(argument: Argument) -> str:
    number = "*" if argument.many or argument.rest else ":" if argument.optional else ""
    return _quote(f"{number}:{_zsh_text(argument.name)}:{_zsh_action(argument)}")


def _zsh_action(argument: Argument) -> str:
    if argument.choices:
        return f"({' '.join(argument.choices)})"
    if argument.is_path:
        return "_files"
    return "_dsmip_daemons" if argument.is_instance else " "


# fish ------------------------------------------------------------------------------------------------------


def fish(root: Command) -> str:
    """To be put into ~/.config/fish/completions/dsmip.fish."""
    lines = [
        "# Completion of dsmip for fish: dsmip completion fish > ~/.config/fish/completions/dsmip.fish",
        "function __dsmip_daemons",
        f"    for socket in {RUN_ROOT}/*/{SOCKET_NAME}",
        "        test -S $socket; and basename (dirname $socket)",
        "    end",
        "end",
        "function __dsmip_at",
        "    # Whether the words so far lead to just this command.",
        "    set -l path",
        "    for word in (commandline -opc)[2..-1]",
        '        contains -- "$path $word" $__dsmip_paths; and set path "$path $word"',
        "    end",
        '    test "$path" = "$argv[1]"',
        "end",
        "set -g __dsmip_paths " + " ".join(_quote(_fish_path(c)) for c in root.walk() if c.path),
        "complete -c dsmip -f",
    ]
    for command in root.walk():
        condition = f"-n {_quote('__dsmip_at ' + _quote(_fish_path(command)))}"
        for below in command.commands:
            lines.append(f"complete -c dsmip {condition} -a {below.path[-1]} -d {_quote(below.text)}")
        for argument in command.arguments:
            lines.append(f"complete -c dsmip {condition} {_fish_argument(argument)}".rstrip())
    return "\n".join(lines) + "\n"


def _fish_path(command: Command) -> str:
    return "".join(f" {word}" for word in command.path)


def _fish_argument(argument: Argument) -> str:
    parts = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in argument.flags]
    if argument.name and argument.flags:
        parts.append("-r")
    if argument.choices:
        parts.append(f"-a {_quote(' '.join(argument.choices))}")
    elif argument.is_path:
        parts.append("-F")
    elif argument.is_instance:
        parts.append("-a '(__dsmip_daemons)'")
    if argument.text:
        parts.append(f"-d {_quote(argument.text)}")
    return " ".join(parts)


_SCRIPTS: dict[str, Callable[[Command], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
