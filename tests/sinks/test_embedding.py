"""Sentences as vectors, by a real, very small sentence model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from pipelines.errors import ModelNotFound
from pipelines.sinks.embedding import SentenceEncoder

WORDS = ["[PAD]", "[UNK]", "let", "there", "be", "light", "and", "was", "blessed", "poor"]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence model of one layer, saved as any other."""
    folder = tmp_path_factory.mktemp("sentences")
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]"
    ).save_pretrained(folder / "base")
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(WORDS),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
        )
    ).save_pretrained(folder / "base")
    transformer = Transformer(str(folder / "base"))
    pooling = Pooling(32)
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(folder / "model"))
    return folder / "model"


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
