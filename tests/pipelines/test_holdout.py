"""Clips for measuring are kept apart by chapter, repeatably, and only where they mean something."""

from __future__ import annotations

from pipelines.training.holdout import hold_out


def test_whole_chapters_are_held_out() -> None:
    """No chapter has clips on both sides, and none is lost."""
    groups = [f"MAT {chapter}" for chapter in range(20) for _ in range(10)]
    training, validation = hold_out(groups, 0.1, 10, seed=3)
    assert sorted(training + validation) == list(range(200))
    assert 20 <= len(validation) <= 40
    assert not {groups[i] for i in training} & {groups[i] for i in validation}


def test_every_book_gives_its_share() -> None:
    """A long book beside two short ones is not all there is to measure on."""
    books = ["MAT"] * 120 + ["JHN"] * 60 + ["JUD"] * 20
    groups = [f"{book} {index // 5}" for index, book in enumerate(books)]
    _, validation = hold_out(groups, 0.2, 10, seed=5, books=books)
    given = {book: sum(books[i] == book for i in validation) for book in ("MAT", "JHN", "JUD")}
    for book, count in given.items():
        assert 0.1 <= count / books.count(book) <= 0.35, given


def test_the_same_seed_holds_out_the_same_clips() -> None:
    """A resumed run measures on what it measured on before."""
    groups = [f"MRK {chapter}" for chapter in range(30) for _ in range(5)]
    assert hold_out(groups, 0.1, 5, seed=1) == hold_out(groups, 0.1, 5, seed=1)
    assert hold_out(groups, 0.1, 5, seed=1) != hold_out(groups, 0.1, 5, seed=2)


def test_one_chapter_gives_its_end() -> None:
    """Neighbours in time are still better than nothing."""
    assert hold_out(["JON 1"] * 20, 0.25, 5, seed=0)[1] == [15, 16, 17, 18, 19]


def test_few_clips_are_all_learnt_from() -> None:
    """Three clips would be noise, and are missed in training."""
    assert hold_out(["a", "b", "c"], 0.1, 10, seed=0) == ([0, 1, 2], [])
