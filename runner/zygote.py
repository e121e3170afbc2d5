"""A process that imports heavy modules once and then forks a child in milliseconds.

    supervisor ── exec ──► zygote: imports the preload list, single thread, never touches CUDA
         │ descriptors, folder, environment      │ fork
         └──────────────────────────────────────►├──► keeper ──► worker   (as after an exec)
                                                 └──► keeper ──► worker

The child side of `runner.zygote_launch`. A preload that starts a thread is refused: a fork would copy
its locks without it. Dies with the supervisor, and its children die with it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from runner.bootstrap import run_child
from runner.boundary import Raised, boundary
from runner.death import signal_on_parent_death
from runner.frames import FrameDecoder, FrameEncoder, JsonObject

FROM_SUPERVISOR = frozenset({"preload", "fork"})
FROM_ZYGOTE = frozenset({"ready", "forked"})
DESCRIPTORS = 4
"""Sent along with each fork: the child's socket, its log pipe, stack dump, report."""
_MESSAGE_BYTES = 1 << 20


def serve(control: socket.socket) -> NoReturn:
    """Import what the supervisor lists, then fork what it asks for until it hangs up."""
    encoder, decoder = FrameEncoder(), FrameDecoder(FROM_SUPERVISOR)
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, DESCRIPTORS)
        if not data:
            os._exit(0)
        (frame,) = decoder.feed(data)
        if frame["t"] == "preload":
            answer = encoder.encode("ready", _preload(frame))
        else:
            pid = os.fork()
            if pid == 0:
                _become_child(control, frame, descriptors)
            fields = {"pid": pid, "dump_fd": descriptors[2], "report_fd": descriptors[3]}
            answer = encoder.encode("forked", fields)
        control.sendall(answer)
        for fd in descriptors:
            os.close(fd)


def _preload(frame: JsonObject) -> JsonObject:
    signal_on_parent_death(signal.SIGKILL, frame["parent_pid"])
    sys.path[:0] = frame["import_paths"]
    failures = {}
    for name in frame["modules"]:
        try:
            with boundary("preload"):
                importlib.import_module(name)
        except Raised as raised:  # the child that needs it will say it better
            failures[name] = f"{type(raised.error).__name__}: {raised.error}"
    threads = len(list(Path("/proc/self/task").iterdir()))
    return {"failures": failures, "threads": threads}


def _become_child(control: socket.socket, frame: JsonObject, descriptors: list[int]) -> NoReturn:
    control.close()
    connection_fd, log_fd, _, _ = descriptors
    os.setsid()
    for number in (1, 2):
        os.dup2(log_fd, number)
    os.close(log_fd)
    os.chdir(frame["work_dir"])
    os.environ.clear()
    os.environ.update(frame["environment"])
    run_child(socket.socket(fileno=connection_fd))


def main() -> NoReturn:
    """Serve the supervisor at the other end of an inherited socket."""
    parser = argparse.ArgumentParser(prog="runner.zygote", description=main.__doc__)
    parser.add_argument("--fd", type=int, required=True, help="inherited socket to the supervisor")
    # The kernel reaps our children; the supervisor watches them by pidfd and reads their reports.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(socket.socket(fileno=parser.parse_args().fd))


if __name__ == "__main__":
    main()
