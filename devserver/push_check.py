"""Git's hooks: refuses a push for GitLab's reasons, and notes what a push has moved.

Runs in a process of its own inside `git receive-pack`, where the new objects are visible but not yet
part of the repository. Standard library only: it starts once or twice per push. What it must know
comes as JSON in the environment (`Terms`); which LFS objects a project holds it reads from the
server's state file.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from devserver.lfs_store import POINTER_LIMIT_BYTES, Pointer, parse_pointer

TERMS_VARIABLE = "DEVSERVER_PUSH"
LFS_MISSING = (
    'LFS objects are missing. Ensure LFS is properly set up or try a manual "git lfs push --all".'
)
_NO_OBJECT = "0" * 40
_HEADS = "refs/heads/"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the server knows about one push; `protected` says for each branch: may this user push?"""

    project_id: int
    default_branch: str
    protected: dict[str, bool]
    lfs_enabled: bool
    state_file: str
    receipt_file: str

    def as_json(self) -> str:
        """Return the text for the environment."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """One line a hook is told: a ref and where it moves; None stands for "no such ref"."""

    before: str | None
    after: str | None
    ref: str

    @classmethod
    def parse(cls, line: str) -> RefUpdate:
        """Read `OLD NEW REF`."""
        before, after, ref = line.split()
        return cls(_object_id(before), _object_id(after), ref)

    @property
    def branch(self) -> str | None:
        """The branch, if the ref is one."""
        return self.ref.removeprefix(_HEADS) if self.ref.startswith(_HEADS) else None


def _object_id(text: str) -> str | None:
    return None if text == _NO_OBJECT else text


def install(directory: Path) -> None:
    """Write the two hook programs; safe to repeat, also while pushes run."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("pre-receive", "post-receive"):
        # No site directories: nothing beyond the standard library is needed, and starting is faster.
        text = f'#!/bin/sh\nexec "{sys.executable}" -S -m devserver.push_check {name}\n'
        path = directory / name
        if path.is_file() and path.read_text() == text:
            continue
        fresh = directory / f"{name}.{os.getpid()}"
        fresh.write_text(text)
        fresh.chmod(0o755)
        fresh.replace(path)


def read_receipt(text: str) -> list[RefUpdate]:
    """Return the updates a push has made."""
    return [RefUpdate.parse(line) for line in text.splitlines()]


def refusal(terms: Terms, updates: list[RefUpdate]) -> str | None:
    """Return why a push is refused as a whole, or None."""
    for update in updates:
        reason = _branch_refusal(terms, update)
        if reason is not None:
            return reason
    if terms.lfs_enabled and _missing(terms, _new_pointers(updates)):
        return LFS_MISSING
    return None


def _branch_refusal(terms: Terms, update: RefUpdate) -> str | None:
    branch = update.branch
    if branch is None:
        return None
    if update.after is None and branch == terms.default_branch:
        return "The default branch of a project cannot be deleted."
    if branch not in terms.protected:
        return None
    if update.after is None:
        return "You can only delete protected branches using the web interface."
    if not terms.protected[branch]:
        return "You are not allowed to push code to protected branches on this project."
    if update.before is not None and not _contains(update.after, update.before):
        return "You are not allowed to force push code to a protected branch on this project."
    return None


def _contains(commit_id: str, ancestor_id: str) -> bool:
    command = ["git", "merge-base", "--is-ancestor", ancestor_id, commit_id]
    return subprocess.run(command, check=False).returncode == 0


def _new_pointers(updates: list[RefUpdate]) -> Iterator[Pointer]:
    """Yield the pointers among the blobs that the push brings."""
    tips = [update.after for update in updates if update.after is not None]
    if not tips:
        return
    small = f"--filter=blob:limit={POINTER_LIMIT_BYTES}"
    listing = _git(
        "rev-list", "--objects", "--no-object-names", small, *tips, "--not", "--all"
    ).decode()
    kinds = _git(
        "cat-file", "--batch-check=%(objecttype) %(objectname)", stdin=listing.encode()
    ).decode()
    blobs = [line.split()[1] for line in kinds.splitlines() if line.startswith("blob ")]
    for content in _blob_contents(blobs):
        if (pointer := parse_pointer(content)) is not None:
            yield pointer


def _blob_contents(blob_ids: list[str]) -> Iterator[bytes]:
    output = _git("cat-file", "--batch=%(objectsize)", stdin="\n".join(blob_ids).encode())
    while output:
        size, _, output = output.partition(b"\n")
        yield output[: int(size)]
        output = output[int(size) + 1 :]


def _missing(terms: Terms, pointers: Iterable[Pointer]) -> bool:
    query = "SELECT 1 FROM lfs_links WHERE project_id = ? AND oid = ?"
    location = f"{Path(terms.state_file).as_uri()}?mode=ro"
    with closing(sqlite3.connect(location, uri=True, timeout=30)) as state:
        for pointer in pointers:
            if state.execute(query, (terms.project_id, pointer.oid)).fetchone() is None:
                return True
    return False


def _git(*arguments: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(["git", *arguments], input=stdin, capture_output=True, check=True).stdout


def main(hook: str) -> int:
    """Run one hook."""
    terms = Terms(**json.loads(os.environ[TERMS_VARIABLE]))
    lines = sys.stdin.read()
    if hook == "post-receive":
        Path(terms.receipt_file).write_text(lines)
        return 0
    reason = refusal(terms, read_receipt(lines))
    if reason is None:
        return 0
    sys.stderr.write(f"GitLab: {reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
