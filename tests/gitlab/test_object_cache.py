"""The box's cache of large objects: whole, right, and not for ever."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from gitlab_jobs.errors import StoreError
from gitlab_jobs.lfs import Pointer
from gitlab_jobs.object_cache import ObjectCache, WrongBytes, hash_file

NEVER = threading.Event()


def test_an_object_is_found_by_name_and_size(tmp_path: Path) -> None:
    """A name with another size is not the object."""
    cache = ObjectCache(tmp_path)
    pointer = cache.add(b"some audio")
    path = cache.find(pointer)
    assert path is not None
    assert path.read_bytes() == b"some audio"
    assert hash_file(path) == pointer
    assert cache.find(Pointer(pointer.oid, 3)) is None


def test_an_object_with_other_bytes_never_appears(tmp_path: Path) -> None:
    """The partial file is emptied, so that the next attempt starts over."""
    cache = ObjectCache(tmp_path)
    pointer = Pointer("ab" * 32, 5)
    with cache.filling(pointer, NEVER) as partial:
        assert partial is not None
        partial.write(b"wrong")
        with pytest.raises(WrongBytes):
            partial.complete()
        assert partial.size == 0
    assert cache.find(pointer) is None


def test_an_object_that_grows_too_long_is_stopped(tmp_path: Path) -> None:
    """Before it fills the disk."""
    cache = ObjectCache(tmp_path)
    with cache.filling(Pointer("ab" * 32, 5), NEVER) as partial:
        assert partial is not None
        with pytest.raises(WrongBytes):
            partial.write(b"longer")


def test_an_interrupted_object_is_taken_up_again(tmp_path: Path) -> None:
    """Also by another process."""
    pointer = ObjectCache(tmp_path / "elsewhere").add(b"first,second")
    with ObjectCache(tmp_path).filling(pointer, NEVER) as partial:
        assert partial is not None
        partial.write(b"first,")
    with ObjectCache(tmp_path).filling(pointer, NEVER) as partial:
        assert partial is not None
        assert partial.size == 6
        partial.write(b"second")
        partial.complete()
    assert ObjectCache(tmp_path).find(pointer) is not None


def test_a_second_writer_waits_and_finds_the_object_done(tmp_path: Path) -> None:
    """Nothing is fetched twice."""
    cache = ObjectCache(tmp_path)
    pointer = ObjectCache(tmp_path / "elsewhere").add(b"bytes")
    seen: list[object] = []

    def second() -> None:
        with cache.filling(pointer, NEVER) as partial:
            seen.append(partial)

    with cache.filling(pointer, NEVER) as partial:
        assert partial is not None
        waiting = threading.Thread(target=second)
        waiting.start()
        partial.write(b"bytes")
        partial.complete()
    waiting.join()
    assert seen == [None]


def test_waiting_for_another_writer_ends_with_a_stop(tmp_path: Path) -> None:
    """A shutdown does not hang on somebody else's download."""
    cache = ObjectCache(tmp_path)
    pointer = Pointer("ab" * 32, 5)
    stopped = threading.Event()
    stopped.set()
    with (
        cache.filling(pointer, NEVER),
        pytest.raises(StoreError, match="stopped"),
        cache.filling(pointer, stopped),
    ):
        pass


def test_the_oldest_objects_make_room(tmp_path: Path) -> None:
    """Unless somebody still needs them."""
    cache = ObjectCache(tmp_path)
    pointers = [cache.add(bytes([number]) * 100) for number in range(4)]
    for age, pointer in enumerate(pointers):
        os.utime(cache.path(pointer.oid), (age, age))
    assert cache.prune(200, keep={pointers[0].oid}) == 100
    assert [cache.find(pointer) is not None for pointer in pointers] == [True, False, True, True]


def test_objects_are_for_their_owner_only(tmp_path: Path) -> None:
    """Recordings are personal."""
    cache = ObjectCache(tmp_path)
    path = cache.path(cache.add(b"a voice").oid)
    assert path.stat().st_mode & 0o077 == 0
