"""Sentences as vectors, by a real, very small sentence model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import ModelNotFound
from pipelines.sinks.embedding import SentenceEncoder


def test_sentences_become_unit_vectors_and_equal_ones_are_equal(model_dir: Path) -> None:
    """The same in a batch as alone."""
    encoder = SentenceEncoder(str(model_dir))

    vectors = encoder.encode(["let there be light", "blessed poor", "let there be light"])

    assert vectors.shape == (3, 32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(vectors[0], vectors[2], atol=1e-5)
    assert vectors[0] @ vectors[1] < 0.999
    assert np.allclose(encoder.encode(["blessed poor"])[0], vectors[1], atol=1e-5)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    """By what the operator wrote."""
    with pytest.raises(ModelNotFound, match=str(tmp_path)):
        SentenceEncoder(str(tmp_path / "absent" / "model"))
