"""Every path this project uses inside a repository, and the checks on paths that came from one.

Paths are POSIX text relative to the repository root. Knows no store and no local file system: whether
a path exists is the caller's business, except where a set of tree paths is passed in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NoReturn

from gitlab_jobs.errors import UnsafePath

JOBS_FOLDER = "gpu_jobs"
MANIFEST_PATH = "gpu_jobs/manifest.yaml"
NOTEBOOK_FOLDER = "files/target/"
ATTACHMENTS = ".project/attachments/"
ATTACHMENT_FILES = ".project/attachments/files/"
ATTACHMENT_POINTERS = ".project/attachments/pointers/"

MAX_PATH_CHARS = 1024

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z", re.ASCII)
_JOB_FOLDER = re.compile(r"gpu_jobs/job_([^/]+)(?:/|\Z)")
_LEASE = re.compile(
    r"gpu_jobs/job_(?P<job_id>[^/]+)/lease/"
    r"(?P<n>[1-9][0-9]{0,8})-(?P<nonce>(?:adopt-)?[0-9a-f]{16,64})\.yaml\Z",
    re.ASCII,
)
_DRIVE = re.compile(r"[A-Za-z]:")


def is_safe_job_id(text: str) -> bool:
    """Whether a job id may become part of a path."""
    return _JOB_ID.match(text) is not None and ".." not in text


def safe_job_id(text: str) -> str:
    """Return the job id unchanged, or raise `UnsafePath`."""
    if not is_safe_job_id(text):
        raise UnsafePath(f"job_id {_shown(text)} cannot be used in a path")
    return text


def job_folder(job_id: str) -> str:
    """The job's own folder, without a trailing slash."""
    return f"{JOBS_FOLDER}/job_{safe_job_id(job_id)}"


def response_path(job_id: str) -> str:
    """Where the worker tells the state of the job."""
    return f"{job_folder(job_id)}/response.yaml"


def logs_path(job_id: str) -> str:
    """The log that "View logs" opens."""
    return f"{job_folder(job_id)}/logs.txt"


def metrics_path(job_id: str) -> str:
    """The table behind the loss graph; the editor looks nowhere else."""
    return f"{job_folder(job_id)}/checkpoint/training_metrics.csv"


def resume_path(job_id: str) -> str:
    """The state of a training under way, for another box to go on from; gone when the job ends."""
    return f"{job_folder(job_id)}/checkpoint/resume.tar"


def interim_paths(job_id: str) -> tuple[str, ...]:
    """What a job may leave in its folder while it runs, besides response and lease."""
    return (logs_path(job_id), metrics_path(job_id), resume_path(job_id))


def model_path(job_id: str, file_name: str) -> str:
    """Where a trained model goes; becomes `result.checkpoint_path`."""
    return checked_checkpoint_path(f"{job_folder(job_id)}/checkpoint/{file_name}")


def lease_folder(job_id: str) -> str:
    """The folder that holds the one lease file of a claimed job."""
    return f"{job_folder(job_id)}/lease"


def lease_path(job_id: str, n: int, nonce: str) -> str:
    """The lease file's name: the counter `n` grows with every ownership event, the nonce with claims."""
    path = f"{lease_folder(job_id)}/{n}-{nonce}.yaml"
    if parse_lease_path(path) is None:
        raise UnsafePath(f"{n}-{_shown(nonce)} is not a lease name")
    return path


@dataclass(frozen=True, slots=True)
class LeaseName:
    """What the path of a lease file tells."""

    job_id: str
    n: int
    nonce: str


def parse_lease_path(path: str) -> LeaseName | None:
    """Read a lease file's path; None for any other path."""
    match = _LEASE.match(path)
    if match is None or not is_safe_job_id(match["job_id"]):
        return None
    return LeaseName(match["job_id"], int(match["n"]), match["nonce"])


def job_id_of(path: str) -> str | None:
    """The job whose folder a path is (in); None outside job folders and for unsafe ids."""
    match = _JOB_FOLDER.match(path)
    return match[1] if match is not None and is_safe_job_id(match[1]) else None


def is_notebook_path(path: str) -> bool:
    """Whether a path is a target notebook, the only documents a job reads and writes."""
    return path.startswith(NOTEBOOK_FOLDER) and path.endswith(".codex")


def checked_repository_path(text: str, allowed: Iterable[str]) -> str:
    """Return a path from foreign text unchanged if it is safe and under one of the prefixes.

    Args:
        text: the path as somebody wrote it.
        allowed: prefixes, each ending in a slash.

    Raises:
        UnsafePath: naming the path and what is wrong with it.
    """
    if not text or len(text) > MAX_PATH_CHARS:
        _refuse(text, "it is empty or too long")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        _refuse(text, "it contains control characters")
    if "\\" in text:
        _refuse(text, "it contains a backslash")
    if text.startswith(("/", "~")) or _DRIVE.match(text):
        _refuse(text, "it is not relative to the project")
    if any(part in {"", ".", ".."} or part.startswith("~") for part in text.split("/")):
        _refuse(text, "it contains an empty part, '.', '..' or '~'")
    if not any(text.startswith(prefix) for prefix in allowed):
        _refuse(text, "it is outside the folders that may be named here")
    return text


def checked_checkpoint_path(text: str) -> str:
    """A model file named by a job: any file below `gpu_jobs/`."""
    return checked_repository_path(text, (f"{JOBS_FOLDER}/",))


def resolve_voice_reference(text: str, tree: Collection[str]) -> str | None:
    """Find the pointer file that a job's `voice_reference` means.

    Accepts every form the editor writes: repository-relative, absolute on the user's machine, with
    backslashes, and naming `files/` or `pointers/`.

    Args:
        text: the manifest's words.
        tree: repository paths that exist.

    Returns:
        A path of `tree`, or None if nothing (or more than one file) fits.

    Raises:
        UnsafePath: for a path that climbs, or that lies outside the project.
    """
    path = text.strip().replace("\\", "/")
    if ".." in path.split("/") or "\0" in path:
        _refuse(text, "it contains '..'")
    start = path.rfind(ATTACHMENTS)
    if start < 0 and (path.startswith(("/", "~")) or _DRIVE.match(path)):
        _refuse(text, "it is not inside the project")
    path = path[max(start, 0) :]
    if path.startswith(ATTACHMENT_FILES):
        path = ATTACHMENT_POINTERS + path.removeprefix(ATTACHMENT_FILES)
    if start >= 0:
        checked_repository_path(path, (ATTACHMENTS,))
        if path in tree:
            return path
    return _unique_pointer_named(path.rsplit("/", 1)[-1], tree)


def _unique_pointer_named(base_name: str, tree: Iterable[str]) -> str | None:
    """The one pointer file of that base name, if there is exactly one."""
    suffix = f"/{base_name}"
    found = [
        path for path in tree if path.startswith(ATTACHMENT_POINTERS) and path.endswith(suffix)
    ]
    return found[0] if base_name and len(found) == 1 else None


def _refuse(text: str, reason: str) -> NoReturn:
    raise UnsafePath(f"the path {_shown(text)} was refused: {reason}")


def _shown(text: str) -> str:
    """A foreign text as it may appear in a message: quoted, escaped, short."""
    shown = repr(text)
    return shown if len(shown) <= 120 else f"{shown[:117]}..."
