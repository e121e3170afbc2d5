"""What the process engine costs and gives: every ratio measured in one run, one Markdown table.

    python -m benchmarks.runner          (about three minutes; `make bench-runner`)

Ratios compare two ways in the same run, interleaved where the machine's own noise would decide. Exits 1
when a budget is missed.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from benchmarks.runner_ends import ENDS, end_of
from benchmarks.runner_stages import auto_choice, stages
from benchmarks.runner_watch import Holdings, processor_s
from benchmarks.runner_ways import (
    ITEM_S,
    PATIENT,
    ROOT,
    Row,
    iterations_for,
    run_all,
    run_in_turn,
    task,
    took_s,
    warm,
)
from runner.cgroup import process_groups
from runner.errors import SlotDied
from runner.executors import Site, fresh_executor, thread_executor
from runner.launch import launch_exec
from runner.line import ParentLine
from runner.pool import PoolOptions
from runner.slot import Launch, Recycle
from runner.task import TaskSpec
from runner.zygote_launch import ZygoteLauncher

Measure = Callable[[Path], Iterator[Row]]


def warm_overhead(home: Path) -> Iterator[Row]:
    """A loaded model in a bare loop is the upper limit: the same worker does that in one item, and times it."""
    item: dict[str, object] = {"iterations": iterations_for(ITEM_S)}
    together, bare, pooled = 4, [], []
    with warm(home, task("Work")) as pool:
        run_all(pool, [item])
        (worker,) = pool.status().workers
        both = [psutil.Process(), psutil.Process(worker.pid)]
        for _ in range(25):
            begun_s = processor_s(*both)
            wall_s = pool.submit({**item, "times": together}).result(120)["loop_s"]
            bare.append((wall_s, processor_s(*both) - begun_s))
            begun_s = processor_s(*both)
            wall_s = run_all(pool, [item] * together)
            pooled.append((wall_s, processor_s(*both) - begun_s))
        cost_s = min(run_all(pool, [{}] * 200) for _ in range(10)) / 200
    # The least disturbed round of each: with more work than cores, whoever waits loses its turn.
    wall = min(wall_s for wall_s, _ in pooled) / min(wall_s for wall_s, _ in bare)
    processor = sum(used_s for _, used_s in pooled) / sum(used_s for _, used_s in bare)
    yield Row(
        "warm pool over a bare loop, items of 200 ms",
        f"{(wall - 1) * 100:+.1f} %, processor time {(processor - 1) * 100:+.1f} %"
        f" (empty item: {cost_s * 1000:.2f} ms)",
        "≤ +2 %",
        wall <= 1.02,
    )


def warm_against_fresh(home: Path) -> Iterator[Row]:
    """What keeping a model is worth when it takes 1 s to load."""
    spec, count = task("Work", load_s=1.0), 10
    items: list[dict[str, object]] = [{"iterations": iterations_for(ITEM_S)}] * count
    pool = fresh_executor(spec, Site(home / "fresh"), PATIENT)
    fresh_s = run_all(pool, items)
    pool.close()
    begun = time.perf_counter()
    with warm(home / "warm", spec) as pool:
        kept_s = run_all(pool, items)
        with_load_s = time.perf_counter() - begun
    yield Row(
        "warm pool against a process per item, load 1 s, items of 200 ms",
        f"{fresh_s / kept_s:.1f}× ({fresh_s / with_load_s:.1f}× for {count} items with its own load)",
        "≥ 3×",
        fresh_s / kept_s >= 3,
    )


def more_workers(home: Path) -> Iterator[Row]:
    """One core per item is all there is."""
    items: list[dict[str, object]] = [{"iterations": iterations_for(ITEM_S)}] * 18
    times_s = {}
    for workers in (1, 2, 3):
        with warm(home / str(workers), task("Work"), workers) as pool:
            times_s[workers] = run_all(pool, items)
    gains = ", ".join(f"{n} workers {times_s[1] / times_s[n]:.2f}×" for n in (2, 3))
    yield Row(f"throughput on {os.cpu_count()} cores against 1 worker", gains)


_SAVE_MODEL = """
import sys
from transformers import WhisperConfig, WhisperForConditionalGeneration
size = dict(d_model=384, encoder_layers=4, decoder_layers=4, encoder_attention_heads=6,
            decoder_attention_heads=6, encoder_ffn_dim=1536, decoder_ffn_dim=1536)
WhisperForConditionalGeneration(WhisperConfig(**size)).save_pretrained(sys.argv[1])
"""

_LOAD_MODEL = """
import sys, time
begun = time.perf_counter()
from transformers import WhisperForConditionalGeneration
imported = time.perf_counter()
WhisperForConditionalGeneration.from_pretrained(sys.argv[1])
print(imported - begun, time.perf_counter() - imported)
"""


def _python(program: str, *arguments: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return done.stdout


def fresh_start(home: Path) -> Iterator[Row]:
    """A fresh process for a model whose libraries take seconds to import."""
    model_dir = home / "model"
    _python(_SAVE_MODEL, str(model_dir))
    told = [[float(x) for x in _python(_LOAD_MODEL, str(model_dir)).split()] for _ in range(3)]
    import_s, load_s = (statistics.median(column) for column in zip(*told, strict=True))
    zygote = ZygoteLauncher(("transformers.models.whisper.modeling_whisper",))
    warm_up_s = took_s(zygote.warm_up)
    over_ms, own_ms = _fresh_item_ms(home / "forked", model_dir, zygote, 7)
    was_forked = zygote.execs == 0
    zygote.close()
    exec_ms, _ = _fresh_item_ms(home / "executed", model_dir, launch_exec, 3)
    yield Row(
        "fresh process over the model's own load, zygote",
        f"{over_ms:+.0f} ms (own load {own_ms:.0f} ms, in a plain process {load_s * 1000:.0f} ms;"
        f" zygote ready once in {warm_up_s:.1f} s)",
        "≤ +300 ms",
        over_ms <= 300 and was_forked,
    )
    yield Row(
        "the same by plain exec", f"{exec_ms:+.0f} ms, of which importing {import_s * 1000:.0f} ms"
    )


def _fresh_item_ms(home: Path, model_dir: Path, launch: Launch, rounds: int) -> tuple[float, float]:
    """What an item takes beyond its model's own load, which the same process measures; and that load."""
    spec = task("Speech", model_dir=str(model_dir))
    pool = fresh_executor(spec, Site(home, launch=launch), PATIENT)
    pairs = []
    for _ in range(rounds):
        begun = time.perf_counter()
        own_s = pool.submit({}).result(120)["load_s"]
        pairs.append((time.perf_counter() - begun - own_s, own_s))
    pool.close()
    over_s, own_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    return over_s * 1000, own_s * 1000


_SPEAK = """
import socket, sys
from runner.frames import FrameEncoder
line, encoder = socket.socket(fileno=int(sys.argv[1])), FrameEncoder()
for step in range(int(sys.argv[2])):
    line.sendall(encoder.encode("progress", {"fields": {"step": step, "loss": 0.5}}))
"""


def ends(home: Path) -> Iterator[Row]:
    """Every way to run out of memory or to crash, by a child that does it."""
    told = []
    for number, end in enumerate(ENDS):
        folder = home / str(number)
        folder.mkdir()
        if end_of(end, folder).verdict is end.verdict:
            told.append(end)
    missing = "" if process_groups() else " (no control groups here: two cannot be done)"
    yield Row(
        "out-of-memory and crash kinds told right, each by a child that does it",
        f"{len(told)} of {len(ENDS)}{missing}",
        "8 of 8",
        len(told) == len(ENDS) == 8,
    )


def programs(_home: Path) -> Iterator[Row]:
    """What the leash around an external program costs."""
    pool = thread_executor(TaskSpec("runner.command:CommandTask", {"argv": ["true"]}))
    pairs = [
        (
            took_s(lambda: subprocess.run(["true"], check=True)),
            took_s(lambda: pool.submit({}).result(60)),
        )
        for _ in range(20)
    ]
    pool.close()
    over_ms = statistics.median(leashed - bare for bare, leashed in pairs) * 1000
    yield Row("external program in a thread, over starting it bare", f"{over_ms:+.0f} ms")


def frames(_home: Path) -> Iterator[Row]:
    """One frame per write, another process, the parent's own reader."""
    count = 200_000
    ours, theirs = socket.socketpair()
    speaker = subprocess.Popen(
        [sys.executable, "-c", _SPEAK, str(theirs.fileno()), str(count)],
        pass_fds=(theirs.fileno(),),
        cwd=ROOT,
    )
    theirs.close()
    line, heard = ParentLine(ours), 0
    ours.settimeout(None)  # wait for bytes instead of asking for them again and again
    heard += len(line.read() or ())
    begun = time.perf_counter()
    while not line.has_ended:
        heard += len(line.read() or ())
    rate = heard / (time.perf_counter() - begun)
    ours.close()
    complete = speaker.wait(10) == 0 and heard == count
    yield Row(
        "frames from child to parent", f"{rate:,.0f} /s", "≥ 50,000 /s", complete and rate >= 50_000
    )


def death(home: Path) -> Iterator[Row]:
    """From `kill -9` of a worker to the moment its owner knows."""
    waits_s = []
    for number in range(10):
        pool = fresh_executor(
            task("Work", load_s=60.0), Site(home / str(number)), PoolOptions(max_crashes=1)
        )
        future = pool.submit({})
        while (pid := pool.status().workers[0].pid) is None or not _has_begun(pid):
            time.sleep(0.01)
        begun = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        assert isinstance(future.exception(60), SlotDied)
        waits_s.append(time.perf_counter() - begun)
        pool.close()
    slowest_ms = max(waits_s) * 1000
    yield Row(
        "death of a child noticed, slowest of 10",
        f"{slowest_ms:.0f} ms (median {statistics.median(waits_s) * 1000:.0f})",
        "≤ 100 ms",
        slowest_ms <= 100,
    )


def _has_begun(pid: int) -> bool:
    """Whether a process waits for something: the task sleeps in its setup."""
    return (
        Path(f"/proc/{pid}/wchan").exists() and len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    )


def tiny_tasks(home: Path) -> Iterator[Row]:
    """Ten thousand items through one pool leave nothing behind."""
    with warm(home, task("Work")) as pool:
        # One more than recycles the worker: neither look meets an old and a new process side by side.
        run_in_turn(pool, Recycle().max_items + 1)
        before, child_before = Holdings.now(home), pool.status().workers[0].rss_bytes
        spent_s = run_in_turn(pool, 10_000)
        after, child_after = Holdings.now(home), pool.status().workers[0].rss_bytes
    grown_mb = (after.rss_bytes - before.rss_bytes) / 1e6
    child_mb = (child_after - child_before) / 1e6
    leaks = (
        after.descriptors - before.descriptors,
        after.threads - before.threads,
        after.files - before.files,
    )
    yield Row(
        "10,000 tiny items: growth of supervisor and worker",
        f"{grown_mb:.1f} and {child_mb:.1f} MB in {spent_s:.1f} s",
        "≤ 5 MB",
        max(grown_mb, child_mb) <= 5,
    )
    yield Row(
        "leaked descriptors, threads, files", ", ".join(map(str, leaks)), "0", max(leaks) <= 0
    )


def poison(home: Path) -> Iterator[Row]:
    """Items that crash every process they meet, among good ones."""
    with warm(home, task("Work"), 2) as pool:
        bad, good = [], []
        for _ in range(100):
            bad.append(pool.submit({"crash": True}))
            good += [pool.submit({}) for _ in range(3)]
        given_up = sum(isinstance(future.exception(120), SlotDied) for future in bad)
        served = sum(future.exception(120) is None for future in good)
    is_kept = given_up == 100 and served == 300
    measured = f"{given_up} of 100 given up, {served} of 300 others served"
    yield Row("poison takes nobody down", measured, "100, 300", is_kept)


def imports(_home: Path) -> Iterator[Row]:
    """What a command line pays for having the engine at hand."""
    bare_s, with_s = (
        min(_processor_s(lambda text=text: _python(text)) for _ in range(7))
        for text in ("pass", "import runner.executors")
    )
    over_ms = (with_s - bare_s) * 1000
    yield Row(
        "import of the engine over bare Python, processor time",
        f"{over_ms:.0f} ms",
        "≤ 150 ms",
        over_ms <= 150,
    )


def _processor_s(work: Callable[[], object]) -> float:
    """What the programs that were started meanwhile have used; waiting for others does not count."""
    before = os.times()
    work()
    after = os.times()
    return (
        after.children_user - before.children_user + after.children_system - before.children_system
    )


MEASURES: tuple[Measure, ...] = (
    warm_overhead,
    warm_against_fresh,
    more_workers,
    fresh_start,
    stages,
    auto_choice,
    programs,
    frames,
    death,
    tiny_tasks,
    poison,
    ends,
    imports,
)


def main() -> int:
    """Measure everything and print the table."""
    logging.getLogger("runner").setLevel(logging.CRITICAL)  # what dies here dies on purpose
    begun, missed = time.perf_counter(), 0
    print("| what | measured | budget | kept |\n|---|---|---|---|")
    for measure in MEASURES:
        with tempfile.TemporaryDirectory() as home:
            for row in measure(Path(home)):
                kept = {True: "yes", False: "**no**", None: ""}[row.is_kept]
                missed += row.is_kept is False
                print(f"| {row.what} | {row.measured} | {row.budget} | {kept} |", flush=True)
    load = os.getloadavg()[0]
    print(f"\n{os.cpu_count()} cores, load {load:.1f}, {time.perf_counter() - begun:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
