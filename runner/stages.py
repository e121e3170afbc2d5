"""A workflow per file whose stages run in children of their own: never two stages in memory at once.

    file-major    file 1: [stage A] [stage B]   file 2: [stage A] [stage B]    a fresh child in each bracket
    stage-major   [stage A: file 1, file 2, …] [stage B: file 1, file 2, …]    a warm child in each bracket

The peak is the largest stage, since a bracket's child has exited before the next one starts. Stage-major loads each
model once per window; file-major has the first file ready first. Both tell what their children have held, by which
`runner.isolation` chooses between them and children that stay. Knows no model: a stage is a task.

A stage's task gets `{"item": …, "stages": {earlier stage: {"values": …, "folder": …, "artifacts": […]}}, "folder": …}`,
writes its files into `folder` and returns `{"values": {…}, "artifacts": [Artifact.to_json(), …]}`.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.artifacts import Artifact, ArtifactError
from runner.errors import PoolClosed, RunnerError, TaskFailed
from runner.executors import Site, fresh_executor, warm_executor
from runner.frames import FrameError, JsonObject
from runner.peak import Peak
from runner.pool import Pool, PoolOptions
from runner.slot import Recycle
from runner.task import TaskSpec

logger = logging.getLogger(__name__)

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the workflow."""

    name: str
    task: TaskSpec
    is_needed: bool = True
    """Whether a file without it has failed; an optional stage that fails is a warning."""
    timeout_s: float = 3600.0
    """For one file."""


@dataclass(frozen=True, slots=True)
class StageOutput:
    """What one stage made of one file; its files have been checked."""

    values: JsonObject
    folder: Path
    artifacts: tuple[Artifact, ...] = ()

    def to_json(self) -> JsonObject:
        """What the next stages are told."""
        listed = [artifact.to_json() for artifact in self.artifacts]
        return {"values": self.values, "folder": str(self.folder), "artifacts": listed}


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file."""

    item: JsonObject
    outputs: dict[str, StageOutput]
    warnings: dict[str, RunnerError]
    """Optional stages that failed, and why."""
    failed_stage: str | None = None
    error: RunnerError | None = None

    @property
    def has_succeeded(self) -> bool:
        """Whether every needed stage has."""
        return self.error is None


@dataclass(slots=True)
class _File:
    item: JsonObject
    folder: Path
    outputs: dict[str, StageOutput] = field(default_factory=dict)
    warnings: dict[str, RunnerError] = field(default_factory=dict)
    failed_stage: str | None = None
    error: RunnerError | None = None

    def fail(self, stage: Stage, error: RunnerError) -> None:
        if stage.is_needed:
            self.failed_stage, self.error = stage.name, error
        else:
            logger.warning("optional stage %s failed: %s", stage.name, error)
            self.warnings[stage.name] = error

    def result(self) -> FileResult:
        return FileResult(self.item, self.outputs, self.warnings, self.failed_stage, self.error)


class StageWorkflow:
    """Runs files through stages, in either order; one run at a time."""

    def __init__(
        self, stages: Sequence[Stage], site: Site, options: PoolOptions | None = None
    ) -> None:
        """Describe the workflow; nothing is started yet.

        Args:
            stages: in order; names are unique and become folders.
            site: where and on what; results lie below its `work_dir` until the caller takes them away.
            options: of each stage's pool.

        Raises:
            ValueError: a stage's name cannot be used.
        """
        names = [stage.name for stage in stages]
        for name in names:
            if not _STAGE_NAME.fullmatch(name) or names.count(name) > 1:
                raise ValueError(f"stage name {name!r} is not unique or not plain")
        self._stages = tuple(stages)
        self._site = site
        self._options = options or PoolOptions()
        self._numbers = itertools.count()
        self._pool: Pool | None = None
        self._peaks: dict[str, Peak] = {}
        self._is_closed = False

    @property
    def peaks(self) -> Mapping[str, Peak]:
        """What each stage's children have held at most, as far as they have run."""
        return dict(self._peaks)

    def run_file_major(self, items: Iterable[JsonObject]) -> Iterator[FileResult]:
        """Take each file through all stages, every stage in a fresh child.

        Raises:
            PoolClosed: the workflow was closed meanwhile.
        """
        for item in items:
            file = self._file(item)
            for stage in self._stages:
                if file.error is None:
                    self._pass(stage, [file], is_warm=False)
            yield file.result()

    def run_stage_major(
        self, items: Iterable[JsonObject], window: int = 100
    ) -> Iterator[FileResult]:
        """Take a window of files through a stage on warm children, end those, go on to the next stage.

        Raises:
            PoolClosed: the workflow was closed meanwhile.
        """
        source = iter(items)
        while chunk := list(itertools.islice(source, window)):
            files = [self._file(item) for item in chunk]
            for stage in self._stages:
                going = [file for file in files if file.error is None]
                if going:
                    self._pass(stage, going, is_warm=True)
            yield from (file.result() for file in files)

    def close(self) -> None:
        """End the running stages at once; whoever waits for results sees `PoolClosed`."""
        self._is_closed = True
        pool = self._pool
        if pool is not None:
            pool.close(0.0)

    def _file(self, item: JsonObject) -> _File:
        return _File(item, self._site.work_dir / "files" / f"{next(self._numbers):06}")

    def _pass(self, stage: Stage, files: Sequence[_File], *, is_warm: bool) -> None:
        """Bring files through one stage, whose children are gone afterwards."""
        try:
            pool = self._open(stage, len(files), is_warm=is_warm)
        except PoolClosed as error:  # its task cannot be set up
            self._check_open()
            for file in files:
                file.fail(stage, error)
            return
        self._pool = pool
        try:
            self._check_open()
            futures = [(file, self._submit(pool, stage, file)) for file in files]
            for file, future in futures:
                self._settle(stage, file, future)
            self._note_peak(stage, pool)
        finally:
            pool.close()
            self._pool = None

    def _note_peak(self, stage: Stage, pool: Pool) -> None:
        for worker in pool.status().workers:
            if worker.peak != Peak():
                self._peaks[stage.name] = self._peaks.get(stage.name, Peak()) | worker.peak

    def _open(self, stage: Stage, files: int, *, is_warm: bool) -> Pool:
        site = replace(self._site, work_dir=self._site.work_dir / "children" / stage.name)
        options = replace(self._options, queue_limit=max(1, files))
        if not is_warm:
            return fresh_executor(stage.task, site, options)
        return warm_executor(stage.task, site, options, Recycle(max_items=max(1000, files)))

    def _submit(self, pool: Pool, stage: Stage, file: _File) -> Future[JsonObject]:
        folder = file.folder / stage.name
        folder.mkdir(parents=True, exist_ok=True)
        told: JsonObject = {
            "item": file.item,
            "stages": {name: output.to_json() for name, output in file.outputs.items()},
            "folder": str(folder),
        }
        try:
            return pool.submit(told, timeout_s=stage.timeout_s)
        except FrameError as error:
            refused: Future[JsonObject] = Future()
            refused.set_exception(TaskFailed("FrameError", str(error), code="TOO_LARGE"))
            return refused

    def _settle(self, stage: Stage, file: _File, future: Future[JsonObject]) -> None:
        try:
            file.outputs[stage.name] = _checked(future.result(), file.folder / stage.name)
        except RunnerError as error:
            self._check_open()
            file.fail(stage, error)

    def _check_open(self) -> None:
        if self._is_closed:
            raise PoolClosed("the workflow was closed")


def _checked(output: JsonObject, folder: Path) -> StageOutput:
    """Take an output apart and compare its files with what was announced."""
    values, listed = output.get("values", {}), output.get("artifacts", [])
    try:
        if not isinstance(values, dict) or not isinstance(listed, list):
            raise ArtifactError("a stage returns values (an object) and artifacts (a list)")
        artifacts = tuple(Artifact.parse(fields) for fields in listed)
        for artifact in artifacts:
            artifact.check(folder)
    except ArtifactError as error:
        raise TaskFailed(type(error).__name__, str(error), code=error.code) from error
    return StageOutput(values, folder, artifacts)
