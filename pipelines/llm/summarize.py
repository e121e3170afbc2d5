"""A summary of a transcript by a language model on this machine; a task, so that its memory comes back.

Runs in a process of its own after the recogniser's has ended: the two models are never in memory
together. A text longer than the model can read is summarised in parts, and then the parts' summaries.
Knows no files and no failures: who runs it decides what an error means.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipelines.compute import choose_device
from pipelines.errors import EmptyCorpus, ModelNotFound, PipelineError

INSTRUCTIONS = (
    "Summarise the following transcript in a few plain sentences, in the language it is written in. "
    "Say only what it says."
)


class SummaryTask:
    """Set up once, summarise any number of transcripts."""

    def __init__(
        self, model: str, *, instructions: str = INSTRUCTIONS, max_new_tokens: int = 256
    ) -> None:
        """Remember what to load.

        Args:
            model: a hub id or a local directory, with a causal language model and its tokenizer.
            instructions: what the model is asked.
            max_new_tokens: the longest summary, in tokens.
        """
        self._name = model
        self._instructions = instructions
        self._max_new_tokens = max_new_tokens

    def setup(self, device: str) -> None:
        """Load tokenizer and weights (safetensors only, no code of the repository's).

        Raises:
            ModelNotFound: not here, or not such a model.
        """
        self._device = choose_device(device)
        precision = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(self._name, trust_remote_code=False)
            model = AutoModelForCausalLM.from_pretrained(
                self._name, dtype=precision, use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            raise ModelNotFound(f"no language model in {self._name}: {error}") from error
        self._model = model.to(self._device).eval()

    def run(self, item: dict[str, Any]) -> dict[str, Any]:
        """Summarise `item["text"]`.

        Returns:
            `summary`, and `parts`, the number of pieces that the text was read in.

        Raises:
            EmptyCorpus: there is no text.
            PipelineError: the model said nothing, or its window has no room for a question.
        """
        text = str(item.get("text", "")).strip()
        if not text:
            raise EmptyCorpus("there is no text to summarise")
        parts = self._cut(text)
        summaries = [self._ask(part) for part in parts]
        while len(summaries) > 1:
            summaries = [self._ask(part) for part in self._cut("\n".join(summaries))]
        if not summaries[0]:
            raise PipelineError("the language model gave an empty summary")
        return {"summary": summaries[0], "parts": len(parts)}

    def _room(self) -> int:
        """Tokens of transcript that fit beside the question and the answer."""
        window = int(getattr(self._model.config, "max_position_embeddings", 2048))
        room = window - self._max_new_tokens - len(self._prompt(""))
        if room <= self._max_new_tokens:
            raise PipelineError(
                f"the window of {self._name} ({window} tokens) is too small for summaries of "
                f"{self._max_new_tokens} tokens; ask for shorter ones or take another model"
            )
        return room

    def _cut(self, text: str) -> list[str]:
        tokens = self._tokenizer.encode(text, add_special_tokens=False)
        room = self._room()
        return [
            self._tokenizer.decode(tokens[start : start + room])
            for start in range(0, len(tokens), room)
        ]

    def _prompt(self, text: str) -> list[int]:
        content = f"{self._instructions}\n\n{text}".rstrip()
        if self._tokenizer.chat_template:
            messages = [{"role": "user", "content": content}]
            said = self._tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=False
            )
            return list(self._tokenizer.encode(said, add_special_tokens=False))
        return list(self._tokenizer.encode(f"{content}\n\nSummary:"))

    @torch.inference_mode()
    def _ask(self, text: str) -> str:
        prompt = torch.tensor([self._prompt(text)], device=self._device)
        written = self._model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=self._max_new_tokens,
            do_sample=False,
            pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id,
        )
        answer = written[0, prompt.shape[1] :]
        return str(self._tokenizer.decode(answer, skip_special_tokens=True)).strip()
