"""What keeps a server from starting; each knows the exit code that says so.

    ServerError
    ├─ BadSettings     flags 64, a named file 66, values 78
    ├─ CannotCreate    the data directory                73
    ├─ CannotListen    the port                          69
    └─ Locked          another server has the directory  81

A job that fails is no error of this kind: it is a row in the store.
"""

from __future__ import annotations


class ServerError(Exception):
    """Root of them; `hint` says what to do."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "", exit_code: int | None = None) -> None:
        """Keep the remedy apart from the message."""
        super().__init__(message)
        self.hint = hint
        self.exit_code = self.exit_code if exit_code is None else exit_code


class BadSettings(ServerError):
    """The server was asked for something that cannot be."""

    exit_code = 78


class CannotCreate(ServerError):
    """The data directory cannot be written."""

    exit_code = 73


class CannotListen(ServerError):
    """The port cannot be had."""

    exit_code = 69


class Locked(ServerError):
    """Two servers on one database would do everything twice."""

    exit_code = 81
