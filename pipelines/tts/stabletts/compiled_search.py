"""The alignment search as a loop that is compiled when it is first needed.

Knows arrays only; what it searches and why is in align.py. Compiling takes a second or two, and the result is kept
beside the source, or in the user's cache, for the next process.

Axes: b batch · x tokens · t frames.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Search = Callable[
    [NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], None
]
_SIGNATURE = "void(float32[:,:,::1], int64[::1], int64[::1], int64[:,::1])"


@cache
def compiled_search() -> Search:
    """Return the search: scores `(b, t, x)`, frames `(b)`, tokens `(b)`, and the path `(b, t)` to fill."""
    try:
        return _compile(cache=True)
    except RuntimeError:  # nowhere to keep it: a read-only installation without a home
        return _compile(cache=False)


def _compile(**options: Any) -> Search:
    compiled: Search = numba.njit(_SIGNATURE, nogil=True, **options)(_search)
    return compiled


def _search(
    scores: NDArray[np.float32],
    frames: NDArray[np.int64],
    tokens: NDArray[np.int64],
    path: NDArray[np.int64],
) -> None:
    """Only tokens are visited that have room for those before and behind them."""
    for b in range(len(scores)):
        length, width = frames[b], tokens[b]
        # best[i + 1] is the best sum that ends in token i at the current frame; best[0] stands for
        # "before the first token", which is reachable only before the first frame.
        best = np.full(width + 1, -np.inf, np.float32)
        last = np.empty_like(best)
        best[0] = 0.0
        came = np.empty((length, width), np.bool_)
        for j in range(length):
            best, last = last, best
            low, high = max(0, width + j - length), min(width, j + 1)
            for i in range(low, high):
                stay, come = last[i + 1], last[i]
                came[j, i] = stay < come
                best[i + 1] = max(stay, come) + scores[b, j, i]
            best[low] = -np.inf
            if high < width:
                best[high + 1] = -np.inf
        token = width - 1
        for j in range(length - 1, -1, -1):
            path[b, j] = token
            token -= came[j, token]
