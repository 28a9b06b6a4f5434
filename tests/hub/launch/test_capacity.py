"""What replicas may use together: from affinity, control groups of either version, the driver, or a setting."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from greenroom_hub.launch import capacity
from greenroom_hub.launch.capacity import BadCapacity, measure

GIB = 2**30
Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine of eight cores and 64 GiB without gpus, whose files say what a test has them say."""

    def set_up(files: Mapping[str, str] | None = None, cores: int = 8, gpus: int = 0) -> None:
        told = {Path(name): text for name, text in (files or {}).items()}
        monkeypatch.setattr(capacity, "_read", told.get)
        monkeypatch.setattr(capacity, "_gpus_of_driver", lambda: gpus)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
        monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * GIB // 4096}.__getitem__)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return set_up


def test_a_machine_without_limits(machine: Machine) -> None:
    """
    All that it has.
    """
    machine()

    assert (measure().cpu, measure().memory, measure().gpu) == (8, 64 * GIB, 0)


def test_affinity_counts(machine: Machine) -> None:
    """
    Cores that this process may not use are not there.
    """
    machine(cores=3)

    assert measure().cpu == 3


def test_control_groups_of_version_2(machine: Machine) -> None:
    """
    The own group's quota and memory, where they are less than the machine's.
    """
    machine(
        {
            "/proc/self/cgroup": "0::/system.slice/hub.service",
            "/sys/fs/cgroup/system.slice/hub.service/cpu.max": "150000 100000",
            "/sys/fs/cgroup/system.slice/hub.service/memory.max": str(4 * GIB),
        }
    )

    assert (measure().cpu, measure().memory) == (1.5, 4 * GIB)


def test_control_groups_of_version_2_without_limits(machine: Machine) -> None:
    """
    `max` is no limit.
    """
    machine(
        {
            "/proc/self/cgroup": "0::/",
            "/sys/fs/cgroup/cpu.max": "max 100000",
            "/sys/fs/cgroup/memory.max": "max",
        }
    )

    assert (measure().cpu, measure().memory) == (8, 64 * GIB)


def test_control_groups_of_version_1(machine: Machine) -> None:
    """
    Each controller has a tree of its own.
    """
    machine(
        {
            "/proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc",
            "/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "200000",
            "/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000",
            "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": str(2 * GIB),
        }
    )

    assert (measure().cpu, measure().memory) == (2, 2 * GIB)


def test_control_groups_of_version_1_without_limits(machine: Machine) -> None:
    """
    A quota of -1 and a limit beyond all memory are none.
    """
    machine(
        {
            "/proc/self/cgroup": "4:memory:/\n3:cpu,cpuacct:/",
            "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        }
    )

    assert (measure().cpu, measure().memory) == (8, 64 * GIB)


@pytest.mark.parametrize(("version", "name"), [(1, "docker/abc"), (2, "docker/abc")])
def test_in_a_container_the_own_group_is_the_root(machine: Machine, version: int, name: str) -> None:
    """
    The path that the kernel tells is the host's; inside, the group's files lie at the top.
    """
    files = {
        1: {
            "/proc/self/cgroup": f"4:memory:/{name}\n3:cpu:/{name}",
            "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
            "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": str(GIB),
        },
        2: {
            "/proc/self/cgroup": f"0::/{name}",
            "/sys/fs/cgroup/cpu.max": "100000 100000",
            "/sys/fs/cgroup/memory.max": str(GIB),
        },
    }
    machine(files[version])

    assert (measure().cpu, measure().memory) == (1, GIB)


def test_a_group_above_is_a_limit_too(machine: Machine) -> None:
    """
    A slice that is limited limits all services in it.
    """
    machine(
        {
            "/proc/self/cgroup": "0::/team.slice/hub.service",
            "/sys/fs/cgroup/team.slice/memory.max": str(3 * GIB),
            "/sys/fs/cgroup/team.slice/hub.service/memory.max": "max",
            "/sys/fs/cgroup/team.slice/cpu.max": "400000 100000",
        }
    )

    assert (measure().cpu, measure().memory) == (4, 3 * GIB)


def test_a_setting_goes_before(machine: Machine) -> None:
    """
    What it names counts, the rest is the machine's.
    """
    machine(gpus=1)

    told = measure("cpu=16, mem=32Gi")

    assert (told.cpu, told.memory, told.gpu) == (16, 32 * GIB, 1)
    assert measure("gpu=4").gpus() == ("0", "1", "2", "3")


def test_gpus_that_the_hub_itself_does_not_see(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    `CUDA_VISIBLE_DEVICES` of the hub is the list that its replicas share.
    """
    machine(gpus=4)
    assert measure().gpu == 4

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")

    assert measure().gpus() == ("2", "3")


@pytest.mark.parametrize("text", ["cpu", "cpu=many", "mem=1Zi", "disk=4", "cpu=2Gi"])
def test_a_setting_that_cannot_be_read(machine: Machine, text: str) -> None:
    """
    The error names the part, and shows how it is written.
    """
    machine()

    with pytest.raises(BadCapacity, match="expected something like cpu=8,mem=32Gi,gpu=1"):
        measure(text)
