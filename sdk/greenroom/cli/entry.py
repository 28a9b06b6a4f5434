"""`greenroom run`: from a command line to an execution that is watched to its end."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from greenroom.cli.exits import FAILED, INTERRUPTED, SUCCEEDED, USAGE, Exit, Usage
from greenroom.cli.output import ResultFd
from greenroom.cli.runline import RunLine, help_text, parse
from greenroom.cli.signals import Leave, Signals
from greenroom.errors import GreenroomError
from greenroom.hub_errors import HubError

if TYPE_CHECKING:
    from greenroom.cli.entities import Entity
    from greenroom.hubs import Hub
    from greenroom.link import Link
    from greenroom.operations import Submitted
    from greenroom.submitting import Options, Prepared

_HELP: Final = frozenset({"--help", "-h"})


def say(line: str) -> None:
    """A line for the person, on stderr."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str]) -> int:
    """Run a command line; gives the exit code."""
    try:
        line = parse(arguments)
        if line.help:
            sys.stdout.write(help_text() + "\n")
            return SUCCEEDED
        return _run(line, ResultFd())
    except Exit as exit:
        return exit.code
    except Usage as fault:
        say(f"greenroom run: {fault}")
        return USAGE
    except HubError as fault:
        from greenroom.cli.watching import code_of

        say(f"greenroom run: {fault}")
        return code_of(fault)
    except GreenroomError as fault:
        say(f"greenroom run: {_sentence(fault)}")
        return USAGE
    except (KeyboardInterrupt, Leave):
        say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        return SUCCEEDED  # Whoever read the result has what it wanted.


def _sentence(fault: BaseException) -> str:
    """An error's sentence and the lines that were added to it (`at flow.py:12`)."""
    return ", ".join([str(fault), *getattr(fault, "__notes__", ())])


def _run(line: RunLine, stdout: ResultFd) -> int:
    from greenroom.cli.entities import choose, entities_in, entity_help, file_help, find_file

    file = find_file(line.file)
    rest = list(line.rest)
    named = bool(rest) and not rest[0].startswith("-")
    helps = bool(_HELP.intersection(rest))
    if line.ignored:
        say(f"{', '.join(dict.fromkeys(line.ignored))}: no effect here; every run is on the hub, and waited for")
    finding = None if helps or line.options.get("here") else _Finding(line.options.get("hub"))
    entities = entities_in(imported(file, alias="no_alias" not in line.options))
    if helps and not named:
        stdout.write(f"{text}\n" for text in file_help(entities, line.file))
        return SUCCEEDED
    entity = choose(entities, rest.pop(0) if named else None, line.file)
    if helps:
        stdout.write(f"{text}\n" for text in entity_help(entity, line.file))
        return SUCCEEDED
    inputs = _inputs(entity, rest, line)
    if finding is None:
        from greenroom.cli.here import run_here

        return run_here(entity, inputs, line, stdout)
    return _submit_and_watch(entity, inputs, line, file, finding, stdout)


def _inputs(entity: Entity, words: list[str], line: RunLine) -> dict[str, Any]:
    from greenroom.cli.inputs import read_inputs

    files = [line.options["inputs_file"]] if "inputs_file" in line.options else []
    return read_inputs(entity.name, entity.interface, words, files)


def imported(file: str, *, alias: bool) -> Any:
    """The user's module; what it raises is shown as Python would show it, without a line of ours."""
    from greenroom.bundling import BundleError
    from greenroom.cli.entities import open_file

    if alias:
        from greenroom import compat

        compat.install()
    try:
        return open_file(file)
    except BundleError as fault:
        raise Usage(str(fault)) from fault
    except GreenroomError as fault:
        raise Usage(_sentence(fault)) from fault
    except SystemExit as left:
        raise Usage(
            f'{file} called sys.exit({left.code!r}) while it was imported; put that below `if __name__ == "__main__":`'
        ) from left
    except Exception as fault:
        from greenroom.cli.tracebacks import own_traceback

        sys.stderr.write(own_traceback(fault))
        raise Exit(FAILED) from fault


class _Finding:
    """The hub, being found: at once where it runs, else beside the import of the user's module, which takes as long."""

    def __init__(self, wanted: str | None) -> None:
        from greenroom.hubs import choose, running_hub
        from greenroom.profiles import LOCAL
        from greenroom.state import find_state
        from greenroom_protocol.version import VERSION

        self._result: Hub | BaseException | None = None
        self._thread: Any = None
        self._wanted = wanted
        if choose(wanted) == LOCAL:
            record = find_state().record()
            self._result = running_hub(find_state()) if record is not None and record.version == VERSION else None
        if self._result is None:
            import threading

            self._thread = threading.Thread(target=self._find, name="greenroom-hub", daemon=True)
            self._thread.start()

    def _find(self) -> None:
        from greenroom.hubs import find

        try:
            self._result = find(self._wanted, say)
        except BaseException as fault:
            self._result = fault

    def hub(self) -> Hub:
        """The hub.

        Raises:
            HubError: It cannot be had.
        """
        if self._thread is not None:
            while self._thread.is_alive():
                self._thread.join(0.2)  # In portions, so that Ctrl-C is heard.
        result = self._result
        if isinstance(result, BaseException):
            raise result
        assert result is not None
        return result


def _submit_and_watch(
    entity: Entity, inputs: dict[str, Any], line: RunLine, file: str, finding: _Finding, stdout: ResultFd
) -> int:
    from greenroom.bundling import BundleError
    from greenroom.cli.report import call_text
    from greenroom.client import blobs_of
    from greenroom.link import Link
    from greenroom.operations import submit
    from greenroom.submitting import Workshop, upload
    from greenroom_core.show import preview

    hub = finding.hub()
    link = Link(hub)
    blobs = blobs_of(hub, link)
    try:
        prepared = Workshop().prepare(entity.object, (), inputs, _options(line), hub, blobs, file=os.path.abspath(file))
        upload(prepared, blobs)
    except KeyError as fault:
        raise Usage(f"--image {fault.args[0]}=...: the program has no environment of that name") from fault
    except BundleError as fault:
        raise Usage(str(fault)) from fault
    _tell(prepared, hub, strict="strict" in line.options)
    shown = {name: preview(value) for name, value in prepared.submission.inputs.items() if name in inputs}
    with Signals() as signals:  # From here on Ctrl-C means the execution, also while it is on its way.
        submitted = link.drive(submit(prepared.submission, prepared.program))
        for note in submitted.notes:
            say(f"     {note}")
        url = submitted.url or f"{hub.url}/e/{submitted.id}"
        if "detach" in line.options:
            say(url)
            stdout.write([f"{submitted.id}\n"])
            return SUCCEEDED
        return _watch(link, submitted, url, call_text(prepared.entity, shown), line, stdout, signals)


def _watch(
    link: Link, submitted: Submitted, url: str, call: str, line: RunLine, stdout: ResultFd, signals: Signals
) -> int:
    from greenroom.cli.delivery import deliver
    from greenroom.cli.screen import screen_for
    from greenroom.cli.watching import Watch

    watching = Watch(link, submitted.id, screen_for(), url=url, call=call, logs=line.options.get("logs", "all"))
    if submitted.replicas is not None:
        watching.progress.fold({"kind": "status", "replicas": submitted.replicas})
    code = watching.run(signals)
    if code == SUCCEEDED:
        deliver(link, submitted.id, stdout, form=line.options.get("output", "json"), save=line.options.get("save"))
    link.close()
    return code


def _options(line: RunLine) -> Options:
    from greenroom.submitting import Options

    deadline = line.options.get("deadline")
    if deadline is not None and not _is_positive(deadline):
        raise Usage(f"--deadline {deadline}: expected seconds, above 0")
    images = {}
    for text in line.options.get("image", ()):
        name, sign, image = text.partition("=")
        images[name if sign else ""] = image if sign else name
    return Options(
        name=line.options.get("name"),
        env=line.pairs("env"),
        labels=line.pairs("label"),
        cached_results="refresh" if "overwrite_cache" in line.options else "use",
        deadline=float(deadline) if deadline is not None else None,
        strict="strict" in line.options,
        project=line.options.get("project"),
        images=images,
    )


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


def _tell(prepared: Prepared, hub: Hub, *, strict: bool) -> None:
    """Say once what the person should know before anything runs."""
    from greenroom.bundling import distributions, notes
    from greenroom.image_check import differences

    for note in (*prepared.notes, *(notes(prepared.bundle) if prepared.bundle is not None else ())):
        say(f"     {note}")
    if hub.state is None:
        return
    differs = list(differences(prepared.environments, distributions()))
    for note in differs:
        say(f"     {note}")
    if differs and strict:
        raise Usage("--strict: what the images ask for is not what this Python has")


def leave(code: int) -> None:
    """End the process without taking its modules apart, which can take longer than the whole run did.

    What was registered with `atexit` is done. Threads that the user's module started at its import are not waited for.
    """
    import atexit

    sys.stdout.flush()
    sys.stderr.flush()
    atexit._run_exitfuncs()
    os._exit(code)
