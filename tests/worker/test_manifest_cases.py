"""Interop cases 1 to 11: manifests as people, editors and accidents make them, on the real server.

Every case ends the same way: the daemon exits with 0, other jobs were served, and a diff of two clones
shows that nothing was written outside the folders of the jobs it answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from support.devserver import project
from support.job_world import MANIFEST, PROJECT, JobWorld, job
from support.manifests import EXAMPLES

OTHER = "bible/other"


@pytest.fixture
def world(tmp_path: Path) -> JobWorld:
    """Two projects, the second with one good job, which must be served in every case."""
    both = (project(PROJECT, files={"README.md": "ours"}), project(OTHER, files={"a": "b"}))
    world = JobWorld(tmp_path, *both)
    world.submit(job("good", submitted_at="2026-12-31T08:00:00Z"), to=OTHER)
    return world


def run(world: JobWorld, *folders: str) -> str:
    """Run one round; only these job folders may have changed. Returns the log."""
    with world:
        before = world.files()
        log = world.run_to_end()
        assert world.state("good", of=OTHER) == "completed"
        touched = _differences(before, world.files())
        allowed = tuple(f"gpu_jobs/job_{folder}/" for folder in folders)
        strays = [path for path in touched if not (allowed and path.startswith(allowed))]
        assert not strays
        for folder in allowed:
            assert any(path.startswith(folder) for path in touched), folder
        return log


def states(world: JobWorld, *job_ids: str) -> list[str | None]:
    """States as of now; the server is still up inside `with world`."""
    return [world.state(job_id) for job_id in job_ids]


def test_case_01_the_editors_first_job_is_claimed_and_shown(world: JobWorld) -> None:
    """Running with our name and no epoch of 100 at first, all 100 at the end."""
    world.write(MANIFEST, EXAMPLES["tts_training"])
    job_id = "mmkbkzk0_sx1fl0nwmy"
    with world:
        world.run_to_end()
        first, *_, last = _versions(world, job_id)
    assert (first["state"], first["worker_id"], first["epochs_completed"]) == (
        "running",
        "worker",
        0,
    )
    assert (last["state"], last["worker_id"], last["epochs_completed"]) == (
        "completed",
        "worker",
        100,
    )


def test_case_02_a_project_without_a_manifest_is_ignored(world: JobWorld) -> None:
    """No error, no warning, no write."""
    assert "WARNING" not in run(world)


def test_case_03_an_unreadable_manifest_costs_its_project_one_warning(tmp_path: Path) -> None:
    """Five of them, beside one good project: each is named once and skipped, poll after poll."""
    texts = {
        "version-2": "version: 2\njobs:\n  - job_id: a1\n",
        "version-text": "version: '1'\njobs:\n  - job_id: a1\n",
        "empty": "",
        "list": "- job_id: a1\n",
        "no-yaml": "version: 1\njobs: [\n<<<<<<< HEAD\n",
    }
    bad = [project(f"bible/{name}", files={MANIFEST: text}) for name, text in texts.items()]
    with JobWorld(tmp_path, *bad, project(OTHER, files={"a": "b"})) as world:
        world.submit(job("good"), job("better"), to=OTHER)
        log = world.run_to_end()
        assert world.state("good", of=OTHER) == world.state("better", of=OTHER) == "completed"
        assert all(world.by_worker(of=f"bible/{name}") == [] for name in texts)
    warnings = sorted(line for line in log.splitlines() if "WARNING" in line)
    assert len(warnings) == len(texts)
    assert all(any(f"bible/{name}" in line for line in warnings) for name in texts)


def test_case_04_quoted_and_unquoted_dates_are_ordered_together(world: JobWorld) -> None:
    """A native YAML date in one project, a string in the other."""
    text = yaml.safe_dump({"version": 1, "jobs": [job("early")]})
    world.write(MANIFEST, text.replace("'2026-03-10T08:00:00.000Z'", "2026-03-10T08:00:00.000Z"))
    assert "'2026" not in str(world.read(MANIFEST))
    assert _claims(run(world, "early")) == ["early", "good"]


def test_case_05_a_job_without_a_date_goes_last(world: JobWorld) -> None:
    """Null and missing alike."""
    nameless = job("missing")
    del nameless["submitted_at"]
    world.submit(nameless, job("null", submitted_at=None), job("dated"))
    assert _claims(run(world, "missing", "null", "dated"))[:2] == ["dated", "good"]


def test_case_06_an_empty_entry_does_not_hide_its_neighbours(world: JobWorld) -> None:
    """First and third are served."""
    world.submit(job("first"), None, job("third"))
    assert sorted(_claims(run(world, "first", "third"))) == ["first", "good", "third"]


def test_case_07_a_number_as_id_is_its_digits(world: JobWorld) -> None:
    """Also as the folder's name."""
    world.submit(job(12345))
    assert "12345" in _claims(run(world, "12345"))


def test_case_08_an_id_that_is_no_folder_name_is_refused(world: JobWorld) -> None:
    """No write outside `gpu_jobs/`, none inside either, and the next job is served."""
    bad = ["../../x", "..", "a/b", "/etc/passwd", "C:\\x", ".hidden", "é", "x" * 200]
    world.submit(*(job(job_id) for job_id in bad), job("fine"))
    log = run(world, "fine")
    assert log.count("cannot be used as a folder name") == len(bad)


def test_case_09_names_are_read_in_any_case(world: JobWorld) -> None:
    """As the canonical spelling."""
    world.submit(job("a1", job_type="ASR", mode="Inference", model={"type": "iNSTANT"}))
    with world:
        world.run_to_end()
        assert states(world, "a1") == ["completed"]


IMPOSSIBLE: Mapping[str, tuple[Mapping[str, object], str]] = {
    "unknown-model": ({"model": {"type": "Telepathy"}}, "Telepathy"),
    "no-such-mode-for-it": ({"mode": "training"}, "training"),
    "no-such-type-for-it": ({"job_type": "tts"}, "tts"),
    "unknown-mode": ({"mode": "dreaming"}, "mode must be one of"),
    "unknown-type": ({"job_type": "video"}, "job_type must be one of"),
    "no-model": ({"model": {}}, "model.type is missing"),
    "no-epochs": ({"epochs": 0}, "epochs"),
}


def test_case_10_an_impossible_job_fails_once_with_a_clear_message(world: JobWorld) -> None:
    """A second run of the worker leaves all of them as they are."""
    world.submit(*(job(name, **changes) for name, (changes, _) in IMPOSSIBLE.items()))
    with world:
        world.run_to_end()
        for name, (_, words) in IMPOSSIBLE.items():
            response = world.response(name)
            assert response["state"] == "failed", name
            assert words in response["error_message"]
        commits = len(world.by_worker())
        world.run_to_end(name="again")
        assert len(world.by_worker()) == commits


def test_case_11_unknown_keys_are_ignored_everywhere(world: JobWorld) -> None:
    """At the top, in a job, in the model and in the filters."""
    odd = job("a1", colour="blue", model={"type": "Instant", "size": 3}, inference={"speed": 2})
    world.write(MANIFEST, yaml.safe_dump({"version": 1, "editor": "x", "jobs": [odd]}))
    assert "a1" in _claims(run(world, "a1"))


def _differences(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def _claims(log: str) -> list[str]:
    return [
        line.split("claimed job ")[1].split(" ")[0]
        for line in log.splitlines()
        if "claimed job" in line
    ]


def _versions(world: JobWorld, job_id: str) -> list[dict[str, object]]:
    return world.versions(f"gpu_jobs/job_{job_id}/response.yaml")
