"""Where the local hub keeps its state, and how its record is read."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
import time

import pytest

from greenroom import state as state_module
from greenroom.hub_errors import StateRefused
from greenroom.state import StateFolder, alive, file_system, find_state, host_name

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:44 / /home rw shared:2 - nfs4 server:/home rw
31 30 0:45 / /home/ann/local\\040disk rw - xfs /dev/vdb rw
32 22 0:46 / /homework rw - btrfs /dev/vdc rw
33 32 0:47 / /homework rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/x", "ext4"),
        ("/home/ann", "nfs4"),
        ("/home", "nfs4"),
        ("/home/ann/local disk/state", "xfs"),
        ("/homework/x", "tmpfs"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(path, kind):
    """
    The longest mount point that holds the path decides, the latest one where several lie on each other.
    """
    assert kind == file_system(path, MOUNTS)


def test_the_folder_is_per_user_and_host(monkeypatch, tmp_path):
    """
    Homes are often shared between hosts; a hub's state is not.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    found = find_state()

    assert StateFolder(str(tmp_path / "greenroom" / host_name())) == found


def test_without_xdg_it_lies_below_home(monkeypatch, tmp_path):
    """
    `~/.local/state` is where programs keep state.
    """
    monkeypatch.setenv("HOME", str(tmp_path))

    assert str(tmp_path / ".local/state/greenroom" / host_name()) == find_state().path


def test_a_home_on_the_network_moves_the_state_and_says_so(monkeypatch):
    """
    A database on NFS loses data; the folder is put on the local disk, and the person is told where.
    """
    monkeypatch.setenv("XDG_STATE_HOME", "/home/ann/.local/state")
    monkeypatch.setattr(state_module, "file_system", lambda path: file_system(path, MOUNTS))

    found = find_state()

    assert f"/var/tmp/greenroom-{os.geteuid()}/{host_name()}" == found.path
    assert (
        "/home/ann/.local/state lies on a network file system (nfs4): the hub's state is kept in "
        f"{found.path} (or GREENROOM_STATE)",
    ) == found.notes


def test_a_network_folder_that_was_asked_for_is_refused(monkeypatch):
    """
    Whoever names the folder hears why it cannot be.
    """
    monkeypatch.setenv("GREENROOM_STATE", "/home/ann/state")
    monkeypatch.setattr(state_module, "file_system", lambda path: file_system(path, MOUNTS))

    with pytest.raises(StateRefused) as caught:
        find_state()

    assert str(caught.value) == (
        "state folder /home/ann/state: lies on a network file system (nfs4), where locks cannot be trusted; "
        "set GREENROOM_STATE to a folder of your own on a local disk"
    )


def test_the_folder_is_this_users_alone(tmp_path):
    """
    Nobody else reads tokens or inputs, also where the folder was made by hand.
    """
    (tmp_path / "s").mkdir(mode=0o755)

    StateFolder(str(tmp_path / "s")).make()

    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700


def test_a_file_in_the_way_is_named(tmp_path):
    """
    A state folder that cannot be made is an error with the system's reason.
    """
    (tmp_path / "s").write_text("")

    with pytest.raises(StateRefused, match="cannot be made: File exists"):
        StateFolder(str(tmp_path / "s")).make()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 1}', '{"url": "x", "pid": "no"}'])
def test_a_record_that_cannot_be_read_is_none(tmp_path, text):
    """
    A torn record counts as no hub.
    """
    (tmp_path / "hub.json").write_text(text)

    assert StateFolder(str(tmp_path)).record() is None


def test_a_record_is_read_with_what_newer_hubs_add(tmp_path):
    """
    Unknown fields do not matter.
    """
    paths = {"url": "u", "socket": None, "token_file": "t", "blobs": "b", "state": "s"}
    record = {**paths, "pid": 1, "version": "1", "protocol": 1, "started": 2.0}
    (tmp_path / "hub.json").write_text(json.dumps({**record, "new": 1}))

    read = StateFolder(str(tmp_path)).record()

    assert read is not None
    assert read._asdict() == {**record, "local": True}


def test_a_process_is_known_by_number_and_time():
    """
    The number alone is not enough: it may have been used again.
    """
    assert alive(os.getpid(), time.time())
    assert not alive(os.getpid(), time.time() - 10_000_000)


def test_an_ended_process_is_not_alive():
    """
    Neither one that is gone, nor one that only waits to be reaped.
    """
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    waiting = alive(process.pid, time.time())
    process.wait()
    gone = alive(process.pid, time.time())

    assert (waiting, gone) == (False, False)


def test_a_log_that_is_open_is_held(tmp_path):
    """
    A hub on its way down has removed its record already, and still has the log.
    """
    folder = StateFolder(str(tmp_path))
    before = folder.held
    with open(tmp_path / "log.sqlite.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        during = folder.held

    assert (before, during, folder.held) == (False, True, False)
