"""Paths: ours are fixed, foreign ones are suspected.

Numbers in test names are the interop cases of the job protocol.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitlab_jobs.errors import UnsafePath
from gitlab_jobs.paths import (
    LeaseName,
    checked_checkpoint_path,
    checked_repository_path,
    is_notebook_path,
    job_folder,
    job_id_of,
    lease_path,
    logs_path,
    metrics_path,
    model_path,
    parse_lease_path,
    resolve_voice_reference,
    response_path,
    safe_job_id,
)

NONCE = "0123456789abcdef" * 2


def test_where_everything_of_a_job_lies() -> None:
    """The editor looks in exactly these places."""
    assert response_path("a_1") == "gpu_jobs/job_a_1/response.yaml"
    assert logs_path("a_1") == "gpu_jobs/job_a_1/logs.txt"
    assert metrics_path("a_1") == "gpu_jobs/job_a_1/checkpoint/training_metrics.csv"
    assert model_path("a_1", "best.safetensors") == "gpu_jobs/job_a_1/checkpoint/best.safetensors"
    assert lease_path("a_1", 3, NONCE) == f"gpu_jobs/job_a_1/lease/3-{NONCE}.yaml"


@pytest.mark.parametrize(
    "job_id",
    ["", ".", "..", "../x", "a/b", "a\\b", "a..b", ".a", "-a", "_a", "a b", "ä", "a\n", "x" * 129],
)
def test_case_08_ids_that_would_escape_make_no_path(job_id: str) -> None:
    """No function makes a path from an id that is not one plain segment."""
    for make in (safe_job_id, job_folder, response_path, logs_path, metrics_path):
        with pytest.raises(UnsafePath):
            make(job_id)


def test_lease_names_are_read_back() -> None:
    """Counter and nonce come from the name; adopted leases too."""
    assert parse_lease_path(lease_path("a", 12, NONCE)) == LeaseName("a", 12, NONCE)
    adopted = f"gpu_jobs/job_a/lease/1-adopt-{'0f' * 20}.yaml"
    assert parse_lease_path(adopted) == LeaseName("a", 1, f"adopt-{'0f' * 20}")


@pytest.mark.parametrize(
    "path",
    [
        f"gpu_jobs/job_a/lease/0-{NONCE}.yaml",
        f"gpu_jobs/job_a/lease/01-{NONCE}.yaml",
        f"gpu_jobs/job_a/lease/1-{NONCE}.yml",
        f"gpu_jobs/job_a/lease/1-{NONCE.upper()}.yaml",
        "gpu_jobs/job_a/lease/1-short.yaml",
        f"gpu_jobs/job_a..b/lease/1-{NONCE}.yaml",
        f"gpu_jobs/job_a/lease/x/1-{NONCE}.yaml",
        f"x/gpu_jobs/job_a/lease/1-{NONCE}.yaml",
        "gpu_jobs/job_a/response.yaml",
    ],
)
def test_other_paths_are_no_leases(path: str) -> None:
    """A name that we would not write is not a lease."""
    assert parse_lease_path(path) is None


def test_a_lease_needs_a_random_nonce_and_a_counter() -> None:
    """A predictable name would come back, and with it a deposed owner."""
    for n, nonce in [(0, NONCE), (1, ""), (1, "abc"), (1, "../../x")]:
        with pytest.raises(UnsafePath):
            lease_path("a", n, nonce)


def test_which_job_a_path_belongs_to() -> None:
    """Folders with unsafe ids belong to nobody."""
    assert job_id_of("gpu_jobs/job_a_1/response.yaml") == "a_1"
    assert job_id_of("gpu_jobs/job_a_1") == "a_1"
    assert job_id_of("gpu_jobs/manifest.yaml") is None
    assert job_id_of("gpu_jobs/job_../x") is None
    assert job_id_of("files/gpu_jobs/job_a/x") is None


def test_only_target_notebooks_are_notebooks() -> None:
    """Sources and stray copies are not ours to write."""
    assert is_notebook_path("files/target/MAT.codex")
    assert is_notebook_path("files/target/NT/MAT.codex")
    assert not is_notebook_path(".project/sourceTexts/MAT.source")
    assert not is_notebook_path("files/MAT.codex")


UNSAFE = [
    "", "/gpu_jobs/x", "gpu_jobs/../x", "gpu_jobs/./x", "gpu_jobs//x", "gpu_jobs/x/", "gpu_jobs/",
    "gpu_jobs\\x", "gpu_jobs/x\0", "gpu_jobs/x\n", "gpu_jobs/\x85", "C:/gpu_jobs/x", "c:gpu_jobs/x",
    "~/gpu_jobs/x", "gpu_jobs/~root/x", "../gpu_jobs/x", "gpu_jobsx/y", "gpu_jobs", "files/target/x",
    "gpu_jobs/" + "x" * 1100, "gpu_jobs/\ud800", "file:///gpu_jobs/x", "GPU_JOBS/x",
]  # fmt: skip


@pytest.mark.parametrize("path", UNSAFE)
def test_case_36_checkpoints_outside_the_jobs_folder_are_refused(path: str) -> None:
    """The message names the path, printable and short."""
    with pytest.raises(UnsafePath) as refusal:
        checked_checkpoint_path(path)
    assert len(str(refusal.value)) < 300
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    "path",
    [
        "gpu_jobs/job_a/checkpoint/best_model.pt",
        "gpu_jobs/job_a/model/asr_model.pth.tar",
        "gpu_jobs/job_a/models/best model é.pt",
    ],
)
def test_every_checkpoint_path_of_the_field_is_accepted(path: str) -> None:
    """Older workers wrote other places; their models stay usable."""
    assert checked_checkpoint_path(path) == path


@given(st.text("ab./\\~:\0 ", max_size=30))
def test_what_passes_never_leaves_its_folder(text: str) -> None:
    """Whatever is accepted has only plain parts."""
    try:
        path = checked_repository_path(f"gpu_jobs/{text}", ("gpu_jobs/",))
    except UnsafePath:
        return
    assert not {"", ".", ".."} & set(path.split("/"))
    assert "\\" not in path


VOICE = ".project/attachments/pointers/MAT/audio-mat-1-1.webm"
TREE = {
    VOICE,
    ".project/attachments/pointers/MRK/audio-twice.webm",
    ".project/attachments/pointers/LUK/audio-twice.webm",
    "files/target/audio-other.webm",
}


@pytest.mark.parametrize(
    "text",
    [
        VOICE,
        ".project/attachments/files/MAT/audio-mat-1-1.webm",
        "C:\\Users\\x\\proj\\.project\\attachments\\files\\MAT\\audio-mat-1-1.webm",
        "/home/x/proj/.project/attachments/MAT/audio-mat-1-1.webm",
        ".project/attachments/files/OLD/audio-mat-1-1.webm",
        " audio-mat-1-1.webm ",
    ],
)
def test_case_34_every_form_of_a_voice_reference_is_found(text: str) -> None:
    """Also from Windows, from another folder, and by its bare name."""
    assert resolve_voice_reference(text, TREE) == VOICE


@pytest.mark.parametrize(
    "text",
    [
        "audio-none.webm",
        ".project/attachments/files/MRK/audio-x.webm",
        "audio-twice.webm",
        "",
        "audio-other.webm",
    ],
)
def test_case_35_a_voice_that_is_not_there_or_not_unique_is_none(text: str) -> None:
    """The caller names it to the user; nothing crashes and nothing is guessed."""
    assert resolve_voice_reference(text, TREE) is None


@pytest.mark.parametrize(
    "text",
    [
        ".project/attachments/files/../../../etc/passwd",
        "..\\audio-mat-1-1.webm",
        "/etc/passwd",
        "C:\\Windows\\audio-mat-1-1.webm",
        "~/audio-mat-1-1.webm",
        "a\0b",
        ".project/attachments/files/MAT/a\nb.webm",
    ],
)
def test_voices_outside_the_project_are_refused(text: str) -> None:
    """Neither climbing nor absolute paths elsewhere are looked up at all."""
    with pytest.raises(UnsafePath):
        resolve_voice_reference(text, TREE)
