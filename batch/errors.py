"""What ends a batch run before or beside its files; each knows the exit code that says so.

    BatchError
    ├─ BadUsage        flags that do not go together            64
    ├─ BadData         a state file or list that is damaged     65
    ├─ InputMissing    a named input that cannot be read        66
    ├─ CannotRun       no worker, model or device               69
    ├─ CannotCreate    state or output cannot be written        73
    └─ Locked          another runner works on this state       81

A file that fails is no error of this kind: it is a record in the state.
"""

from __future__ import annotations

from runner.program import ProgramError


class BatchError(ProgramError):
    """Root of them."""


class BadUsage(BatchError):
    """The command line cannot be meant."""

    exit_code = 64


class BadData(BatchError):
    """A file of ours or of the user's that is not what it should be."""

    exit_code = 65


class InputMissing(BatchError):
    """Nothing is where the user says."""

    exit_code = 66


class CannotRun(BatchError):
    """What the work needs is not on this machine."""

    exit_code = 69


class CannotCreate(BatchError):
    """A place that cannot be written."""

    exit_code = 73


class Locked(BatchError):
    """Two runners on one state would do everything twice."""

    exit_code = 81
