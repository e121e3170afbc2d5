"""One daemon per work directory: a lock that the kernel drops when its holder dies.

The file stays; its text names the holder for people. A "pid file exists" check would be wrong after a
crash, and a network file system may keep the lock local to one machine.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gitlab_jobs.errors import ConfigError

EXIT_LOCKED = 81
EXIT_CANNOT_CREATE = 73


@contextmanager
def only_instance(work_dir: Path) -> Iterator[None]:
    """Hold the work directory for the enclosed block.

    Raises:
        ConfigError: exit code 81 if another daemon holds it, 73 if it cannot be made.
    """
    path = work_dir / "instance.lock"
    try:
        work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot use the work directory {work_dir}: {error}",
            hint="choose another one with --work-dir",
            exit_code=EXIT_CANNOT_CREATE,
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            raise ConfigError(
                f"the work directory {work_dir} is in use by {handle.read().strip() or 'another daemon'}",
                hint="stop it first, or give this one its own --work-dir",
                exit_code=EXIT_LOCKED,
            ) from error
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        handle.flush()
        yield
