"""The original's learning rates and batches, and its symbols."""

from __future__ import annotations

import hashlib

import pytest
from support import parity
from support.parity import array

from pipelines.tts.stabletts import recipe, symbols


def test_learning_rates() -> None:
    """Warm-up, cosine, and the rise after the end that the original has."""
    expected = array("schedule/lr_warmup20_total120_base1e-4").tolist()
    rates = [1e-4 * recipe.rate_factor(step, 20, 120) for step in range(len(expected))]
    assert rates == pytest.approx(expected, rel=1e-12, abs=1e-18)


def test_bucket_bounds_without_the_empty_one() -> None:
    """Nothing between 500 and 600 frames is there."""
    buckets, bounds = recipe.fill_buckets(array("sampler/lengths").tolist())
    assert bounds == array("sampler/boundaries_after").tolist()
    assert len(buckets) == len(bounds) - 1


@pytest.mark.parametrize(("rank", "world_size", "epoch"), [(0, 1, 0), (0, 1, 3), (1, 2, 3)])
def test_batches(rank: int, world_size: int, epoch: int) -> None:
    """Shuffled, repeated and split like the original's."""
    buckets, _ = recipe.fill_buckets(array("sampler/lengths").tolist())
    batches = recipe.bucket_batches(buckets, 4, epoch=epoch, rank=rank, world_size=world_size)
    expected = array(f"sampler/batches_rank{rank}of{world_size}_epoch{epoch}")
    assert batches == expected.tolist()


def test_symbol_table() -> None:
    """Every row is where the weights expect it."""
    joined = "\n".join(symbols.SYMBOLS).encode()
    assert len(symbols.SYMBOLS) == parity.text_cases()["n_symbols"]
    assert hashlib.sha256(joined).hexdigest() == parity.text_cases()["symbols_sha256"]


@pytest.mark.parametrize("case", parity.text_cases()["cases"], ids=lambda case: case["text"])
def test_ids_of_the_original_front_ends_phones(case: dict[str, list[str]]) -> None:
    """Unknown symbols are dropped, blanks are put between."""
    known = {symbol: row for row, symbol in enumerate(symbols.SYMBOLS)}
    rows = [known[phone] for phone in case["phones"] if phone in known]
    assert symbols.intersperse(rows) == case["ids"]
