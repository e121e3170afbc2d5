"""What a child process does before and after its entry: settle in, announce itself, run, report.

    config frame ─► keeper forks ─► die with the keeper ─► join its group ─► limits ─► fault handler ─► signals
      ─► hello ─► import the entry ─► ready ─► entry(payload, channel) ─► result | error ─► bye ─► exit

Everything that must happen inside the child happens here, after the exec; the parent never runs code
between fork and exec. Knows no job.
"""

from __future__ import annotations

import faulthandler
import fcntl
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from runner.channel import Channel, Stopped
from runner.death import renounce_privileges, signal_on_parent_death
from runner.device import check_device
from runner.frames import (
    FROM_PARENT,
    HEADER_BYTES,
    FrameDecoder,
    FrameError,
    JsonObject,
    check_length,
)
from runner.group import Group
from runner.keeper import DUMP_STACKS, END_TREE, keep
from runner.limits import apply_limits
from runner.orders import Orders
from runner.output import flush_output
from runner.remote_error import describe

Entry = Callable[[JsonObject, Channel], JsonObject]


def run_child(connection: socket.socket) -> NoReturn:
    """Receive the orders, become the keeper, and carry the orders out in a worker below it."""
    orders = Orders.from_json(_receive_config(connection))

    def worker(keeper_pid: int) -> NoReturn:
        _work(connection, orders, keeper_pid)

    keep(worker, orders.report_fd, orders.parent_pid, _group_of(orders))


def _group_of(orders: Orders) -> Group | None:
    return Group(tuple(map(Path, orders.group))) if orders.group else None


def _receive_config(connection: socket.socket) -> JsonObject:
    header = _receive(connection, HEADER_BYTES)
    body = _receive(connection, check_length(header))
    (frame,) = FrameDecoder(FROM_PARENT).feed(header + body)
    return frame


def _receive(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise EOFError("the parent hung up before it said what to do")
        data += chunk
    return bytes(data)


def _work(connection: socket.socket, orders: Orders, keeper_pid: int) -> NoReturn:
    signal_on_parent_death(signal.SIGKILL, keeper_pid)
    is_in_group = _join_group(orders)
    renounce_privileges()
    apply_limits(orders.limits)
    os.close(orders.report_fd)
    for fd in (connection.fileno(), orders.dump_fd):
        fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    # Forked descendants (data loaders) must not speak for the child.
    os.register_at_fork(after_in_child=connection.close)
    channel = Channel(connection, orders.limits)
    _listen_to_signals(channel, orders.dump_fd)
    about_me = {"pid": os.getpid(), "python": sys.version.split()[0], "in_group": is_in_group}
    channel.send("hello", about_me)
    channel.open()
    _report(channel, orders)
    _leave_quickly()


def _join_group(orders: Orders) -> bool:
    """Enter the control group; where that is refused the parent samples memory instead."""
    group = _group_of(orders)
    try:
        if group is not None:
            group.join()
    except OSError:
        return False
    return group is not None


def _listen_to_signals(channel: Channel, dump_fd: int) -> None:
    dump = os.fdopen(dump_fd, "w", encoding="utf-8")
    faulthandler.enable(dump)
    faulthandler.register(DUMP_STACKS, dump, chain=False)
    # The terminal sends INT to everybody; the parent alone decides what it means for us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: channel.stop("terminated"))
    signal.pthread_sigmask(
        signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGCHLD, DUMP_STACKS, END_TREE}
    )


def _report(channel: Channel, orders: Orders) -> None:
    kind, fields = _outcome(channel, orders)
    try:
        channel.finish(kind, fields)
    except FrameError as error:
        channel.finish("error", describe(error, phase="result"))


def _outcome(channel: Channel, orders: Orders) -> tuple[str, JsonObject]:
    """Run the entry; the boundary where every way of leaving it becomes a frame."""
    phase = "load"
    try:
        check_device(orders.device)
        entry = load_entry(orders.entry, orders.import_paths)
        channel.send("ready")
        channel.check()
        phase = "run"
        result: object = entry(orders.payload, channel)
    except Stopped as stopped:
        return "error", {**describe(stopped, phase), "stopped": stopped.reason}
    except BaseException as error:  # noqa: BLE001 - the child's outermost boundary
        fields = describe(error, phase)
        if channel.stop_reason is not None and not isinstance(error, Exception):
            # An entry may translate Stopped into its own control-flow exception.
            fields["stopped"] = channel.stop_reason
        return "error", fields
    if not isinstance(result, dict):
        wrong = TypeError(f"{orders.entry} returned {type(result).__name__}, expected a dict")
        return "error", describe(wrong, phase)
    return "result", {"result": result}


def load_entry(name: str, import_paths: tuple[str, ...]) -> Entry:
    """Import "package.module:function".

    Raises:
        ImportError: no such module, or its own imports fail.
        LookupError: the module has no such function.
    """
    for path in reversed(import_paths):
        if path not in sys.path:
            sys.path.insert(0, path)
    module_name, _, function_name = name.partition(":")
    module = importlib.import_module(module_name)
    entry: Entry | None = getattr(module, function_name, None)
    if not callable(entry):
        raise LookupError(f"module {module_name} has no function {function_name!r}")
    return entry


def _leave_quickly() -> NoReturn:
    """Exit without tearing libraries down: memory comes back with the process, hangs do not."""
    flush_output()
    os._exit(0)
