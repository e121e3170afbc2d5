"""The descriptors between a parent and one child: made together, handed over, closed on both sides."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pipes:
    """Both ends of everything; the memory files are shared, not copied."""

    connection: socket.socket
    childs_connection: socket.socket
    log_read: int
    log_write: int
    dump_fd: int
    report_fd: int

    @property
    def for_child(self) -> tuple[int, int, int, int]:
        """What the child gets: socket, log, stack dump, report."""
        return self.childs_connection.fileno(), self.log_write, self.dump_fd, self.report_fd

    def close_childs(self) -> None:
        """Close our copies of the child's ends, so that its end can be seen."""
        self.childs_connection.close()
        os.close(self.log_write)

    def close_all(self) -> None:
        """Close everything: the child was not started."""
        self.close_childs()
        self.connection.close()
        for fd in (self.log_read, self.dump_fd, self.report_fd):
            os.close(fd)


def open_pipes() -> Pipes:
    """Make a set for one child."""
    ours, theirs = socket.socketpair()
    log_read, log_write = os.pipe()
    return Pipes(
        connection=ours,
        childs_connection=theirs,
        log_read=log_read,
        log_write=log_write,
        dump_fd=os.memfd_create("stacks"),
        report_fd=os.memfd_create("report"),
    )
