"""Packs through stages that give their memory back: for machines on which not everything fits at once.

    stage   a window of packs through decoding, its children end; then through the model, …
    file    each pack through all stages, a fresh child for each

The order and the isolation are the process engine's (`runner.stages`); here its results become outcomes.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from batch.crew import Crew, Tasks, timeout_s
from batch.flow import (
    WRITTEN_AT_ONCE,
    Outcome,
    Warned,
    Write,
    await_due,
    described,
    fetched,
    written,
)
from batch.kept import SectionStore
from batch.recordings.packing import Pack
from batch.recordings.source import Asset
from runner.errors import NoWorker
from runner.peak import Peak
from runner.stages import FileResult, Stage, StageWorkflow
from runner.zygote_launch import ZygoteLauncher

WINDOW = 50
"""Packs that go through a stage together."""


class StagedFlow:
    """Runs packs window by window."""

    def __init__(
        self,
        crew: Crew,
        write: Write,
        scratch: Path,
        sections: SectionStore,
        *,
        is_file_major: bool,
    ) -> None:
        self._sections = sections
        self._crew = crew
        self._write = write
        self._scratch = scratch
        self._is_file_major = is_file_major
        self.peaks: dict[str, Peak] = {}
        """By stage, the most that a child has held so far."""
        # A fresh child for each file need not import everything anew.
        self._zygote = _zygote(crew.tasks) if is_file_major else None

    def run(
        self,
        packs: Iterable[Pack],
        on_begin: Callable[[Pack], None],
        should_stop: Callable[[], bool],
    ) -> Iterator[Outcome]:
        """Carry packs; a stop is heeded between windows."""
        source = iter(packs)
        window = 1 if self._is_file_major else WINDOW
        try:
            while not should_stop() and (chunk := list(itertools.islice(source, window))):
                for pack in chunk:
                    on_begin(pack)
                    if not await_due(pack, should_stop):
                        break
                else:
                    yield from self._carry(chunk)
        finally:
            if self._zygote is not None:
                self._zygote.close()

    def _carry(self, chunk: list[Pack]) -> Iterator[Outcome]:
        begun = time.monotonic()
        folder = self._scratch / "fetched"
        ready: list[list[tuple[Asset, Path]]] = []
        for number, pack in enumerate(chunk):
            (folder / str(number)).mkdir(parents=True)
            here, failed = fetched(pack, folder / str(number))
            yield from failed
            if here:
                ready.append(here)
        items = [described(here, self._sections) for here in ready]
        site = self._crew.site(self._scratch, "stages", self._crew.devices)
        if self._zygote is not None:
            site = replace(site, launch=self._zygote)
        workflow = StageWorkflow(self._stages(), site)
        run = workflow.run_file_major if self._is_file_major else workflow.run_stage_major
        again: list[Pack] = []
        # Several at once, since what is done after writing may have to wait.
        with ThreadPoolExecutor(WRITTEN_AT_ONCE, "writer") as writers:
            written_packs: list[Future[list[Outcome]]] = []
            for here, result in zip(ready, run(items), strict=True):
                assets = [asset for asset, _ in here]
                if len(assets) > 1 and _has_a_guilty_file(result):
                    again += [Pack((asset,)) for asset in assets]
                else:
                    written_packs.append(writers.submit(self._outcomes, assets, result))
            for future in written_packs:
                outcomes = future.result()
                share_s = round((time.monotonic() - begun) / len(outcomes), 3)
                yield from (replace(outcome, elapsed_s=share_s) for outcome in outcomes)
        for stage, peak in workflow.peaks.items():
            self.peaks[stage] = self.peaks.get(stage, Peak()) | peak
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self._scratch / "stages", ignore_errors=True)
        if again:
            yield from self._carry(again)

    def _stages(self) -> list[Stage]:
        tasks = self._crew.tasks
        return [
            Stage("decode", tasks.decode),
            Stage("transcribe", tasks.transcribe, timeout_s=timeout_s(24 * 3600.0)),
            *(
                Stage(extra.name, extra.task, is_needed=False, timeout_s=timeout_s(24 * 3600.0))
                for extra in tasks.extras
            ),
        ]

    def _outcomes(self, assets: list[Asset], result: FileResult) -> list[Outcome]:
        if result.error is not None:
            code, message = result.error.code, str(result.error)
            return [Outcome(asset, code=code, message=message) for asset in assets]
        stages = {name: output.to_json() for name, output in result.outputs.items()}
        warnings = [Warned.by(name, error) for name, error in result.warnings.items()]
        return list(written(assets, stages, self._write, warnings))


def _has_a_guilty_file(result: FileResult) -> bool:
    """Whether a stage failed for what is in the pack, so that its files are better taken one by one."""
    optional = (not isinstance(error, NoWorker) for error in result.warnings.values())
    return result.error is not None or any(optional)


def _zygote(tasks: Tasks) -> ZygoteLauncher:
    specs = (tasks.decode, tasks.transcribe, *(extra.task for extra in tasks.extras))
    modules = dict.fromkeys(module for spec in specs for module in spec.preload)
    return ZygoteLauncher(tuple(modules), import_paths=tasks.decode.import_paths)
