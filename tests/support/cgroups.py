"""The kernel's control group files as a folder, for machines of either kind that this one is not."""

from __future__ import annotations

from pathlib import Path

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "34 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
    "40 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)


def recorded_v2(root: Path, group: str = "/worker.slice/gpu0.service", **files: str) -> Path:
    """A machine with one tree; `files` are those of our own group, dots written as two underscores."""
    _proc(root, f"0::{group}\n", V2_MOUNT)
    return _folder(root / "sys/fs/cgroup" / group.lstrip("/"), files)


def recorded_v1(root: Path, group: str = "/job", **files: str) -> Path:
    """A machine with a tree per controller; returns the memory group."""
    _proc(root, f"9:name=systemd:/\n8:pids:/\n4:memory:{group}\n0::/\n", V1_MOUNTS)
    _folder(root / "sys/fs/cgroup/pids", {})
    return _folder(root / "sys/fs/cgroup/memory" / group.lstrip("/"), files)


def _proc(root: Path, groups: str, mounts: str) -> None:
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cgroup").write_text(groups)
    (root / "proc/self/mountinfo").write_text(f"23 1 8:1 / / rw - ext4 /dev/sda rw\n{mounts}")


def _folder(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder
