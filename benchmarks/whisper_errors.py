"""Word error rates of English as recognisers are compared: spellings and numbers made equal first.

The normaliser is the original Whisper's own (its package is in the extra `whisper-reference`): "forty-two line" and
"42-line" are one thing heard, and whoever writes the other must not count as having misheard it.
"""

from __future__ import annotations

from collections.abc import Sequence

import jiwer
from whisper.normalizers import EnglishTextNormalizer

_normalized = EnglishTextNormalizer()


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Edit distance in words over the words of the references, all pairs together."""
    said, heard = ([_normalized(text) for text in column] for column in (references, hypotheses))
    return float(jiwer.wer(said, heard))
