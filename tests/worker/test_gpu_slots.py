"""The daemon on recorded GPUs: a slot for each, room before a job, a sick one left alone, smaller steps."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.daemon import Daemon, await_true
from support.job_world import JobWorld, job
from support.nvml import GIB, RecordedNvml

from gitlab_jobs.device_watch import DeviceWatch, read_troubles
from runner.atomic import write_json
from runner.gpu import inventory
from runner.peak import Peak
from runner.peak_store import PeakStore
from runner.verdict import ChildExit, Usage, Verdict

WORKER = Path(__file__).parents[1] / "support" / "gpu_worker.py"
HANDLERS = WORKER.parent / "gpu_handlers"
MIB = 1 << 20
KEY = "asr whisper inference tiny auto on NVIDIA A10"

Run = Callable[..., Daemon]


def gpu(letter: str, **state: Any) -> dict[str, Any]:
    """One of several equal GPUs."""
    return {"uuid": f"GPU-{letter}", "name": "NVIDIA A10", "total": 24 * GIB, "used": 0, **state}


@pytest.fixture
def on_gpus(world: JobWorld, tmp_path: Path) -> Run:
    """Start a one-shot daemon on a machine with these GPUs."""
    machine = tmp_path / "machine.json"
    variables = {
        "RECORDED_GPUS": str(machine),
        "SCRIPTORIUM_MODELS__WHISPER__BASE": "tiny",
        "SCRIPTORIUM_MODELS__W2V2BERT__BASE": "tiny",
        "SCRIPTORIUM_MODELS__W2V2BERT__PRECISION": "float32",
    }

    def start(gpus: list[dict[str, Any]], *arguments: str) -> Daemon:
        machine.write_text(json.dumps(gpus), encoding="utf-8")
        return world.run_worker(
            *("--handlers-dir", str(HANDLERS), *arguments), entry=WORKER, environment=variables
        )

    return start


def whisper(job_id: str, name: str, **fields: Any) -> Any:
    """A job of the stand-in."""
    return job(job_id, "Whisper", name=name, **fields)


def result(world: JobWorld, job_id: str) -> Any:
    """What a completed job says."""
    response = world.response(job_id)
    assert response.get("state") == "completed", response
    return response["result"]


def test_three_jobs_use_three_gpus_at_once(world: JobWorld, on_gpus: Run, tmp_path: Path) -> None:
    """Each sees its own one alone, and they wait for each other."""
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    names = ("a1", "a2", "a3")
    world.submit(*(whisper(name, "meet", description=str(meeting)) for name in names))
    with on_gpus([gpu("a"), gpu("b"), gpu("c"), gpu("d")], "--gpus", "0,GPU-c,3") as daemon:
        assert daemon.wait() == 0, daemon.log
    assert {result(world, name)["gpu"] for name in names} == {"GPU-a", "GPU-c", "GPU-d"}


def test_a_sick_gpu_is_left_alone_and_its_job_goes_to_another_one(
    world: JobWorld, on_gpus: Run
) -> None:
    """The job is not failed; the log, a file and the doctor say which GPU and why."""
    world.submit(whisper("a1", "1"), whisper("a2", "1"))
    machine = [gpu("a", unseen=True), gpu("b")]
    with on_gpus(machine, "--max-concurrent-jobs", "1") as daemon:
        assert daemon.wait() == 0, daemon.log
    assert result(world, "a1")["gpu"] == result(world, "a2")["gpu"] == "GPU-b"
    assert daemon.log.count("GPU GPU-a is quarantined") == 1
    with on_gpus(machine, "--check") as doctor:
        assert doctor.wait() == 82
    (line,) = [line for line in doctor.output.splitlines() if "GPU-a" in line]
    assert line.startswith("ERROR")
    assert "promised GPU-a" in line


def test_without_a_healthy_gpu_jobs_stay_pending(world: JobWorld, on_gpus: Run) -> None:
    """For another box, with nothing left behind."""
    world.submit(whisper("a1", "1"))
    with on_gpus([gpu("a", unseen=True)]) as daemon:
        assert daemon.wait() == 0, daemon.log
    assert world.response("a1") == {}
    with on_gpus([gpu("a", ecc=3)]) as daemon:
        assert daemon.wait() == 0, daemon.log
    assert "claimed" not in daemon.log


def test_a_gpu_that_keeps_the_memory_is_left_alone_and_the_job_is_none_the_worse(
    world: JobWorld, on_gpus: Run, tmp_path: Path
) -> None:
    """Two gibibytes do not come back when the process has ended."""
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    world.submit(whisper("a1", "meet", description=str(meeting)))
    with on_gpus([gpu("a")]) as daemon:
        daemon.await_log("job a1: infer")
        write_json(tmp_path / "machine.json", [gpu("a", used=2 * GIB)])
        for other in ("one", "two"):
            (meeting / other).touch()
        assert daemon.wait() == 0, daemon.log
    assert result(world, "a1")["gpu"] == "GPU-a"
    assert "GPU GPU-a is quarantined: 2048 MiB did not come back" in daemon.log


def test_a_job_waits_where_there_is_no_room_for_it(world: JobWorld, on_gpus: Run) -> None:
    """By what jobs of its kind have held; the numbers are in the log, and nothing is claimed."""
    world.submit(whisper("a1", "1"), job("other", "Stubborn"))
    work = world.directory / "worker"
    work.mkdir()
    PeakStore(work / "memory_peaks.json").record(KEY, Peak(gpu_bytes=30 * GIB))
    with on_gpus([gpu("a")]) as daemon:
        assert daemon.wait() == 0, daemon.log
    assert "job a1 has to wait: NVIDIA A10: 30.0 GiB needed, it has 24.0 GiB in all" in daemon.log
    assert world.response("a1") == {}
    # The other kind was never measured, and has no handler here.
    assert world.response("other")["error_code"] == "MODEL_UNKNOWN"


def test_jobs_that_share_a_gpu_do_not_count_on_the_same_memory(
    world: JobWorld, on_gpus: Run, tmp_path: Path
) -> None:
    """The first one has not taken its share yet when the second one is looked at."""
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    world.submit(*(whisper(name, "meet", description=str(meeting)) for name in ("a1", "a2", "a3")))
    work = world.directory / "worker"
    work.mkdir()
    PeakStore(work / "memory_peaks.json").record(KEY, Peak(gpu_bytes=9 * GIB))
    with on_gpus([gpu("a")], "--max-concurrent-jobs", "3") as daemon:
        daemon.await_log("job a2: infer")
        daemon.await_log("job a3 has to wait: NVIDIA A10: 10.4 GiB needed, 3.2 GiB free")
        (meeting / "somebody").touch()
        assert daemon.wait() == 0, daemon.log
    assert [result(world, name)["gpu"] for name in ("a1", "a2", "a3")] == ["GPU-a"] * 3


def test_a_job_that_needs_too_much_is_given_less_until_it_fits(
    world: JobWorld, on_gpus: Run
) -> None:
    """Every step is in the job's log and in its result, and the next job begins there."""
    world.submit(whisper("a1", "0.25"), whisper("a2", "0.25"))
    with on_gpus([gpu("a")]) as daemon:
        assert daemon.wait() == 0, daemon.log
    first, second = result(world, "a1"), result(world, "a2")
    assert first["share"] == second["share"] == 0.25
    assert first["memory"]["rung"] == "halve"
    steps = [line.partition(":")[0] for line in first["memory"]["tries"]]
    assert steps == ["start", "retry", "halve"]
    assert second["memory"]["tries"] == []
    assert second["memory"]["batch_share"] == 0.25
    log = (world.read("gpu_jobs/job_a1/logs.txt") or b"").decode()
    assert log.count("The GPU's memory did not suffice; trying again") == 3
    assert "trying again with half the batch" in log
    # What a try had handed over before it failed is not published.
    notes = {path for path in world.files() if path.startswith("gpu_jobs/job_a1/0")}
    assert notes == {"gpu_jobs/job_a1/0.25.txt"}
    assert "gpu_jobs/job_a1/1.0.txt" not in world.files()


def test_every_step_that_a_family_can_take_is_tried_and_told(world: JobWorld, on_gpus: Run) -> None:
    """Shorter pieces, half batches, activations, precision, shorter clips; the next job begins there."""
    fields = {"name": "longest_clip_s=8.0"}
    world.submit(
        job("a1", "W2V2BERT", "training_and_inference", **fields),
        job("a2", "W2V2BERT", "training_and_inference", **fields),
    )
    with on_gpus([gpu("a")]) as daemon:
        assert daemon.wait() == 0, daemon.log
    memory = result(world, "a1")["memory"]
    steps = [line.partition(":")[0] for line in memory.pop("tries")]
    halved = ["halve"] * 4
    assert steps == ["start", "retry", "split", *halved, "checkpoint", "precision", "cap"]
    changes = {
        "piece_share": 0.5,
        "batch_share": 1 / 16,
        "accumulation": 16,
        "checkpoints_activations": True,
        "precision": "auto",
        "longest_clip_s": 8.0,
    }
    assert memory == {"rung": "cap", **changes}
    assert result(world, "a1")["choice"].items() >= changes.items()
    assert result(world, "a2")["memory"] == {"rung": "start", **changes, "tries": []}
    log = (world.read("gpu_jobs/job_a1/logs.txt") or b"").decode()
    assert "trying again without recordings longer than 15 s" in log


def test_a_job_that_nothing_saves_fails_with_all_tries_in_its_log(
    world: JobWorld, on_gpus: Run
) -> None:
    """The processor is not tried unless the operator allows it."""
    world.submit(whisper("a1", "0"))
    with on_gpus([gpu("a")]) as daemon:
        assert daemon.wait() == 0, daemon.log
    assert world.response("a1")["error_code"] == "OOM_GPU"
    log = (world.read("gpu_jobs/job_a1/logs.txt") or b"").decode()
    assert "Nothing more can be tried:" in log
    assert "precision: RuntimeError: CUDA out of memory" in log


def test_a_kept_process_whose_gpu_memory_grows_makes_way_for_a_fresh_one(
    world: JobWorld, on_gpus: Run, tmp_path: Path
) -> None:
    """Three jobs show what it takes; a fifth more after the fourth is a leak."""

    def hold(pid: int, used: int) -> None:
        write_json(tmp_path / "machine.json", [gpu("a", processes=[(pid, used)])])

    names = [f"k{number}" for number in range(6)]
    jobs = [whisper(name, "keep") for name in names]
    world.submit(jobs[0])
    with on_gpus([gpu("a")], "--loop-interval", "0.05") as daemon:
        for number, name in enumerate(names):
            world.submit(*jobs[: number + 1])
            daemon.await_log(f"job {name} ended: completed")
            pid = result(world, name)["pid"]
            hold(pid, GIB if number < 3 else GIB + 200 * MIB)
        assert daemon.log.count("leaves: gpu_growth") == 1
    pids = [result(world, name)["pid"] for name in names]
    assert pids[:5] == [pids[0]] * 5
    assert pids[5] != pids[0]


def test_a_gpu_is_used_again_after_three_good_probes(tmp_path: Path) -> None:
    """And a job that two GPUs have failed under is the suspect itself."""
    clock, probed = [0.0], threading.Semaphore(0)

    def probe(_device: str, _work_dir: Path) -> str | None:
        probed.release()
        return None

    machine = RecordedNvml([gpu("a")])
    watch = DeviceWatch(
        ["GPU-a"], tmp_path, read=lambda: inventory(machine), probe=probe, now=lambda: clock[0]
    )
    lost = ended(Verdict.GPU_LOST)
    watch.look_after("GPU-a", None, None, lost)
    assert [watch.is_to_blame("GPU-a", lost, "a1") for _ in range(2)] == [True, False]
    assert not watch.is_to_blame("GPU-a", ended(Verdict.FAILED), "a1")
    for number in range(3):
        assert "it was lost" in str(watch.trouble("GPU-a")), number
        assert list(read_troubles(tmp_path).values()) == [watch.trouble("GPU-a")]
        clock[0] += 600.0
        watch.look()
        assert probed.acquire(timeout=30)
        await_true(lambda: not watch.is_probing, "the end of the probe")
    assert watch.trouble("GPU-a") is None
    assert read_troubles(tmp_path) == {}


def ended(verdict: Verdict) -> ChildExit:
    """The end of a child, and nothing else."""
    usage = Usage(0, 0.0, 0.0, 0.0)
    return ChildExit(verdict, None, None, None, None, None, usage, (), detail="seen")
