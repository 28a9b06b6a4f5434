"""Which hub a command talks to; and the local one: found, started under a lock, replaced after an upgrade, stopped."""

from __future__ import annotations

import atexit
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from greenroom.http import Connection, Endpoint, Request
from greenroom.hub_errors import DidNotStart, ExtraMissing, HubError, HubGone, NoSuchHub, WrongVersion, refused
from greenroom.profiles import EPHEMERAL, LOCAL, load_profiles
from greenroom.state import HubRecord, StateFolder, alive, find_state
from greenroom_protocol.version import VERSION, refusal

if TYPE_CHECKING:
    import subprocess

Say = Callable[[str], None]
"""Takes one line for the person in front."""

START_TIMEOUT: Final = 60.0
"""Seconds until a hub must serve: it may have to replay a long log, and to compile its modules on a slow disk."""

STOP_TIMEOUT: Final = 60.0
"""Seconds until a hub that was told to stop must be gone: running calls get 10 s to notice, then 10 s more."""

_POLL: Final = 0.004  # A hub starts in 300 ms; looking 250 times a second costs nothing beside it.
_PAUSE: Final = 0.05
_NEEDED: Final = ("aiohttp", "pydantic", "pydantic_settings", "structlog")  # Of the extra, what no hub serves without.
_UNWANTED: Final = frozenset(
    (
        *("GREENROOM_HUB", "PYTHONINSPECT", "PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONASYNCIODEBUG", "PYTHONVERBOSE"),
        *("PYTHONPROFILEIMPORTTIME", "PYTHONTRACEMALLOC", "PYTHONDUMPREFS", "PYTHONBREAKPOINT"),
    )
)
"""Variables of one person's shell that a service which outlives it must not obey."""


class Hub(NamedTuple):
    """A hub that was found, and how to speak to it."""

    name: str
    """As the header line calls it: `local hub`, a profile's name, or its URL."""
    endpoint: Endpoint
    url: str
    """For people and links."""
    token: str
    blobs: str | None = None
    """Folder of its blobs, where it is on this host."""
    state: StateFolder | None = None
    """For the local hub and ephemeral ones."""

    lasting: bool = True
    """Whether it, and what it keeps, is there after this command."""
    personal: bool = False
    """Whether it is this person's own: calls see the variables of the shell that submits."""

    def connect(self) -> Connection:
        """A new connection; nothing is sent before the first request."""
        return Connection(self.endpoint, self.token)


def choose(hub: str | None = None) -> str:
    """The hub that is meant: `--hub`, else `GREENROOM_HUB`, else the profile in use, else the local one.

    Where `CI` is set, a hub that ends with the command takes the local one's place.
    """
    chosen = hub or os.environ.get("GREENROOM_HUB") or load_profiles().current
    if chosen == LOCAL and not hub and not os.environ.get("GREENROOM_HUB") and _in_ci():
        return EPHEMERAL
    return chosen


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


def find(hub: str | None = None, say: Say = lambda line: None) -> Hub:
    """The hub that is meant, started if it is the local one and does not run.

    Args:
        hub: `local`, `ephemeral`, a profile's name or a URL; None to go by environment and profile.
        say: Takes what a person should know, such as that a hub is being started.

    Raises:
        HubError: There is no such hub, or it does not start.
    """
    chosen = choose(hub)
    if chosen == LOCAL:
        return ensure_local_hub(find_state(), say)
    if chosen == EPHEMERAL:
        return start_ephemeral(say)
    return remote(chosen)


def remote(chosen: str) -> Hub:
    """A hub by URL or profile.

    Raises:
        NoSuchHub: It is no URL, and no profile is called so.
    """
    profiles = load_profiles()
    if "/" not in chosen and chosen not in profiles.hubs:
        raise NoSuchHub(chosen, sorted(profiles.hubs))
    if chosen in profiles.hubs:
        profile = profiles.hubs[chosen]
        return Hub(profile.name, Endpoint.parse(profile.url), profile.url, _token() or profile.token)
    try:
        endpoint = Endpoint.parse(chosen)
    except ValueError as fault:
        raise HubError(str(fault)) from fault
    local = _local_token(endpoint)
    return Hub(str(endpoint), endpoint, str(endpoint), _token() or profiles.token_for(chosen) or local)


def _token() -> str:
    return os.environ.get("GREENROOM_TOKEN", "")


def _local_token(endpoint: Endpoint) -> str:
    """The local hub's token, where a URL names that very hub."""
    if not endpoint.loopback:
        return ""
    record = find_state().record()
    known = record and endpoint in (Endpoint.parse(record.url), _endpoint(record))
    return _read_token(record) if record and known and alive(record.pid, record.started) else ""


# The local hub ------------------------------------------------------------------------------------------------------


def ensure_local_hub(state: StateFolder, say: Say = lambda line: None) -> Hub:
    """The local hub: as it runs, or started.

    Raises:
        HubError: It cannot be started, or is of another version and busy.
    """
    record = state.record()
    if record is not None and record.version == VERSION and _answers(record):
        return _found(record, state)
    for note in state.notes:
        say(note)
    state.make()
    with _locked(state):
        record = _settled(state)
        if record is not None and record.version != VERSION and not _may_stay(record, state, say):
            record = None
        if record is None:
            say("starting the local hub")
            record = _start(state)
    return _found(record, state)


def recover_local_hub(state: StateFolder, say: Say = lambda line: None) -> Hub:
    """The local hub, after it was there and went away: started again if it crashed, not if somebody stopped it.

    Raises:
        HubGone: It was stopped.
        HubError: It cannot be started.
    """
    if _settled(state) is None and state.record() is None:
        raise HubGone()
    return ensure_local_hub(state, say)


def running_hub(state: StateFolder) -> Hub | None:
    """The local hub if it runs; it is not started."""
    record = state.record()
    return _found(record, state) if record is not None and _answers(record) else None


def _found(record: HubRecord, state: StateFolder) -> Hub:
    blobs = record.blobs if os.access(record.blobs, os.W_OK) else None
    name = "local hub" if record.local else record.url
    token = _read_token(record)
    return Hub(name, _endpoint(record), record.url, token, blobs, state, personal=record.local)


def _endpoint(record: HubRecord) -> Endpoint:
    return Endpoint("unix", "localhost", 0, record.socket) if record.socket else Endpoint.parse(record.url)


def _read_token(record: HubRecord) -> str:
    try:
        with open(record.token_file, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _answers(record: HubRecord) -> bool:
    """Whether the hub that wrote the record is there: its process runs, and it takes connections."""
    if not alive(record.pid, record.started):
        return False
    from greenroom.http import connect

    try:
        connect(_endpoint(record)).close()
    except HubError:
        return False
    return True


@contextmanager
def _locked(state: StateFolder) -> Iterator[None]:
    """Only one command at a time starts or replaces the hub; the lock ends with its holder."""
    descriptor = os.open(state.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _settled(state: StateFolder) -> HubRecord | None:
    """The record of a hub that answers, once nothing is on its way up or down; None if there is none."""
    deadline = time.monotonic() + STOP_TIMEOUT
    while True:
        record = state.record()
        if record is not None and _answers(record):
            return record
        if not state.held and not (record is not None and alive(record.pid, record.started)):
            return None
        if time.monotonic() > deadline:
            who = f" (process {record.pid})" if record is not None else ""
            raise DidNotStart(f"{who} runs but takes no connections".strip(), last_words(state.log), state.log)
        time.sleep(_PAUSE)


def _may_stay(record: HubRecord, state: StateFolder, say: Say) -> bool:
    """After an upgrade: an idle old hub is stopped, a busy one is used if it can be understood."""
    hub = _found(record, state)
    live = live_executions(hub)
    if not live:
        stop_hub(hub)
        say(f"the idle hub of version {record.version} was stopped; {VERSION} starts")
        return False
    if refusal(record.protocol, "hub") is None:
        say(f"the local hub is version {record.version} and busy; it is used as it is, and restarted once idle")
        return True
    raise WrongVersion(record.version, VERSION, live)


def live_executions(hub: Hub) -> list[str]:
    """Ids of executions that run on a hub."""
    return [str(row["id"]) for row in _get(hub, "/api/executions?state=running&limit=100")["executions"]]


def _get(hub: Hub, path: str) -> Any:
    import json

    connection = hub.connect()
    try:
        answer = connection.request(Request("GET", path))
    finally:
        connection.close()
    if answer.status != 200:
        raise refused(answer.status, answer.body)
    return json.loads(answer.body)


# Starting and stopping ----------------------------------------------------------------------------------------------

_children: list[subprocess.Popen[bytes]] = []
"""Hubs that this process started; kept so that ended ones are reaped."""


def check_extra() -> None:
    """Refuse to start a hub whose packages are missing, before anything is tried.

    Raises:
        ExtraMissing: With the packages.
    """
    from importlib.util import find_spec

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ExtraMissing(missing, sys.executable)


def hub_command(*arguments: str) -> list[str]:
    """The command line of a hub on this interpreter."""
    return [sys.executable, "-P", "-m", "greenroom_hub", *arguments]


def _start(state: StateFolder, *options: str) -> HubRecord:
    """Start a hub apart from this process, and wait until it serves."""
    check_extra()
    process = _spawn(state, options)
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        record = state.record()
        if record is not None and record.pid == process.pid:
            return record
        if process.poll() is not None:
            raise DidNotStart(f"ended with status {process.returncode}", last_words(state.log), state.log)
        if time.monotonic() > deadline:
            process.terminate()
            raise DidNotStart(f"does not serve after {START_TIMEOUT:g} s", last_words(state.log), state.log)
        time.sleep(_POLL)


def _spawn(state: StateFolder, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    import subprocess

    for child in [child for child in _children if child.poll() is not None]:
        _children.remove(child)
    environment = {name: value for name, value in os.environ.items() if name not in _UNWANTED}
    environment["GREENROOM_STATE"] = state.path
    log = os.open(state.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(
            hub_command("serve", "--local", "--state", state.path, *options),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment,
            close_fds=True,
            start_new_session=True,
        )
    finally:
        os.close(log)
    _children.append(process)
    return process


def last_words(log: str, lines: int = 12) -> str:
    """The end of a hub's log."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.path.getsize(log) - 8192))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-lines:])


def stop_hub(hub: Hub, *, purge: bool = False) -> None:
    """Tell a hub of this host to end, and wait until its process is gone; one that does not listen is ended by signal.

    Raises:
        HubError: It refuses, or does not end in time.
    """
    record = hub.state.record() if hub.state is not None else None
    connection = hub.connect()
    try:
        answer = connection.request(
            Request("POST", "/api/hub/stop", b'{"purge": %s}' % (b"true" if purge else b"false"))
        )
    except HubError:
        if record is None or not alive(record.pid, record.started):
            raise
        _kill(record)
        return
    finally:
        connection.close()
    if answer.status >= 300:
        raise refused(answer.status, answer.body)
    deadline = time.monotonic() + STOP_TIMEOUT
    while record is not None and alive(record.pid, record.started):
        _reap()
        if time.monotonic() > deadline:
            raise HubError(f"the hub (process {record.pid}) was told to stop {STOP_TIMEOUT:g} s ago and still runs")
        time.sleep(_POLL)


def stop_local_hub(state: StateFolder, *, remove: bool = False) -> str:
    """End the local hub, or what a crashed one left; in words, what was done.

    Args:
        state: Its folder.
        remove: Whether the folder goes too.

    Raises:
        HubError: It refuses, or does not end in time.
    """
    from greenroom.orphans import end_orphans

    if not os.path.isdir(state.path):
        return "no local hub runs"
    with _locked(state):
        record = _settled(state)
        if record is not None:
            stop_hub(_found(record, state))
        orphans = end_orphans(state)
        with suppress(FileNotFoundError):
            os.unlink(state.record_file)  # A crashed one's: whoever watches must not start it again.
        if remove:
            purge(state)
    if record is not None:
        return "the local hub has ended"
    return "no local hub runs; the replicas that it left have ended" if orphans else "no local hub runs"


def _reap() -> None:
    for child in _children:
        child.poll()


def purge(state: StateFolder) -> None:
    """Remove all that a stopped hub left."""
    import shutil

    shutil.rmtree(state.path, ignore_errors=True)


# A hub for one command ----------------------------------------------------------------------------------------------

_ephemeral: dict[int, Hub] = {}
"""By the process that started it: a forked child must neither use it nor end it."""


def start_ephemeral(say: Say = lambda line: None) -> Hub:
    """A hub with a state folder of its own, which ends with this process and leaves nothing.

    Raises:
        HubError: It does not start.
    """
    import tempfile

    hub = _ephemeral.get(os.getpid())
    if hub is not None:
        return hub
    state = StateFolder(tempfile.mkdtemp(prefix="greenroom-"))
    say("starting a hub for this command")
    try:
        record = _start(state, "--owner", str(os.getpid()))
    except BaseException:
        purge(state)
        raise
    if not _ephemeral:
        atexit.register(end_ephemeral)
    hub = _ephemeral[os.getpid()] = _found(record, state)._replace(name="ephemeral hub", lasting=False)
    return hub


def end_ephemeral() -> None:
    """Stop the hub that this process started for itself, if there is one, and remove its folder."""
    hub = _ephemeral.pop(os.getpid(), None)
    if hub is None or hub.state is None:
        return
    record = hub.state.record()
    try:
        if record is not None and alive(record.pid, record.started):
            stop_hub(hub)
    except HubError:
        _kill(record)
    finally:
        purge(hub.state)


def _kill(record: HubRecord | None) -> None:
    if record is None:
        return
    for number, seconds in ((15, 10.0), (9, 5.0)):
        deadline = time.monotonic() + seconds
        while alive(record.pid, record.started) and time.monotonic() < deadline:
            os.kill(record.pid, number)
            _reap()
            time.sleep(0.05)
