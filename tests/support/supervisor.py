"""A supervisor to be killed: starts one child that leaves grand-children, tells their pids, waits."""

from __future__ import annotations

import sys
from pathlib import Path

from support.children import running


def main() -> None:
    """Serve until somebody kills this process."""
    tmp_path = Path(sys.argv[1])
    pid_file = tmp_path / "pids"
    payload = {"pid_file": str(pid_file), "then": "wait"}
    with running(tmp_path, "leave_grandchildren", payload) as child:
        child.await_progress()
        pids = [child.process.pid, *map(int, pid_file.read_text().split())]
        sys.stdout.write(" ".join(map(str, pids)) + "\n")
        sys.stdout.flush()
        child.end()


if __name__ == "__main__":
    main()
