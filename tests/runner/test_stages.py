"""Workflows whose stages never share memory: real children, real allocations, watched from outside."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.children import TESTS_DIR, until

from benchmarks.runner_watch import peak_above_now
from runner.errors import PoolClosed, SlotDied, TaskFailed
from runner.executors import Site
from runner.pool import PoolOptions
from runner.stages import FileResult, Stage, StageWorkflow
from runner.task import TaskSpec

Run = Callable[[StageWorkflow, list[dict[str, Any]]], Iterator[FileResult]]
QUICK = PoolOptions(backoff_first_s=0.01, backoff_most_s=0.02)


RUNS: dict[str, Run] = {
    "file-major": lambda workflow, items: workflow.run_file_major(items),
    "stage-major": lambda workflow, items: workflow.run_stage_major(items, window=2),
}


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Run:
    """All orders keep the same promises."""
    return RUNS[request.param]


def stage(name: str, task: str = "Copyist", *, is_needed: bool = True, **options: Any) -> Stage:
    """A stage of the test's tasks."""
    spec = TaskSpec(
        f"support.stage_tasks:{task}", {"name": name, **options}, import_paths=(TESTS_DIR,)
    )
    return Stage(name, spec, is_needed=is_needed)


def workflow(tmp_path: Path, *stages: Stage) -> StageWorkflow:
    """On this machine's CPU."""
    return StageWorkflow(stages, Site(tmp_path), QUICK)


def files(*names: str, **trouble: str) -> list[dict[str, Any]]:
    """Items; the trouble is the second file's."""
    return [{"file": name, **(trouble if number == 1 else {})} for number, name in enumerate(names)]


def text_of(result: FileResult, name: str) -> str:
    """What a stage wrote for a file."""
    output = result.outputs[name]
    return (output.folder / output.artifacts[0].name).read_text()


def test_each_stage_gets_what_earlier_ones_wrote(tmp_path: Path, run: Run) -> None:
    """By file; results come in the order of the files."""
    flow = workflow(tmp_path, stage("hear"), stage("refine"))

    results = list(run(flow, files("a", "b", "c")))

    assert [result.item["file"] for result in results] == ["a", "b", "c"]
    assert all(result.has_succeeded for result in results)
    assert [text_of(result, "refine") for result in results] == [
        f"hear {name}\nrefine {name}\n" for name in "abc"
    ]


@pytest.mark.parametrize(
    ("trouble", "error"), [("fail", TaskFailed), ("crash", SlotDied), ("lie", TaskFailed)]
)
def test_a_needed_stage_fails_its_file_only(
    tmp_path: Path, run: Run, trouble: str, error: type[Exception]
) -> None:
    """By exception, by crash, by a file that is not what was announced; later stages are spared."""
    flow = workflow(tmp_path, stage("hear"), stage("refine"))

    first, second, third = run(flow, files("a", "b", "c", hear=trouble))

    assert first.has_succeeded
    assert third.has_succeeded
    assert second.failed_stage == "hear"
    assert isinstance(second.error, error)
    assert second.outputs == {}


def test_an_optional_stage_that_fails_is_a_warning(tmp_path: Path, run: Run) -> None:
    """The stages after it go on without it."""
    flow = workflow(tmp_path, stage("hear"), stage("refine", is_needed=False), stage("sum"))

    first, second = run(flow, files("a", "b", refine="fail"))

    assert first.warnings == {}
    assert second.has_succeeded
    assert "refine cannot read b" in str(second.warnings["refine"])
    assert text_of(second, "sum") == "hear b\nsum b\n"


@pytest.mark.parametrize("is_needed", [True, False])
def test_a_stage_that_cannot_be_set_up_fails_like_any_other(
    tmp_path: Path, run: Run, is_needed: bool
) -> None:
    """With the reason; nobody waits for it."""
    flow = workflow(tmp_path, stage("hear"), stage("llm", "Unavailable", is_needed=is_needed))

    (result,) = run(flow, files("a"))

    assert result.has_succeeded != is_needed
    told = str(result.error if is_needed else result.warnings["llm"])
    assert "no weights at /models/llm" in told
    assert "hear" in result.outputs


def test_an_output_that_is_no_stages_output_fails_the_file(tmp_path: Path, run: Run) -> None:
    """The contract is checked where it is received."""
    (result,) = run(workflow(tmp_path, stage("hear", "NoStage")), files("a"))

    assert isinstance(result.error, TaskFailed)
    assert result.error.code == "CHILD_PROTOCOL"


def test_stage_major_loads_once_per_window_and_file_major_once_per_file(tmp_path: Path) -> None:
    """That is the whole difference."""
    diary = tmp_path / "diary"
    flow = workflow(tmp_path, stage("hear", diary=str(diary)), stage("sum", diary=str(diary)))

    list(flow.run_stage_major(files("a", "b", "c"), window=2))
    assert diary.read_text().split() == ["hear", "sum", "hear", "sum"]

    diary.unlink()
    list(flow.run_file_major(files("a", "b")))
    assert diary.read_text().split() == ["hear", "sum", "hear", "sum"]


@pytest.mark.parametrize("order", RUNS)
def test_the_peak_is_the_largest_stage(
    tmp_path: Path, order: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """300 and 150 MiB that are really there, summed over the whole tree of processes."""
    flow = workflow(tmp_path, stage("hear", mib=300), stage("sum", mib=150))

    with peak_above_now() as peak:
        results = list(RUNS[order](flow, files("a", "b")))

    assert all(result.has_succeeded for result in results)
    peak_mib = peak.bytes / 2**20
    with capsys.disabled():
        sys.stderr.write(f"\nstages of 300 and 150 MiB, {order}: {peak_mib:.0f} MiB\n")
    assert 300 <= peak_mib <= 330
    assert 300 <= flow.peaks["hear"].host_bytes / 2**20 <= 330


def test_closing_ends_a_running_stage(tmp_path: Path, run: Run) -> None:
    """A daemon that stops does not wait for an hour of audio."""
    flow = workflow(tmp_path, stage("hear"))
    raised: list[BaseException] = []

    def work() -> None:
        try:
            list(run(flow, [{"file": "a", "hear": "wait"}]))
        except PoolClosed as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: (tmp_path / "files" / "000000" / "hear").exists())
    flow.close()
    thread.join(30)

    assert not thread.is_alive()
    assert len(raised) == 1


@pytest.mark.parametrize("names", [("a", "a"), ("../x",), ("",), ("A B",)])
def test_stage_names_become_folders_and_are_checked(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Before anything starts."""
    with pytest.raises(ValueError, match="stage name"):
        workflow(tmp_path, *(stage(name) for name in names))
