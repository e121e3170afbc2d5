"""Carries out one command of `python -m gitlab_jobs` and returns what to print.

    options ─► settings, token ─► catalogue ─► the project's store ─► cli_edit | cli_view ─► lines

Prints nothing itself. The handlers are looked up by the worker's own loader, named and not imported.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from threading import Event
from typing import Any

from gitlab_jobs import cli_edit, cli_view
from gitlab_jobs.daemon import open_catalog
from gitlab_jobs.errors import ConfigError, InvalidJob
from gitlab_jobs.settings import load_settings, read_token
from gitlab_jobs.store import ProjectStore

HANDLER_FINDER = "handlers.loader:find"
DEFAULT_MODELS = {"tts": "StableTTS", "asr": "W2V2BERT"}
COLUMNS = ("job_id", "state", "kind", "model", "epochs", "worker", "name")


def execute(options: argparse.Namespace) -> str:
    """Do what was asked; returns the text for standard output.

    Raises:
        ScriptoriumError: with words for a person.
    """
    commands: Mapping[str, Callable[[ProjectStore, argparse.Namespace], Any]] = {
        "list": lambda store, _: cli_view.rows(cli_view.look(store)),
        "status": _status,
        "submit": _submit,
        "cancel": _cancel,
        "explain": _explain,
    }
    answer = commands[options.command](_open(options), options)
    if options.json:
        return json.dumps(answer, indent=2, ensure_ascii=False)
    return _text(answer)


def _open(options: argparse.Namespace) -> ProjectStore:
    named = {
        "--gitlab-url": options.gitlab_url,
        "--token-file": options.token_file,
        "--project-dir": options.project_dir,
    }
    settings = load_settings(
        [word for flag, value in named.items() if value for word in (flag, value)]
    )
    token = None if settings.project_dir else read_token(settings)
    catalog = open_catalog(settings, token, Event())
    found = {view.project.path: view.project for view in catalog.poll()}
    if settings.project_dir is not None and len(found) == 1:
        return catalog.open(next(iter(found.values())))
    if options.project not in found:
        raise ConfigError(
            f"no project {options.project!r} for this account" if options.project else "no project",
            hint=f"--project may be one of: {', '.join(sorted(found)) or 'none'}",
        )
    return catalog.open(found[options.project])


def _status(store: ProjectStore, options: argparse.Namespace) -> dict[str, Any]:
    jobs = cli_view.look(store)
    job = jobs.find(options.job_id)
    if job is None:
        raise InvalidJob(f"there is no readable job {options.job_id} in {store.project.path}")
    return cli_view.row(jobs, job)


def _submit(store: ProjectStore, options: argparse.Namespace) -> dict[str, Any]:
    wanted = cli_edit.NewJob(
        job_type=options.job_type,
        mode=options.mode,
        model=options.model or DEFAULT_MODELS[options.job_type],
        name=options.name,
        description=options.description,
        base_checkpoint=options.base_checkpoint,
        epochs=options.epochs,
        include_verses=options.include,
        exclude_verses=options.exclude,
        voice_reference=options.voice_reference,
        transmorgrifier=options.transmorgrifier,
    )
    entry = cli_edit.new_entry(wanted, datetime.now(UTC))
    cli_edit.submit(store, entry)
    return {"job_id": entry["job_id"]}


def _cancel(store: ProjectStore, options: argparse.Namespace) -> dict[str, Any]:
    cli_edit.cancel(store, options.job_id)
    return {"job_id": options.job_id, "canceled": True}


def _explain(store: ProjectStore, options: argparse.Namespace) -> dict[str, Any]:
    module, _, name = HANDLER_FINDER.partition(":")
    find = getattr(importlib.import_module(module), name)
    reasons = cli_view.explain(
        cli_view.look(store),
        options.job_id,
        datetime.now(UTC),
        find,
        can_write=store.can_write(),
    )
    return {"job_id": options.job_id, "reasons": reasons}


def _text(answer: Any) -> str:
    if isinstance(answer, list):
        return _table(answer)
    if "reasons" in answer:
        return "\n".join(answer["reasons"])
    return "\n".join(f"{name}: {value}" for name, value in answer.items() if value is not None)


def _table(found: Sequence[Mapping[str, Any]]) -> str:
    if not found:
        return "no jobs"
    cells = [list(COLUMNS), *([str(row[name] or "") for name in COLUMNS] for row in found)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )
