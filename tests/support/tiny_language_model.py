"""A causal language model of some thousand weights with a tokenizer of a dozen words, saved as any other."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = (
    "in", "the", "beginning", "god", "created", "heaven", "and", "earth", "was", "without", "form",
    "void", "summary",
)  # fmt: skip


def save_language_model(folder: Path, window: int = 128) -> Path:
    """Make one that reads so many tokens."""
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
            max_position_embeddings=window,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    with torch.no_grad():
        model.lm_head.weight[:3] = 0  # speak in words, not in signs that a reader never sees
    model.save_pretrained(folder)
    return folder
