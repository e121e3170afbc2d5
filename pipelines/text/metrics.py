"""How far recognised text is from what was said: character and word error rate.

Rates are edit distance ÷ length of the reference, over all pairs together (long verses weigh more).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer

from pipelines.text.normalize import canonical, spoken_form


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Character and word error rate, 0 = no error; above 1 when too much was written."""

    cer: float
    wer: float


def error_rates(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorRates:
    """Compare texts as written (NFC, white space collapsed); pairs with an empty reference are left out."""
    return _rates(
        [canonical(text) for text in references], [canonical(text) for text in hypotheses]
    )


def spoken_error_rates(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorRates:
    """Compare without case and punctuation."""
    return _rates(
        [spoken_form(text) for text in references], [spoken_form(text) for text in hypotheses]
    )


def _rates(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorRates:
    pairs = [
        (reference, hypothesis)
        for reference, hypothesis in zip(references, hypotheses, strict=True)
        if reference
    ]
    if not pairs:
        return ErrorRates(cer=0.0, wer=0.0)
    said, heard = (list(column) for column in zip(*pairs, strict=True))
    return ErrorRates(cer=float(jiwer.cer(said, heard)), wer=float(jiwer.wer(said, heard)))
