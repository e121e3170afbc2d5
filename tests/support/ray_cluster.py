"""A Ray cluster of one small node on the loopback interface, and its end."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

CPUS = 2


@contextmanager
def ray_cluster() -> Iterator[str]:
    """Start it and yield its address; inside, this process and its children have the key to it.

    Ray reads the key when it is imported, so nobody may have done that before.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    # Paths of its sockets must stay below 108 characters.
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    settings = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # one machine: the loopback interface is enough
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    head = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block",
         "--node-ip-address=127.0.0.1", f"--port={port}", f"--num-cpus={CPUS}", "--num-gpus=0",
         "--object-store-memory=80000000", "--include-dashboard=false", f"--temp-dir={folder}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        _await_start(head)
        yield f"127.0.0.1:{port}"
    finally:
        _end(head)
        shutil.rmtree(folder, ignore_errors=True)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _await_start(head: subprocess.Popen[bytes]) -> None:
    assert head.stdout is not None
    said = b""
    for line in head.stdout:
        said += line
        if b"Ray runtime started" in line:
            return
    raise AssertionError(f"no Ray cluster: {said.decode()}")


def _end(head: subprocess.Popen[bytes]) -> None:
    """Ask, then make sure: none of its processes outlives the test."""
    processes = psutil.Process(head.pid).children(recursive=True) if head.poll() is None else []
    head.terminate()
    head.communicate(timeout=60)
    _, alive = psutil.wait_procs(processes, timeout=20)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=20)
