"""What must hold when a worker was killed anywhere and started again: judged from the git history alone.

No job is lost, no result is published twice, no person's edit is lost, nothing else is touched. Reads the
server's repository with pygit2 and a plain YAML parser; uses nothing of the product.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pygit2
import yaml
from support.devserver import DevServer

FINAL = ("completed", "failed", "canceled")
POINTERS = ".project/attachments/pointers/"
REPAIR = "scriptorium: restore edits beside"


@dataclass(frozen=True)
class Expectation:
    """How the world must look in the end.

    `states` names the final state of each job, `said` what a person wrote last, by cell id. `rollbacks`
    counts the times that a person's sync undid an end. `robbed` are jobs that another worker took and
    ended. `publishes_cells` tells whether one job writes into the notebook, `parts` in how many commits
    at most.
    """

    states: Mapping[str, str]
    notebook: str
    said: Mapping[str, str]
    rollbacks: int
    robbed: frozenset[str]
    publishes_cells: bool
    parts: int


@dataclass(frozen=True)
class _Step:
    """One commit on the branch, as far as it matters here."""

    is_ours: bool
    subject: str
    paths: frozenset[str]
    before: pygit2.Tree | None
    after: pygit2.Tree


def judge(server: DevServer, expected: Expectation) -> list[str]:
    """Name everything that went wrong."""
    folder = next((server.root / "repositories").glob("*.git"))
    steps = list(_steps(pygit2.Repository(str(folder))))
    head = steps[-1].after
    found = [wrong for name in expected.states for wrong in _job(name, steps, expected)]
    found += [wrong for step in steps if step.is_ours for wrong in _places(step, expected)]
    return found + _cells(head, steps, expected)


def _job(name: str, steps: list[_Step], expected: Expectation) -> Iterator[str]:
    """Lost, ended twice, or with a lease left."""
    head, state = steps[-1].after, expected.states[name]
    path = f"gpu_jobs/job_{name}/response.yaml"
    said = _state(head, path)
    if said != state:
        yield f"{name} is lost: {said}, expected {state}"
    ends = [
        step.subject
        for step in steps
        if step.is_ours
        and _state(step.after, path) in FINAL
        and _state(step.before, path) not in FINAL
    ]
    wanted = 0 if name in expected.robbed else 1 + expected.rollbacks
    if len(ends) != wanted:
        yield f"{name} was ended {len(ends)} times, expected {wanted}: {ends}"
    if name not in expected.robbed and _find(head, f"gpu_jobs/job_{name}/lease") is not None:
        yield f"{name} has a lease left"
    if _find(head, f"gpu_jobs/job_{name}/checkpoint/resume.tar") is not None:
        yield f"{name} has the state of its training left"


def _places(step: _Step, expected: Expectation) -> Iterator[str]:
    """Paths that one commit of ours had no business with."""
    named = {name for name in expected.states if f" job {name}" in f"{step.subject} "}
    own = tuple(f"gpu_jobs/job_{name}/" for name in named)
    publishes = step.subject.startswith(
        ("scriptorium: finish (completed)", "scriptorium: publish ", REPAIR)
    )
    may_write_cells = publishes and expected.publishes_cells
    for path in step.paths:
        is_result = path == expected.notebook or path.startswith(POINTERS)
        if not path.startswith(own or ("/",)) and not (may_write_cells and is_result):
            yield f"{step.subject!r} touched {path}"


def _cells(head: pygit2.Tree, steps: list[_Step], expected: Expectation) -> list[str]:
    """A person's words as they left them; ours once."""
    blob = _find(head, expected.notebook)
    cells = {cell["metadata"]["id"]: cell for cell in json.loads(blob.data)["cells"]}
    found = [
        f"verse {cell_id} says {cells[cell_id]['value']!r}, a person wrote {text!r}"
        for cell_id, text in expected.said.items()
        if cells[cell_id]["value"] != text
    ]
    ours = [step for step in steps if step.is_ours and not step.subject.startswith(REPAIR)]
    writes = [step.subject for step in ours if expected.notebook in step.paths]
    if len(writes) > expected.parts:
        found.append(f"the notebook was written {len(writes)} times: {writes}")
    for cell_id, cell in cells.items():
        heard = [e for e in cell["metadata"]["edits"] if e["type"] == "llm-generation"]
        made = [a for a in _takes(cell) if a.get("createdBy", "").lower() == "worker"]
        if len(heard) > 1 or len(made) > 1:
            found.append(f"verse {cell_id} has {len(heard)} texts and {len(made)} takes of ours")
    if expected.publishes_cells:
        if "1" not in expected.said and cells["1"]["value"] != "heard MAT 1:1":
            found.append(f"verse 1 was not written: {cells['1']['value']!r}")
        if not any(a["createdBy"].lower() == "worker" for a in _takes(cells["2"])):
            found.append("verse 2 was not spoken")
    return found


def _takes(cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(cell["metadata"].get("attachments", {}).values())


def _steps(repository: pygit2.Repository) -> Iterator[_Step]:
    head = repository.branches["main"].peel(pygit2.Commit)
    order = pygit2.enums.SortMode.TOPOLOGICAL | pygit2.enums.SortMode.REVERSE
    for commit in repository.walk(head.id, order):
        before = commit.parents[0].tree if commit.parents else None
        diff = commit.tree.diff_to_tree(before) if before else commit.tree.diff_to_tree()
        yield _Step(
            is_ours=commit.author.name.lower() == "worker",
            subject=commit.message.splitlines()[0].removesuffix(" [skip ci]"),
            paths=frozenset(
                path for delta in diff.deltas for path in (delta.old_file.path, delta.new_file.path)
            ),
            before=before,
            after=commit.tree,
        )


def _state(tree: pygit2.Tree | None, path: str) -> str | None:
    blob = None if tree is None else _find(tree, path)
    return None if blob is None else yaml.load(blob.data, yaml.CSafeLoader).get("state")


def _find(tree: pygit2.Tree, path: str) -> Any:
    try:
        return tree[path]
    except KeyError:
        return None
