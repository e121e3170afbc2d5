"""A task around an external program, such as a speech recogniser's command line.

One process per item, with its own time limit, on a leash, its output bounded: whatever ends the item or this
process ends the program and all it has started. Knows nothing of what the program does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import IO

from runner.environment import command_environment
from runner.errors import TaskTimeout
from runner.frames import JsonObject
from runner.keeper import END_TREE, KeeperReport
from runner.launch import PYTHON_FLAGS

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_TOLD_BYTES = 4096
"""How much of a failed program's own words goes into the error."""


class CommandFailed(Exception):
    """The program ended with another code than 0, or by a signal."""


class CommandMissing(Exception):
    """The program is not installed."""

    code = "MODEL_UNAVAILABLE"


class CommandTask:
    """Runs `argv` for each item, with the item's values in place of `{name}`."""

    def __init__(
        self,
        argv: Sequence[str],
        timeout_s: float = 3600.0,
        max_output_bytes: int = 8 << 20,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the program.

        Args:
            argv: the program and its arguments; `{name}` stands for an item's value. Put "--" before
                arguments that are names, so that none of them can be taken for an option.
            timeout_s: for one item.
            max_output_bytes: beyond this the program's output is cut.
            environment: added to what a child of ours gets; the caller's own is never passed on.
        """
        self._argv = list(argv)
        self._timeout_s = timeout_s
        self._max_output_bytes = max_output_bytes
        self._environment = dict(environment or {})
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def setup(self, device: str) -> None:
        """Find the program; the device is in the environment already.

        Raises:
            CommandMissing: it is not installed.
        """
        del device
        program = shutil.which(self._argv[0])
        if program is None:
            raise CommandMissing(f"program {self._argv[0]!r} was not found on PATH")
        self._argv[0] = program

    def run(self, item: JsonObject) -> JsonObject:
        """Run the program once.

        Raises:
            TaskTimeout: it was ended for taking too long.
            CommandFailed: with its code and its last words.
        """
        argv = [self._argv[0], *(_fill(part, item) for part in self._argv[1:])]
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            code = self._execute(argv, output, errors)
            if code != 0:
                words = _tail(errors) or _tail(output)
                raise CommandFailed(f"{self._argv[0]} ended with {_reason(code)}: {words}")
            output.seek(0)
            text = output.read(self._max_output_bytes).decode("utf-8", "replace")
        return {"output": text}

    def stop(self) -> None:
        """End the program that runs now, if any, and all it has started; from any thread."""
        with self._lock:
            if self._process is not None:
                self._process.send_signal(END_TREE)

    def _execute(self, argv: list[str], output: IO[bytes], errors: IO[bytes]) -> int:
        report_fd = os.memfd_create("report")
        try:
            process = self._start(argv, output, errors, report_fd)
            try:
                process.wait(self._timeout_s)
            except subprocess.TimeoutExpired:
                raise TaskTimeout(self._timeout_s, argv[0]) from None
            finally:
                self.stop()
                process.wait()
                with self._lock:
                    self._process = None
            report = KeeperReport.parse(os.pread(report_fd, 4096, 0))
        finally:
            os.close(report_fd)
        if report is None:
            return process.returncode
        return os.waitstatus_to_exitcode(report.wait_status)

    def _start(
        self, argv: list[str], output: IO[bytes], errors: IO[bytes], report_fd: int
    ) -> subprocess.Popen[bytes]:
        leash = ["--report-fd", str(report_fd), "--parent-pid", str(os.getpid()), "--"]
        with self._lock:
            self._process = subprocess.Popen(
                [sys.executable, *PYTHON_FLAGS, "-m", "runner.leash", *leash, *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=command_environment() | self._environment,
                pass_fds=(report_fd,),
                start_new_session=True,
            )
            return self._process


def _fill(part: str, item: JsonObject) -> str:
    return _PLACEHOLDER.sub(lambda found: str(item[found[1]]), part)


def _reason(code: int) -> str:
    return f"code {code}" if code >= 0 else f"signal {-code}"


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TOLD_BYTES))
    return file.read().decode("utf-8", "replace").strip()
