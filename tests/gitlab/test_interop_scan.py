"""The interop cases of the job protocol that end with looking, against the real server.

Case numbers are those of the protocol's list: 1-11 what a manifest may look like, 16-18 which jobs are
offered and when.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.devserver import DevServer, project, write_world
from support.gitlab_clients import clear, quick_session

from gitlab_jobs.gitlab_catalog import GitLabCatalog
from gitlab_jobs.lfs_transfer import LfsTransfer
from gitlab_jobs.object_cache import ObjectCache
from gitlab_jobs.paths import MANIFEST_PATH
from gitlab_jobs.scanner import JobScanner, Offers


def job(
    job_id: str, *extra: str, at: str = "'2026-03-10T08:00:00.000Z'", mode: str = "training"
) -> str:
    """An entry for a small ASR training."""
    lines = [f"job_id: {job_id}", "job_type: asr", f"mode: {mode}", "model:", "  type: W2V2BERT"]
    lines += [f"submitted_at: {at}"] if at else []
    return "  - " + "\n    ".join([*lines, "epochs: 100", *extra]) + "\n"


def manifest(*entries: str, version: str = "1") -> str:
    """A manifest of these entries."""
    return f"version: {version}\njobs:\n{''.join(entries)}"


PROJECTS: dict[str, str | None] = {
    "case-01": manifest(job("mmkbkzk0_sx1fl0nwmy", "canceled: false")),
    "case-02": None,
    "case-03-version": manifest(job("never"), version="2"),
    "case-03-text": manifest(job("never"), version="'1'"),
    "case-03-empty": "",
    "case-03-list": "- a\n- b\n",
    "case-03-yaml": "version: 1\njobs: [\n",
    "case-04": manifest(job("unquoted", at="2026-03-09T08:00:00.000Z")),
    "case-05": manifest(job("undated", at=""), job("dated", at="2026-03-11T08:00:00Z")),
    "case-06": manifest(job("before-null"), "  - null\n", job("after-null")),
    "case-07": manifest(job("12345")),
    "case-08": manifest(job("../../x"), job("beside-unsafe")),
    "case-09": manifest(job("cased", mode="Training").replace("W2V2BERT", "w2v2bert")),
    "case-10": manifest(job("unknown-model").replace("W2V2BERT", "Nonesuch")),
    "case-11": "colour: blue\n" + manifest(job("extra-keys", "weather: fine", "tags: [a, b]")),
    "case-17": manifest(job("given-up", "canceled: true")),
    "case-18": manifest(job("too-late", "timeout: '2026-01-01T00:00:00Z'")),
}
SAME_MOMENT = ["12345", "after-null", "before-null", "beside-unsafe", "cased", "extra-keys"]
SAME_MOMENT += ["mmkbkzk0_sx1fl0nwmy", "unknown-model"]
FIRST_TO_LAST = ["unquoted", *SAME_MOMENT, "dated", "undated"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """One project for each case."""
    folder = tmp_path_factory.mktemp("gitlab")
    projects = [
        project(f"cases/{name}", files=None if text is None else {MANIFEST_PATH: text})
        for name, text in PROJECTS.items()
    ]
    config = write_world(folder, projects=projects)
    with DevServer(folder / "root", config, in_process=True) as running:
        yield running


@pytest.fixture
def looking(server: DevServer, tmp_path: Path) -> JobScanner:
    """A scanner over all cases together: none of them may disturb another."""
    session = quick_session(server.url, server.token("worker"))
    clear(server)
    return JobScanner(GitLabCatalog(session, LfsTransfer(session, ObjectCache(tmp_path))))


def test_cases_1_4_to_9_11_and_16_are_offered_first_come_first_served(looking: JobScanner) -> None:
    """Across all projects, by the moment they were submitted."""
    offers = looking.scan()
    assert [offer.job.job_id for offer in offers.candidates] == FIRST_TO_LAST


def test_cases_2_and_3_cost_one_warning_for_each_unreadable_manifest(
    looking: JobScanner, caplog: pytest.LogCaptureFixture
) -> None:
    """And none for a project that has no manifest."""
    caplog.set_level(logging.WARNING)
    looking.scan()
    looking.scan()
    skipped = sorted(
        record.getMessage().split()[1] for record in caplog.records if "skipped" in record.msg
    )
    assert skipped == sorted(f"cases/{name}" for name in PROJECTS if name.startswith("case-03"))


def test_cases_6_and_8_name_the_bad_entry_and_offer_no_answer_for_it(
    looking: JobScanner, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a safe id there is no path to answer at."""
    offers = looking.scan()
    assert offers.unreadable == ()
    told = " ".join(record.getMessage() for record in caplog.records)
    assert "cases/case-06, job entry 2" in told
    assert "cases/case-08, job entry 1" in told


def test_cases_17_and_18_are_not_offered_as_work(looking: JobScanner) -> None:
    """A job given up is offered for its acknowledgement, one whose time is over not at all."""
    offers: Offers = looking.scan()
    assert [offer.job.job_id for offer in offers.canceled] == ["given-up"]
    assert "too-late" not in {offer.job.job_id for offer in offers.candidates}


def test_looking_writes_nothing(server: DevServer, looking: JobScanner) -> None:
    """Only reads and queries reach the server."""
    looking.scan()
    assert set(server.requests()["endpoints"]) == {"POST /api/graphql"}
