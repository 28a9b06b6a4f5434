"""The folder in which this user's hub on this host keeps everything, and what lies in it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import sys
from typing import Any, Final, NamedTuple

from greenroom.hub_errors import StateRefused

NETWORK: Final = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "cvmfs", "davfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "panfs", "smb3", "smbfs", "virtiofs", "wekafs"),
        *("fuse.gcsfuse", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"),
    )
)
"""File systems on which SQLite's locks and WAL cannot be trusted, or that other hosts see too."""


class HubRecord(NamedTuple):
    """`hub.json`: what a hub writes once it serves, and removes when it stops."""

    url: str
    socket: str | None
    pid: int
    version: str
    protocol: int
    token_file: str
    blobs: str
    state: str
    started: float
    """Seconds since the epoch."""
    local: bool = True
    """Whether it is a person's own (`--local`), rather than a service that keeps its state here."""


class StateFolder(NamedTuple):
    """A state folder by its path; nothing is touched until something is asked for."""

    path: str
    notes: tuple[str, ...] = ()
    """What a person must be told about how it was chosen."""

    @property
    def record_file(self) -> str:
        return os.path.join(self.path, "hub.json")

    @property
    def log(self) -> str:
        """What the background hub writes."""
        return os.path.join(self.path, "hub.log")

    @property
    def lock(self) -> str:
        """Held by who starts or stops the hub."""
        return os.path.join(self.path, "start.lock")

    @property
    def outputs(self) -> str:
        """Where files that executions return keep their names."""
        return os.path.join(self.path, "outputs")

    @property
    def held(self) -> bool:
        """Whether a hub's process has the log open, also while it starts or stops and there is no record."""
        try:
            descriptor = os.open(os.path.join(self.path, "log.sqlite.lock"), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)

    def make(self) -> None:
        """Create it for this user alone.

        Raises:
            StateRefused: It cannot be made, or belongs to somebody else.
        """
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            info = os.stat(self.path)
        except OSError as fault:
            raise StateRefused(self.path, f"cannot be made: {fault.strerror}") from fault
        if info.st_uid != os.geteuid():
            raise StateRefused(self.path, f"belongs to user {info.st_uid}, not to {os.geteuid()}")
        if stat.S_IMODE(info.st_mode) & 0o077:
            os.chmod(self.path, 0o700)

    def record(self) -> HubRecord | None:
        """What the hub wrote, whether it still runs or not; None if there is none that can be read."""
        try:
            with open(self.record_file, "rb") as file:
                raw = json.loads(file.read())
            return _record(raw)
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _record(raw: dict[str, Any]) -> HubRecord:
    return HubRecord(
        url=str(raw["url"]),
        socket=raw.get("socket") or None,
        pid=int(raw["pid"]),
        version=str(raw["version"]),
        protocol=int(raw["protocol"]),
        token_file=str(raw["token_file"]),
        blobs=str(raw["blobs"]),
        state=str(raw["state"]),
        started=float(raw["started"]),
        local=bool(raw.get("local", True)),
    )


def find_state() -> StateFolder:
    """This user's state folder on this host.

    `GREENROOM_STATE` names it; else it is `$XDG_STATE_HOME/greenroom/HOST` or `~/.local/state/greenroom/HOST`. Homes
    that lie on a network file system get a folder below `/var/tmp` instead, and a note that says so.

    Raises:
        StateRefused: `GREENROOM_STATE` is on a network file system.
    """
    given = os.environ.get("GREENROOM_STATE")
    if given:
        path = os.path.abspath(os.path.expanduser(given))
        kind = file_system(path)
        if kind in NETWORK:
            raise StateRefused(path, f"lies on a network file system ({kind}), where locks cannot be trusted")
        return StateFolder(path)
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    path = os.path.join(base, "greenroom", host_name())
    kind = file_system(path)
    if kind not in NETWORK:
        return StateFolder(path)
    local = os.path.join("/var/tmp", f"greenroom-{os.geteuid()}", host_name())
    note = f"{base} lies on a network file system ({kind}): the hub's state is kept in {local} (or GREENROOM_STATE)"
    return StateFolder(local, (note,))


def host_name() -> str:
    """This host's name, in letters that any file system takes."""
    name = socket.gethostname().split(".")[0]
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name) or "host"


def file_system(path: str, mounts: str | None = None) -> str:
    """The kind of file system that `path` lies on or would lie on (`ext4`, `nfs4`, ...); empty where it is unknown.

    Args:
        path: Absolute; its last parts need not exist yet.
        mounts: Text of `/proc/self/mountinfo`, for tests; read where there is one.
    """
    if mounts is None:
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                mounts = file.read()
        except OSError:
            return ""
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = _unescape(before.split(" ")[4])
        inside = point == "/" or real == point or real.startswith(point + "/")
        if inside and len(point) >= len(best):  # A later mount on the same point hides the earlier one.
            best, kind = point, after.split(" ")[0]
    return kind


def _unescape(point: str) -> str:
    if "\\" not in point:
        return point
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, letter)
    return point


def alive(pid: int, started: float) -> bool:
    """Whether the process that wrote a record still runs, and is not a later one with the same number.

    Args:
        pid: Its number.
        started: When it wrote the record, seconds since the epoch.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # Another user's process: the number was used again.
    begun = _begun(pid)
    return begun is None or begun <= started + 2.0


def _begun(pid: int) -> float | None:
    """When a process began, seconds since the epoch; None where the system does not say."""
    if sys.platform != "linux":
        return None
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        with open("/proc/stat", "rb") as file:
            boot = next(float(line.split()[1]) for line in file if line.startswith(b"btime"))
    except (OSError, StopIteration):
        return None
    if fields[0] == b"Z":
        return float("inf")  # Ended, and only its parent has not noticed.
    return boot + float(fields[19]) / os.sysconf("SC_CLK_TCK")
