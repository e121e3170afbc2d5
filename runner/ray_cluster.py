"""A Ray cluster that is there already: the connection to it, what it has, and what its nodes see.

Starts no cluster and knows no task. Importing this module imports Ray.
"""

from __future__ import annotations

import secrets
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from runner.errors import PoolClosed

LOOK_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the cluster."""

    node_id: str
    name: str
    cpus: int
    gpus: int


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Use a running cluster inside the block.

    Args:
        address: "auto" for the one that this machine is part of, or "host:port".

    Raises:
        PoolClosed: there is none.
    """
    # Ray takes TERM for itself, and with it the chance to finish what is in flight.
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, log_to_driver=False, configure_logging=False)
    except (RayError, ConnectionError, ValueError, RuntimeError) as error:
        raise PoolClosed(f"no Ray cluster at {address}: {error}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
    try:
        yield
    finally:
        ray.shutdown()


def nodes() -> list[Node]:
    """The machines that are up."""
    return [
        Node(
            node["NodeID"],
            node["NodeManagerHostname"],
            int(node["Resources"].get("CPU", 0)),
            int(node["Resources"].get("GPU", 0)),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def unseen(paths: Sequence[Path], shared: Path) -> dict[str, list[str]]:
    """By node, the paths that it does not see as this machine does.

    Args:
        paths: files and folders that must be there.
        shared: a folder in which each node must see what this machine has just written.

    Raises:
        PoolClosed: a node cannot even look, for example since this program is not installed there.
    """
    secret = secrets.token_hex(8)
    mark = shared / ".seen-by-all"
    mark.write_text(secret, encoding="ascii")
    told = [str(path) for path in paths]
    look: Any = ray.remote(_look)
    try:
        asked = {
            node.name: look.options(
                num_cpus=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False),
            ).remote(told, str(mark), secret)
            for node in nodes()
        }
        answers = {name: ray.get(one, timeout=LOOK_TIMEOUT_S) for name, one in asked.items()}
    except RayError as error:
        words = " ".join(str(error).split())[-300:]
        raise PoolClosed(f"a node of the cluster cannot run this program: {words}") from error
    finally:
        mark.unlink()
    return {name: missing for name, missing in answers.items() if missing}


def _look(paths: list[str], mark: str, secret: str) -> list[str]:
    """Runs on a node."""
    missing = [path for path in paths if not Path(path).exists()]
    try:
        is_shared = Path(mark).read_text(encoding="ascii") == secret
    except OSError:
        is_shared = False
    return missing if is_shared else [str(Path(mark).parent), *missing]
