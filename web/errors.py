"""What keeps a server from starting; each knows the exit code that says so.

    ServerError
    ├─ BadSettings     flags 64, a named file 66, values 78
    ├─ CannotCreate    the data directory                73
    ├─ CannotListen    the port                          69
    └─ Locked          another server has the directory  81

A job that fails is no error of this kind: it is a row in the store.
"""

from __future__ import annotations

from runner.program import ProgramError


class ServerError(ProgramError):
    """Root of them."""


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
