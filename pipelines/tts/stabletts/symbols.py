"""The 401 symbols of the published weights; the order is the row of the embedding.

Knows no language rules. A project's own characters are in vocabulary.py.
"""

from __future__ import annotations

PAD = "_"  # row 0: padding, and the blank between tokens
PUNCTUATION = ",.!?-~…'"
LATIN = "NQabdefghijklmnopstuvwxyz"  # no c, q, r: the original's phones never need them
IPA = "ɑæʃʑçɯɪɔɛɹðəɫɥɸʊɾʒθβŋɦ"
MODIFIERS = "⁼ʰ`^#*="
PROSODY = "ˈˌ→↓↑"
SPACE = " "
_PINYIN = (
    "y n p x k l q w E b c z e f s j o i d m t h g v r a u I0 i0 uo o0 U0 v0 er A0 ai e0 sh an ou ch a0 N0 ao ve "
    "ir ng ua zh O0 ie E0 ia iE0 ang ng0 io0 iA0 uA0 ong oo0 uE0 vE0 ue0 ua0 iO0"
)
PINYIN_PHONES = tuple(_PINYIN.split(" "))
TONES = "12345"
EXTRA = ("<sil>", "<asp>")

SYMBOLS: tuple[str, ...] = (
    PAD,
    *PUNCTUATION,
    *LATIN,
    *IPA,
    *MODIFIERS,
    *PROSODY,
    SPACE,
    *(phone + tone for phone in PINYIN_PHONES for tone in TONES),
    *EXTRA,
)


def intersperse(ids: list[int], blank: int = 0) -> list[int]:
    """Put a blank before, between and after the ids: n → 2n + 1."""
    out = [blank] * (2 * len(ids) + 1)
    out[1::2] = ids
    return out
