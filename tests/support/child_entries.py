"""Entries that children of the runner tests run; each one misbehaves in exactly one way, for real."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from runner.child import Channel, RequestFailed, Stopped


def echo(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Return what it was given."""
    return {"payload": payload, "pid": os.getpid()}


def environment(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Describe the world it lives in."""
    return {
        "environment": dict(os.environ),
        "cwd": str(Path.cwd()),
        "session": os.getsid(0),
        "descriptors": sorted(int(fd.name) for fd in Path("/proc/self/fd").iterdir()),
        "oom_score_adj": Path("/proc/self/oom_score_adj").read_text().strip(),
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "no_new_privs": "NoNewPrivs:\t1" in Path("/proc/self/status").read_text(),
        "stdin": str(Path("/proc/self/fd/0").readlink()),
        "argv": Path("/proc/self/cmdline").read_bytes().decode(),
    }


def report_and_ask(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Report steps, then have the parent add."""
    for step in range(payload["steps"]):
        channel.progress(step=step)
    return channel.request("add", {"a": 1, "b": 2})


def progress_during_request(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Report from a thread while the main thread waits for a reply."""

    def tick() -> None:
        for step in range(20):
            channel.progress(step=step)
            time.sleep(0.02)

    ticker = threading.Thread(target=tick)
    ticker.start()
    reply = channel.request("slow", {})
    ticker.join()
    return reply


def request_that_fails(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Tell what a failing request raised."""
    try:
        channel.request("fail", {})
    except RequestFailed as error:
        return {"kind": error.kind, "code": error.code, "message": error.message}
    return {}


def requests_from_threads(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Ask from eight threads at once."""
    sums: list[int] = []

    def ask(number: int) -> None:
        sums.append(int(channel.request("add", {"a": number, "b": 0})["sum"]) - number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"differences": sums}


def wait_for_reply(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Ask something that takes for ever."""
    channel.progress(waiting=True)
    return channel.request("never", {})


def check_forever(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Work in small steps until stopped."""
    channel.progress(started=True)
    while True:
        channel.check()
        time.sleep(0.005)


class CustomCancel(BaseException):
    pass


def translate_stop(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Turn the stop into a control-flow exception of its own."""
    try:
        check_forever(payload, channel)
    except Stopped as stopped:
        raise CustomCancel(stopped.reason) from stopped
    return {}


def last_words(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Save its work after the stop, then stop."""
    try:
        check_forever(payload, channel)
    except Stopped:
        channel.request("save", {"checkpoint": "best"}, even_if_stopped=True)
        raise
    return {}


def swallow_stop(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Ignore the polite request; end on SIGTERM, unless it is deaf."""
    channel.progress(started=True)
    while channel.stop_reason != "terminated" or payload.get("deaf"):
        time.sleep(0.005)
    return {}


def ignore_everything(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Ignore the request and SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel.progress(started=True)
    while True:
        time.sleep(1)


class OutOfCheese(Exception):
    code = "CHEESE"


def fail(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Raise an error with a code."""
    raise OutOfCheese("no cheese left in Ångström")


def fail_with(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Raise an error caused by another whose class and text the caller chose."""
    kind = type(payload["kind"], (RuntimeError,), {})
    try:
        raise kind(payload["message"])
    except RuntimeError as error:
        raise RuntimeError("the step failed") from error


def fail_with_huge_message(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Raise an error that fits no frame."""
    raise ValueError("x" * 40_000_000)


def missing_library(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Need a library that is not there."""
    import surely_not_installed_anywhere  # noqa: F401

    return {}


def eat_memory(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Allocate until the limit says no."""
    return {"length": len([bytearray(8 * 1024 * 1024) for _ in range(10_000)])}


def fill_memory(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Hold memory in forked processes, shared or their own, until ended or for a moment."""
    shared = b"x" * payload.get("shared_bytes", 0)
    for _ in range(payload["processes"]):
        if os.fork() == 0:
            own = b"x" * payload.get("own_bytes", 0)
            time.sleep(60)
            os._exit(len(own) + len(shared) > 0)
    channel.progress(filled=True)
    time.sleep(payload["for_s"])
    return {}


def fork_many(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Start processes that only wait."""
    for _ in range(payload["count"]):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    return {}


def return_a_list(payload: dict[str, Any], channel: Channel) -> Any:
    """Break the entry's contract."""
    return [1]


def return_no_json(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Return what no frame can carry."""
    return {"value": object()}


def return_too_much(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Return more than a frame may carry."""
    return {"text": "x" * (17 * 1024 * 1024)}


def return_much(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Return almost as much as a frame may carry."""
    return {"text": "x" * (15 * 1024 * 1024)}


def segfault(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Read from address 1."""
    ctypes.string_at(1)
    return {}


def kill_self(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """End by a signal."""
    os.kill(os.getpid(), payload["signal"])
    time.sleep(10)
    return {}


def abort(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """End as a failed assertion in C does."""
    os.abort()


def exit_hard(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Leave without a word."""
    os._exit(payload["code"])


def exit_softly(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Call sys.exit."""
    sys.exit(3)


def _connection(channel: Channel) -> socket.socket:
    return channel._connection


def garbage(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Write bytes of the caller's choice to the channel."""
    _connection(channel).sendall(payload["text"].encode("latin-1"))
    time.sleep(10)
    return {}


def hang_up(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """End the conversation, but not the process."""
    channel._is_finished = True
    _connection(channel).shutdown(socket.SHUT_WR)
    time.sleep(20)
    return {}


def hold_the_lock(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Block in C with the interpreter lock held."""
    channel.progress(started=True)
    time.sleep(0.3)
    libc = ctypes.PyDLL(None)  # PyDLL keeps the interpreter lock during the call
    mutex = ctypes.create_string_buffer(64)  # zeros are a fresh pthread mutex
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)
    return {}


def stall(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Beat, but never move."""
    time.sleep(60)
    return {}


def chatter(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Write from Python, C and a grand-child."""
    sys.stdout.write("from python\n")
    sys.stderr.write("to stderr\n")
    libc = ctypes.CDLL(None)
    libc.puts(b"from c")
    subprocess.run(["/bin/sh", "-c", "echo from a grand-child"], check=True)
    os.write(1, b"last words without a line end")
    return {}


def megabytes(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Write many lines from C."""
    libc = ctypes.CDLL(None)
    for number in range(payload["lines"]):
        libc.puts(b"%08d " % number + b"x" * 90)
    return {}


def say(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Write parts one by one."""
    for part in payload["parts"]:
        os.write(1, part.encode())
        time.sleep(0.01)
    return {}


_GRANDCHILD = (
    "import os, sys, time\n"
    "if 'session' in sys.argv: os.setsid()\n"
    "open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\n"
    "time.sleep(300)\n"
)


def _grandchild(pid_file: str, *options: str, clean: bool = False) -> None:
    subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GRANDCHILD, pid_file, *options],
        env={} if clean else None,
    )


def leave_grandchildren(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Leave three kinds behind: a plain one, one in its own session, and one that nobody can trace."""
    pid_file = payload["pid_file"]
    _grandchild(pid_file)
    _grandchild(pid_file, "session")
    if os.fork() == 0:  # a daemon: its parent is gone, its session new, its environment empty
        _grandchild(pid_file, "session", clean=True)
        os._exit(0)
    while not Path(pid_file).exists() or len(Path(pid_file).read_text().split()) < 3:
        time.sleep(0.005)
    channel.progress(grandchildren=3)
    if payload.get("then") == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if payload.get("then") == "wait":
        time.sleep(300)
    return {}


def fork_a_speaker(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Let a forked descendant try to speak for it."""
    pid = os.fork()
    if pid == 0:
        channel.progress(forged=True)
        channel.send("result", {"result": {"forged": True}})
        os._exit(0)
    os.waitpid(pid, 0)
    return {"forged": False}


def write_a_file(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Write a file of the caller's size."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    Path("large.bin").write_bytes(b"x" * payload["bytes"])
    return {}
