"""Control groups on other kinds of machines, as recorded folders: who lends some, and in which words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cgroups import recorded_v1, recorded_v2

from runner.cgroup import GroupHome, NoGroups, find_home
from runner.group import Group, GroupCounts
from runner.limits import Limits
from runner.marker import Marker
from runner.oom import OomCounts, explain_kill

MIB = 1 << 20


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """A group that belongs to the user who runs the daemon, as `Delegate=yes` with `User=` has it."""

    def own(folder: Path) -> None:
        monkeypatch.setattr("os.geteuid", lambda: folder.stat().st_uid)
        if folder.stat().st_uid == 0:
            os.chown(folder, 1000, -1)

    return own


def delegated(root: Path, own: Callable[[Path], None], **files: str) -> Path:
    """The group of a unit, with nobody but us in it."""
    usual = {
        "cgroup__controllers": "cpu memory pids\n",
        "cgroup__subtree_control": "\n",
        "cgroup__procs": f"{os.getpid()}\n",
    }
    folder = recorded_v2(root, **(usual | files))
    (folder / "supervisor").mkdir()
    own(folder)
    return folder


def test_in_a_delegated_group_the_supervisor_moves_into_a_leaf_first(
    tmp_path: Path, unprivileged: Callable[[Path], None]
) -> None:
    """A group with processes of its own lends no controllers."""
    folder = delegated(tmp_path, unprivileged)

    home = find_home(tmp_path)

    assert home == GroupHome(folder, folder, version=2)
    assert (folder / "supervisor/cgroup.procs").read_text() == str(os.getpid())
    assert (folder / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_a_supervisor_that_has_moved_already_stays_where_it_is(tmp_path: Path) -> None:
    """After an exec of itself."""
    leaf = recorded_v2(tmp_path, group="/unit/supervisor", cgroup__procs="1\n")
    for name, text in {
        "cgroup.controllers": "memory",
        "cgroup.subtree_control": "memory",
        "cgroup.procs": "",
    }.items():
        (leaf.parent / name).write_text(text)

    assert find_home(tmp_path) == GroupHome(leaf.parent, None, version=2)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"cgroup__procs": "1\n"}, r"other processes live in .*: \[1\]"),
        ({"cgroup__controllers": "cpu\n"}, "no memory controller"),
    ],
)
def test_nobody_elses_group_is_touched(
    tmp_path: Path, unprivileged: Callable[[Path], None], files: dict[str, str], reason: str
) -> None:
    """A shell's scope, a container's root."""
    folder = delegated(tmp_path, unprivileged, **files)

    with pytest.raises(NoGroups, match=reason):
        find_home(tmp_path)
    assert list((folder / "supervisor").iterdir()) == []


def test_a_group_that_nobody_gave_us_is_left_alone(tmp_path: Path) -> None:
    """Root may write everywhere; that does not make it its own."""
    folder = delegated(tmp_path, lambda folder: os.chown(folder, os.geteuid(), -1))
    if os.geteuid() != 0:
        assert find_home(tmp_path).memory == folder
        return
    with pytest.raises(NoGroups, match="Delegate=yes"):
        find_home(tmp_path)


def test_a_machine_without_groups_says_so(tmp_path: Path) -> None:
    """As in a sandbox without `/sys`."""
    with pytest.raises(NoGroups, match="no control groups are mounted"):
        find_home(tmp_path)


def test_a_tree_per_controller_needs_no_leaf(tmp_path: Path) -> None:
    """Version 1 lets processes and groups live in the same folder."""
    folder = recorded_v1(tmp_path)

    home = find_home(tmp_path)

    assert home == GroupHome(folder, tmp_path / "sys/fs/cgroup/pids", version=1)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (
            1,
            {
                "memory.limit_in_bytes": "104857600",
                "memory.swappiness": "0",
                "pids.max": "99",
            },
        ),
        (
            2,
            {
                "memory.max": "104857600",
                "memory.swap.max": "0",
                "memory.oom.group": "1",
                "pids.max": "99",
            },
        ),
    ],
)
def test_limits_are_written_in_the_kernels_words(
    tmp_path: Path, version: int, expected: dict[str, str]
) -> None:
    """Swap would hide that the memory is gone."""
    home = GroupHome(tmp_path, tmp_path, version)

    group = home.make(Marker.new(), Limits(memory_bytes=100 * MIB, tasks=99))

    assert group is not None
    (folder,) = group.folders
    assert {path.name: path.read_text() for path in folder.iterdir()} == expected


@pytest.mark.parametrize(
    ("files", "counts"),
    [
        ({"memory.events": "low 0\noom 3\noom_kill 2\n"}, GroupCounts(2, 3)),
        ({"memory.oom_control": "under_oom 0\noom_kill 2\n"}, GroupCounts(2, 0)),
        (
            {"memory.oom_control": "oom_kill 1\n", "memory.failcnt": "4\n"},
            GroupCounts(1, 4),
        ),
        ({}, None),
    ],
)
def test_a_groups_counters_are_read_in_both_versions(
    tmp_path: Path, files: dict[str, str], counts: GroupCounts | None
) -> None:
    """Kills, and whether its own limit was the reason."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    assert Group((tmp_path,)).counts() == counts


@pytest.mark.parametrize(
    ("around", "own", "explained"),
    [
        (OomCounts(1, 0), None, OomCounts(1, 0)),
        (OomCounts(1, 0), GroupCounts(1, 5), OomCounts(0, 1)),
        (OomCounts(1, 1), GroupCounts(1, 0), OomCounts(0, 1)),
        (OomCounts(1, 0), GroupCounts(1, 0), OomCounts(1, 0)),
        (OomCounts(1, 1), GroupCounts(0, 9), OomCounts(0, 0)),
    ],
)
def test_whose_limit_it_was_follows_from_the_counters(
    around: OomCounts, own: GroupCounts | None, explained: OomCounts
) -> None:
    """Its own group's, a group's around it, or the machine's; or nobody's."""
    assert explain_kill(around, own) == explained


def test_a_kernel_that_refuses_a_limit_leaves_the_soft_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And says so."""
    home = GroupHome(tmp_path / "gone", None, version=2)

    assert home.make(Marker.new(), Limits(memory_bytes=MIB)) is None
    assert "its limits are soft" in caplog.text
