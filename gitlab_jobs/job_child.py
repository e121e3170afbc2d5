"""The entry of a job's child process: load the handler, run it, hand back its result; perhaps again.

Runs in the child only. One process may work on several jobs, one after the other, if a handler has asked it
to keep a model (`load_once`); each has its own ticket, directory and callbacks. Knows no GitLab; the loader is named by the ticket, because this package never
imports `handlers`.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from gitlab_jobs import wire
from gitlab_jobs.callbacks import JobCallbacks, JobContext
from gitlab_jobs.child_callbacks import ChildCallbacks
from gitlab_jobs.errors import HandlerContractError, JobError
from gitlab_jobs.job import JobResult
from gitlab_jobs.kept_models import KeptModels
from runner.child import Channel
from runner.environment import settle_in
from runner.turns import take_turns

Run = Callable[[JobContext, JobCallbacks], Any]
Load = Callable[[JobContext, tuple[Path, ...]], Run]


def make_ticket(
    context: JobContext, work_dir: Path, *, loader: str, handler_dirs: tuple[Path, ...]
) -> dict[str, Any]:
    """What the child needs to know, as plain JSON; it holds no secret.

    Args:
        context: the job.
        work_dir: its directory on this machine.
        loader: "package.module:function" that finds the handler's `run`.
        handler_dirs: further folders with handler files, searched first.
    """
    return {
        "context": wire.pack(wire.CONTEXT, context),
        "work_dir": str(work_dir),
        "loader": loader,
        "handler_dirs": [str(path) for path in handler_dirs],
    }


def run(ticket: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Run the handler that the ticket's job asks for, and those of the tickets that follow."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s"
    )
    kept = KeptModels()
    return take_turns(
        ticket, channel, lambda following: _run_job(following, channel, kept), lambda: kept.has_any
    )


def _run_job(ticket: dict[str, Any], channel: Channel, kept: KeptModels) -> dict[str, Any]:
    work_dir = Path(ticket["work_dir"])
    settle_in(work_dir)
    kept.begin_job()
    context = wire.CONTEXT.validate_python(ticket["context"])
    module_name, _, function_name = str(ticket["loader"]).partition(":")
    load = cast(Load, getattr(importlib.import_module(module_name), function_name))
    handler = load(context, tuple(Path(path) for path in ticket["handler_dirs"]))
    callbacks = ChildCallbacks(channel, context.job, work_dir, kept)
    return wire.pack(wire.RESULT, as_result(handler(context, callbacks)))


def as_result(returned: object) -> JobResult:
    """A handler's return value; the worker plan's `{"success": …}` mappings are understood too.

    Raises:
        JobError: the mapping says that the job failed.
        HandlerContractError: it is something else altogether.
    """
    if isinstance(returned, JobResult):
        return returned
    if isinstance(returned, Mapping) and isinstance(returned.get("success"), bool):
        if not returned["success"]:
            raise JobError(str(returned.get("error_message") or "the handler reported a failure"))
        return JobResult(checkpoint_path=returned.get("checkpoint_path"))
    raise HandlerContractError(
        f"the handler returned {type(returned).__name__}; expected a JobResult or a mapping with "
        "'success'"
    )
