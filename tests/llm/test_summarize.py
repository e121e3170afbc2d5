"""The summary task on a real, very small language model: shapes and limits, not eloquence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipelines.errors import EmptyCorpus, ModelNotFound, PipelineError
from pipelines.llm.summarize import SummaryTask

WORDS = [
    "in",
    "the",
    "beginning",
    "god",
    "created",
    "heaven",
    "and",
    "earth",
    "was",
    "without",
    "form",
    "void",
    "summary",
]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal model of some thousand weights with a tokenizer of a dozen words, saved as any other."""
    folder = tmp_path_factory.mktemp("model")
    vocabulary = {word: index for index, word in enumerate(["<unk>", "<s>", "</s>", *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=128,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    with torch.no_grad():
        model.lm_head.weight[:3] = 0  # speak in words, not in signs that a reader never sees
    model.save_pretrained(folder)
    return folder


def ready(model_dir: Path, max_new_tokens: int = 8) -> SummaryTask:
    """A task that has been set up, with a question of known words."""
    task = SummaryTask(str(model_dir), instructions="summary", max_new_tokens=max_new_tokens)
    task.setup("cpu")
    return task


def test_a_transcript_gets_a_summary_no_longer_than_asked(model_dir: Path) -> None:
    """The answer only, without the question."""
    said = ready(model_dir).run({"text": "in the beginning"})

    assert said["parts"] == 1
    assert 1 <= len(said["summary"].split()) <= 8


def test_a_transcript_longer_than_the_window_is_read_in_parts(model_dir: Path) -> None:
    """Nothing is cut off: the parts' summaries are summarised."""
    said = ready(model_dir).run({"text": "in the beginning god created " * 100})

    assert said["parts"] >= 5
    assert 1 <= len(said["summary"].split()) <= 8


def test_what_cannot_be_summarised_is_said(model_dir: Path, tmp_path: Path) -> None:
    """No text, no model, no room."""
    with pytest.raises(EmptyCorpus, match="no text"):
        ready(model_dir).run({"text": "  "})
    with pytest.raises(PipelineError, match="window"):
        ready(model_dir, max_new_tokens=100).run({"text": "in"})
    with pytest.raises(ModelNotFound, match="no language model"):
        SummaryTask(str(tmp_path)).setup("cpu")
