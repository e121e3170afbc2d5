"""What a branch's history says about its jobs, commit by commit; read with pygit2, not with the product.

for step in steps(repository)["job-7"]: print(step.subject, step.response.get("state"), step.leases)
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pygit2
import yaml

FOLDER = "gpu_jobs"


@dataclass(frozen=True)
class Step:
    """A job's folder after a commit that changed it; without `response.yaml` it is pending."""

    commit_id: str
    author: str
    subject: str
    response: dict[str, Any] | None
    leases: tuple[str, ...]
    files: dict[str, bytes]

    @property
    def claim(self) -> str | None:
        """The nonce of whoever holds (or held) the job."""
        return None if self.response is None else self.response.get("claim")

    @property
    def state(self) -> str | None:
        """The state the user sees."""
        return None if self.response is None else self.response["state"]


def commits(repository: pygit2.Repository, branch: str = "main") -> list[pygit2.Commit]:
    """The branch's own commits, oldest first."""
    found = [repository.branches[branch].peel(pygit2.Commit)]
    while found[-1].parents:
        found.append(found[-1].parents[0])
    return found[::-1]


def steps(repository: pygit2.Repository) -> dict[str, list[Step]]:
    """The life of every job, oldest commit first."""
    lives: dict[str, list[Step]] = defaultdict(list)
    before: dict[str, str] = {}
    for commit in commits(repository):
        folders = _folders(commit)
        for name in {name for name, _ in set(folders.items()) ^ set(before.items())}:
            lives[name.removeprefix("job_")].append(_step(repository, commit, folders.get(name)))
        before = folders
    return lives


def _folders(commit: pygit2.Commit) -> dict[str, str]:
    if FOLDER not in commit.tree:
        return {}
    return {
        str(entry.name): str(entry.id) for entry in commit.tree[FOLDER] if entry.type_str == "tree"
    }


def _step(repository: pygit2.Repository, commit: pygit2.Commit, folder: str | None) -> Step:
    files = {} if folder is None else dict(_files(repository[folder], ""))
    said = files.get("response.yaml")
    return Step(
        commit_id=str(commit.id),
        author=commit.author.name,
        subject=commit.message.removesuffix(" [skip ci]"),
        response=None if said is None else yaml.load(said, yaml.CSafeLoader),
        leases=tuple(path for path in files if path.startswith("lease/")),
        files=files,
    )


def _files(tree: pygit2.Tree, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in tree:
        path = f"{prefix}{entry.name}"
        if entry.type_str == "tree":
            found += _files(entry, f"{path}/")
        else:
            found.append((path, entry.data))
    return found


def violations(life: list[Step]) -> list[str]:
    """What must never be, whoever did it: see the invariant of the claim protocol."""
    wrong: list[str] = []
    seen_leases: set[str] = set()
    deposed: set[str] = set()
    before = Step("", "", "", None, (), {})
    for step in life:
        if len(step.leases) > 1 or (step.leases and step.response is None):
            wrong.append(f"{step.subject}: leases {step.leases}")
        wrong += [
            f"{step.subject}: {name} came back"
            for name in set(step.leases) - set(before.leases)
            if name in seen_leases
        ]
        seen_leases |= {*step.leases}
        if before.claim is not None and step.claim != before.claim:
            deposed.add(before.claim)
        if step.claim in deposed:
            wrong.append(f"{step.subject}: a deposed owner wrote")
        if before.state in ("completed", "failed", "canceled"):
            wrong.append(f"{step.subject}: after the end")
        before = step
    return wrong
