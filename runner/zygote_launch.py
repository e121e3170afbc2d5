"""Starts children by forking a preloaded zygote; by plain exec where that is not possible.

`ZygoteLauncher` is a drop-in for `launch_exec`. Knows no task: the caller lists the modules.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from runner.frames import FrameDecoder, FrameEncoder, FrameError, JsonObject
from runner.launch import (
    PYTHON_FLAGS,
    Launched,
    launch_exec,
    process_spawner,
)
from runner.pipes import Pipes, open_pipes
from runner.zygote import FROM_ZYGOTE

logger = logging.getLogger(__name__)

PRELOAD_TIMEOUT_S = 120.0
FORK_TIMEOUT_S = 10.0
_MESSAGE_BYTES = 1 << 20
_ZYGOTE_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    # Libraries that would start a pool of threads when they are imported.
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


class ZygoteLauncher:
    """Owns one zygote and starts it again when it died. Safe from any thread."""

    def __init__(
        self,
        modules: tuple[str, ...],
        environment: Mapping[str, str] | None = None,
        import_paths: tuple[Path, ...] = (),
    ) -> None:
        """Prepare a launcher; nothing is started yet.

        Args:
            modules: imported once, before any child is needed.
            environment: of the zygote itself; children get their own. A library that reads its
                number of threads when it is imported has read it here: 1 unless told otherwise.
            import_paths: put on the zygote's module path first.
        """
        self._modules = modules
        self._environment = dict(environment or {})
        self._import_paths = [str(path) for path in import_paths]
        self._lock = threading.Lock()
        self._zygote: _Zygote | None = None
        self._is_refused = False
        self.forks = 0
        self.execs = 0

    def warm_up(self) -> None:
        """Start the zygote and wait until it has imported everything."""
        with self._lock:
            self._ready_zygote()

    def __call__(self, work_dir: Path, environment: Mapping[str, str]) -> Launched:
        """Start a child; see `launch_exec`."""
        with self._lock:
            zygote = self._ready_zygote()
            if zygote is not None:
                try:
                    launched = zygote.fork(work_dir, environment)
                    self.forks += 1
                    return launched
                except (OSError, FrameError) as error:
                    logger.warning("the zygote failed, starting afresh: %s", error)
                    self._drop()
            self.execs += 1
        return launch_exec(work_dir, environment)

    def close(self) -> None:
        """End the zygote; children that it forked end with it."""
        with self._lock:
            self._drop()
            self._is_refused = True

    def _ready_zygote(self) -> _Zygote | None:
        if self._zygote is not None or self._is_refused:
            return self._zygote
        try:
            zygote = _Zygote(self._environment)
        except OSError as error:
            logger.warning("no zygote, children start by exec: %s", error)
            self._is_refused = True
            return None
        try:
            told = zygote.preload(self._modules, self._import_paths)
        except (OSError, FrameError) as error:
            told = {"threads": 0, "failures": {"zygote": str(error)}}
        for name, reason in told["failures"].items():
            logger.warning("could not preload %s: %s", name, reason)
        if told["threads"] != 1:
            # It died, or a module started threads: such a process must not be forked.
            logger.warning("no zygote (%d threads), children start by exec", told["threads"])
            zygote.close()
            self._is_refused = True
            return None
        self._zygote = zygote
        return zygote

    def _drop(self) -> None:
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None


class _Zygote:
    """The running process and the line to it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, ExitStack() as undo:
            undo.callback(self._control.close)
            started = process_spawner().submit(_start, theirs.fileno(), environment)
            self._process = started.result()
            undo.pop_all()
        self._encoder, self._decoder = FrameEncoder(), FrameDecoder(FROM_ZYGOTE)

    def preload(self, modules: tuple[str, ...], import_paths: list[str]) -> JsonObject:
        """Have it import the modules; tells failures and the number of its threads."""
        fields = {
            "modules": list(modules),
            "import_paths": import_paths,
            "parent_pid": os.getpid(),
        }
        return self._ask("preload", fields, (), PRELOAD_TIMEOUT_S)

    def fork(self, work_dir: Path, environment: Mapping[str, str]) -> Launched:
        """Have it fork a child that behaves like an exec'ed one."""
        pipes = open_pipes()
        with ExitStack() as undo:
            undo.callback(pipes.close_all)
            fields = {"work_dir": str(work_dir), "environment": dict(environment)}
            told = self._ask("fork", fields, pipes.for_child, FORK_TIMEOUT_S)
            death_fd = os.pidfd_open(told["pid"])
            undo.pop_all()
        pipes.close_childs()
        return _launched(told, death_fd, self._process.pid, pipes)

    def close(self) -> None:
        """End the process; its children are told by the kernel."""
        self._control.close()
        self._process.kill()
        self._process.wait()

    def _ask(
        self, kind: str, fields: JsonObject, descriptors: tuple[int, ...], timeout_s: float
    ) -> JsonObject:
        self._control.settimeout(timeout_s)
        data = self._encoder.encode(kind, fields)
        socket.send_fds(self._control, [data], descriptors)
        received = self._control.recv(_MESSAGE_BYTES)
        if not received:
            raise BrokenPipeError("the zygote has ended")
        (frame,) = self._decoder.feed(received)
        return frame


def _launched(told: JsonObject, death_fd: int, zygote_pid: int, pipes: Pipes) -> Launched:
    def reap() -> None:
        """The kernel does; wait for the end all the same."""
        select.select([death_fd], [], [])

    return Launched(
        pid=told["pid"],
        parent_pid=zygote_pid,
        death_fd=death_fd,
        has_pidfd=True,
        connection=pipes.connection,
        log_fd=pipes.log_read,
        dump_fd=pipes.dump_fd,
        report_fd=pipes.report_fd,
        child_dump_fd=told["dump_fd"],
        child_report_fd=told["report_fd"],
        reap=reap,
    )


def _start(control_fd: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *PYTHON_FLAGS, "-m", "runner.zygote", "--fd", str(control_fd)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**_ZYGOTE_ENVIRONMENT, "PATH": os.environ.get("PATH", os.defpath), **environment},
        pass_fds=(control_fd,),
        start_new_session=True,
    )
