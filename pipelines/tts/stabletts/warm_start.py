"""Start a project's voice from weights that know other symbols.

Everything but the embedding is taken over; each new row starts as the row of the closest known symbol.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pipelines.text.romanize import Romanize
from pipelines.tts.stabletts.model import StableTTS
from pipelines.tts.stabletts.symbols import IPA, LATIN
from pipelines.tts.stabletts.vocabulary import Vocabulary
from pipelines.tts.stabletts.voice import Voice
from pipelines.tts.stabletts.weights import load_model

EMBEDDING = "encoder.emb.weight"
NOISE = 0.1  # of a row that starts at the mean, relative to the rows' spread
# The published table has no such letters; the sounds they most often stand for.
HINTS: Mapping[str, str] = {"c": "k", "q": "k", "r": "ɹ"}


def warm_start(
    base: Voice,
    vocabulary: Vocabulary,
    *,
    romanize: Romanize | None = None,
    hints: Mapping[str, str] = HINTS,
) -> StableTTS:
    """Build a model for `vocabulary` from a voice that knows other symbols.

    Args:
        base: Weights to start from, with their symbols.
        vocabulary: What the new voice shall know.
        romanize: Finds the closest symbol of letters in other scripts.
        hints: Letter → symbol, for letters whose sound is not their own row's.
    """
    state = base.model.state_dict()
    known, wanted = base.vocabulary.tokens, vocabulary.tokens
    rows = embedding_rows(state[EMBEDDING], known, wanted, romanize, hints)
    config = replace(base.model.config, n_vocab=len(vocabulary))
    return load_model({**state, EMBEDDING: rows}, config)


def embedding_rows(
    weight: Tensor,
    known: Sequence[str],
    wanted: Sequence[str],
    romanize: Romanize | None = None,
    hints: Mapping[str, str] = HINTS,
) -> Tensor:
    """Return one row per wanted symbol: `weight (known, h)` → `(wanted, h)`."""
    index = {symbol: row for row, symbol in enumerate(known)}
    letters = [index[symbol] for symbol in LATIN + IPA if symbol in index] or list(
        range(len(known))
    )
    mean, spread = weight[letters].mean(dim=0), weight[letters].std(dim=0, unbiased=False)
    generator = torch.Generator().manual_seed(0)
    rows = []
    for symbol in wanted:
        row = next((index[c] for c in _candidates(symbol, romanize, hints) if c in index), None)
        noise = torch.randn(weight.shape[1], generator=generator)
        rows.append(mean + NOISE * spread * noise if row is None else weight[row])
    return torch.stack(rows)


def _candidates(symbol: str, romanize: Romanize | None, hints: Mapping[str, str]) -> Iterator[str]:
    """Yield symbols that may stand for a new one, the best first."""
    yield symbol
    if symbol in hints:
        yield hints[symbol]
    if romanize is not None and symbol.isalpha():
        for letter in romanize(symbol).casefold()[:1]:
            yield letter
            yield hints.get(letter, letter)
