"""Emissions of a small language, as a recogniser gives them that mishears some letters."""

from __future__ import annotations

import numpy as np

from pipelines.asr.w2v2bert.tuning import HeldOut
from pipelines.asr.w2v2bert.vocabulary import Vocabulary

WORDS = ("baba", "dade", "gagi", "kobe", "dobu", "igade", "bukodi")
OUTPUT_S = 0.04


def noisy_language(seed: int, verses: int = 60) -> tuple[Vocabulary, HeldOut]:
    """Verses of it, and what is heard of them: some much worse than others, and never surely."""
    dice = np.random.default_rng(seed)
    vocabulary = Vocabulary.from_texts([" ".join(WORDS)])
    texts, emissions = [], []
    for _ in range(verses):
        text = " ".join(dice.choice(WORDS, 6))
        noise = dice.uniform(0.5, 3.0)
        frames = [f for symbol in vocabulary.encode(text) for f in (symbol, vocabulary.blank_id)]
        logits = dice.normal(size=(len(frames), len(vocabulary))) * noise
        logits[np.arange(len(frames)), frames] += 5.0
        logits[1::2, vocabulary.blank_id] += 5.0
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        texts.append(text)
        emissions.append(log_p.astype(np.float32))
    return vocabulary, HeldOut(emissions, texts)
