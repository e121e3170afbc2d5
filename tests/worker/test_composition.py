"""What a final commit is made of, when the project is not as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.codex_builders import as_bytes, cell, document
from support.store_worlds import LocalWorld

from gitlab_jobs.codex.apply import EditContext
from gitlab_jobs.codex.changes import AddTake, TakeMedia
from gitlab_jobs.composition import compose
from gitlab_jobs.errors import AlreadyExists
from gitlab_jobs.outbox import Contents
from gitlab_jobs.store import CreatePointer

BOOK = "files/target/MAT.codex"
CONTEXT = EditContext("bot", "job1", None, 2_000_000_000_000, {})


def test_a_pointer_that_an_old_notebook_left_behind_is_no_obstacle_for_ever(tmp_path: Path) -> None:
    """A person restored a notebook from before an earlier attempt; its audio file is still there."""
    world = LocalWorld(tmp_path / "project", with_git=False)
    empty = as_bytes(document(cell("one", "spoken", ref="MAT 1:1")))
    world.person_writes(BOOK, empty)
    audio = tmp_path / "take.webm"
    audio.write_bytes(b"sound")
    pointers = world.store.send_objects([audio], lambda _done, _total: None)
    media = TakeMedia("audio/webm", 48_000, 1, 1.0)
    wanted = Contents(
        changes={BOOK: (AddTake("one", audio, media, "spoken", listed=False),)},
        takes={audio: pointers[audio]},
    )
    context = replace(CONTEXT, pointers=wanted.takes)
    world.store.commit(compose(world.store, wanted, context).changes, "an earlier attempt")
    world.person_writes(BOOK, empty)

    first = compose(world.store, wanted, context)
    assert any(isinstance(change, CreatePointer) for change in first.changes)
    with pytest.raises(AlreadyExists):
        world.store.commit(first.changes, "the first try")
    again = compose(world.store, wanted, context, is_retry=True)
    world.store.commit(again.changes, "the second try")
    assert b"selectedAudioId" in (world.content(BOOK) or b"")
