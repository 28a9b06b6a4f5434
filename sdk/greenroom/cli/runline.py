"""The command line of `greenroom run`: options, FILE, ENTITY, inputs.

Read by a table of its own instead of click, which takes 25 ms to import: an eighth of a warm run (ADR 0072).
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from greenroom.cli.exits import Usage


class Flag(NamedTuple):
    """One option."""

    names: tuple[str, ...]
    metavar: str
    """What its value is called; empty for an option without one."""
    help: str
    many: bool = False
    """Whether it may be given several times."""
    choices: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name under which its value is found."""
        return self.names[-1].lstrip("-").replace("-", "_")


OPTIONS: Final = (
    Flag(("--hub",), "HUB", "local, ephemeral, a profile's name, or a URL"),
    Flag(("-p", "--project"), "NAME", "the project; else what pyproject.toml or the root folder is called"),
    Flag(("--name",), "NAME", "the execution's id"),
    Flag(("--label",), "K=V", "a label on the execution", many=True),
    Flag(("-e", "--env"), "K=V", "an environment variable for every call", many=True),
    Flag(("-i", "--image"), "[ENV=]IMAGE", "the image of environments that name none, or of one of them", many=True),
    Flag(("--inputs-file",), "FILE", "inputs as JSON or YAML; - for stdin"),
    Flag(("--overwrite-cache",), "", "run everything, and keep the new results"),
    Flag(("--deadline",), "SECONDS", "cancel it as timed out if it takes longer"),
    Flag(("--detach",), "", "print the execution's id, and leave it to the hub"),
    Flag(("--here",), "", "run in this process, without a hub"),
    Flag(("--strict",), "", "refuse what would be cut to this machine, or differs from the image"),
    Flag(("--no-alias",), "", "leave union and flytekit to the packages of these names"),
    Flag(("-o", "--output"), "FORM", "json (default) or text", choices=("json", "text")),
    Flag(("--save",), "DIR", "copy the files that it returns there"),
    Flag(("--logs",), "WHICH", "all (default), errors or none", choices=("all", "errors", "none")),
)

IGNORED: Final = (
    Flag(("-r", "--remote"), "", ""),
    Flag(("-d", "--domain"), "NAME", ""),
    Flag(("--wait",), "", ""),
    Flag(("--wait-execution",), "", ""),
    Flag(("--copy",), "WHAT", ""),
    Flag(("--copy-all",), "", ""),
    Flag(("--fast",), "", ""),
)
"""What people bring from pyflyte and union; all runs are remote, waited for, and bring their code."""

_BY_NAME: Final = {name: flag for flag in (*OPTIONS, *IGNORED) for name in flag.names}


class RunLine(NamedTuple):
    """A command line, taken apart."""

    options: dict[str, Any]
    ignored: tuple[str, ...]
    """No-ops, as they were typed."""
    file: str
    rest: tuple[str, ...]
    """What follows FILE: ENTITY, if there is one, and its inputs."""
    help: bool = False
    """Whether help on `run` itself is asked for."""

    def pairs(self, key: str) -> dict[str, str]:
        """The values of an option that takes `K=V`.

        Raises:
            Usage: One has no `=`.
        """
        pairs = {}
        for text in self.options.get(key, ()):
            name, sign, value = text.partition("=")
            if not sign or not name:
                raise Usage(f"--{key} {text}: expected K=V")
            pairs[name] = value
        return pairs


def parse(arguments: Sequence[str]) -> RunLine:
    """Take a command line apart. Options before FILE are ours; what follows it is the entity's.

    Raises:
        Usage: An option that is none, or without its value; no FILE.
    """
    options: dict[str, Any] = {}
    ignored: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word in ("--help", "-h"):
            return RunLine(options, (), "", (), help=True)
        if word == "--" and words:
            word = words.pop(0)
        elif word.startswith("-") and word != "-":
            flag, value = _option(word, words)
            if flag in IGNORED:
                ignored.append(word.partition("=")[0])
            elif flag.many:
                options.setdefault(flag.key, []).append(value)
            else:
                options[flag.key] = value
            continue
        return RunLine(options, tuple(ignored), word, tuple(words))
    raise Usage("no FILE: greenroom run [OPTIONS] FILE [ENTITY] [INPUTS]; greenroom run --help tells more")


def _option(word: str, words: list[str]) -> tuple[Flag, Any]:
    name, sign, value = word.partition("=")
    flag = _BY_NAME.get(name)
    if flag is None and not word.startswith("--") and len(word) > 2 and word[:2] in _BY_NAME:
        flag, name, sign, value = _BY_NAME[word[:2]], word[:2], "=", word[2:]  # -pNAME
    if flag is None:
        close = get_close_matches(name, _BY_NAME, 1)
        raise Usage(f"no such option: {name}{f'; did you mean {close[0]}?' if close else ''} (greenroom run --help)")
    if not flag.metavar:
        if sign:
            raise Usage(f"{name} takes no value, got {value!r}")
        return flag, True
    if not sign:
        if not words:
            raise Usage(f"{name} needs a value: {flag.metavar}")
        value = words.pop(0)
    if flag.choices and value not in flag.choices:
        raise Usage(f"{name} {value}: expected one of {', '.join(flag.choices)}")
    return flag, value


def is_option(word: str) -> bool:
    """Whether a word is an option of `run` itself, for whoever typed it behind FILE."""
    return word.partition("=")[0] in _BY_NAME


def help_text() -> str:
    """What `greenroom run --help` prints."""
    lines = [
        "usage: greenroom run [OPTIONS] FILE [ENTITY] [INPUTS]",
        "",
        "Run a workflow or a task of FILE (a Python file, or a module) on the hub, and print its result as JSON.",
        "ENTITY may be left out where FILE has only one workflow. Inputs are --name VALUE, lists and objects as JSON,",
        "files as paths, booleans as --name or --no-name.",
        "",
        "  greenroom run FILE --help            the workflows and tasks of FILE",
        "  greenroom run FILE ENTITY --help     its inputs, types and defaults",
        "",
        "options",
    ]
    names = [f"{', '.join(flag.names)}{' ' + flag.metavar if flag.metavar else ''}" for flag in OPTIONS]
    widest = max(map(len, names))
    lines += [f"  {name:<{widest}}  {flag.help}" for name, flag in zip(names, OPTIONS, strict=True)]
    lines += [
        "",
        "exit codes: 0 succeeded, 1 the user's code failed, 2 usage, 3 hub or infrastructure,",
        "4 cancelled or timed out, 130 interrupted. --remote, --wait, --copy and -d are taken and have no effect.",
    ]
    return "\n".join(lines)
