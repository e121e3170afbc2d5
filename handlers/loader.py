"""Finds the handler of a job: type, model and mode name one file below a handlers folder.

    asr + "W2V2BERT" + training  ─►  asr/w2v2bert/training.py

A name from a manifest is reduced to [a-z0-9_] and looked up among the files that exist; it is never
imported as it came. Stays light: listing what exists loads no model library.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from gitlab_jobs.callbacks import JobContext
from gitlab_jobs.errors import HandlerContractError, HandlerNotFound
from gitlab_jobs.job import Job, Mode
from handlers.base import HandlerModule, Run

PACKAGE = "handlers"
ROOT = Path(__file__).parent
MODES = frozenset(Mode)
"""Other files beside a handler are its own business."""


def load_handler(context: JobContext, further_roots: Sequence[Path] = ()) -> Run:
    """The `run` of the job's handler; folders of the operator are searched before our own.

    Raises:
        HandlerNotFound: no such file.
        HandlerContractError: the file has no `run`, or something it imports is not installed.
    """
    path = find(context.job, further_roots)
    try:
        module = _import(path)
    except ImportError as error:
        # The file exists, so an import of its own failed: an extra that is not installed, mostly.
        raise HandlerContractError(
            f"The handler {_label(path)} cannot be loaded on this worker: {error}"
        ) from error
    if not isinstance(module, HandlerModule):
        raise HandlerContractError(
            f"The handler {_label(path)} has no function run(job_context, callbacks)."
        )
    handler: HandlerModule = module
    return handler.run


def find(job: Job, further_roots: Sequence[Path] = ()) -> Path:
    """The file of a job's handler.

    Raises:
        HandlerNotFound: no such file; the message names the models that could do it.
    """
    wanted = "/".join(plain(word) for word in (job.job_type, job.model.type, job.mode)) + ".py"
    existing = {
        path.relative_to(root).as_posix(): path
        for root in (ROOT, *reversed(further_roots))
        for path in available(root)
    }
    if wanted in existing:
        return existing[wanted]
    same_mode = sorted(
        name.rpartition("/")[0] for name in existing if name.endswith(f"/{job.mode}.py")
    )
    raise HandlerNotFound(
        f'No model "{job.model.type[:100]}" can do "{job.mode}" for "{job.job_type}" on this '
        f"worker. For this mode it has: {', '.join(same_mode) or 'none'}."
    )


def available(root: Path = ROOT) -> list[Path]:
    """All handler files below a folder."""
    return sorted(path for path in root.glob("*/*/*.py") if path.stem in MODES)


def plain(name: str) -> str:
    """A name as files are spelled: lower case, only [a-z0-9_]."""
    return re.sub(r"[^a-z0-9_]", "", name.lower())


def _import(path: Path) -> ModuleType:
    if path.is_relative_to(ROOT):
        return importlib.import_module(".".join((PACKAGE, *_label(path).split("/"))))
    name = "operator_handlers." + _label(path).replace("/", ".")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses of the handler look themselves up there
    spec.loader.exec_module(module)
    return module


def _label(path: Path) -> str:
    """Type, model and mode, as in "asr/whisper/inference"."""
    return "/".join((*path.parts[-3:-1], path.stem))
