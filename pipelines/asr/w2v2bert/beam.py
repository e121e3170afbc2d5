"""CTC prefix beam search with a character language model, for a whole batch at once.

    prefix ─┬─ stays: another blank, or its last symbol held on
            └─ grows by one symbol ─► the same prefix as another one that stays? then they are one

All prefixes of all recordings are rows of flat arrays, so that a frame costs a few dozen numpy calls
however many there are. A prefix is known by a hash of its symbols; its symbols are read back through
the parents of its node. Hannun et al. 2014, "First-Pass Large Vocabulary Continuous Speech
Recognition using Bi-Directional Recurrent DNNs". Axis letters: n recordings, u output frames,
c symbols, r rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipelines.asr.w2v2bert.language_model import CharacterModel, Ids, Scores

LEAST_LOG_P = -6.0
"""Symbols less likely than this in a frame are not tried …"""
MOST_TRIED = 12
"""… nor more than this many."""
PRUNE = 12.0
"""Prefixes this much (in nats) behind their recording's best one are given up."""

_NEVER = np.float32(-1e30)
_HASH_FACTOR = np.uint64(6364136223846793005)
Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Weights:
    """How much the language model has to say; zero `alpha` is none at all."""

    alpha: float = 0.0
    """Weight of its log-probabilities."""
    beta: float = 0.0
    """Added per symbol: a language model alone prefers short texts."""
    width: int = 24
    """Prefixes kept per recording."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a recording may say, and how likely that is: a log-probability up to a constant."""

    ids: tuple[int, ...]
    score: float


@dataclass(frozen=True, slots=True)
class _Rows:
    """Prefixes, each array of shape (r)."""

    recording: Ids
    hash: Hashes
    node: Ids
    last: Ids
    blank: Scores
    """Log-probability of all paths that end in a blank …"""
    symbol: Scores
    """… and of those that end in the last symbol."""
    state: Ids
    bonus: Scores
    """What language model and length add."""

    @property
    def heard(self) -> Scores:
        return np.logaddexp(self.blank, self.symbol)

    @property
    def score(self) -> Scores:
        return self.heard + self.bonus

    def where(self, chosen: NDArray[np.bool_] | Ids) -> _Rows:
        return _Rows(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.recording)


def search(
    emissions: Sequence[Scores], model: CharacterModel, weights: Weights
) -> list[tuple[Hypothesis, ...]]:
    """What each recording may say, the most likely first; at least one each.

    Args:
        emissions: one array of log-probabilities (u, c) per recording; c is the model's `symbols`,
            and the CTC blank is its `boundary`.
        model: what usually follows what.
        weights: how to balance both.
    """
    return _Search(emissions, model, weights).run()


class _Search:
    def __init__(
        self, emissions: Sequence[Scores], model: CharacterModel, weights: Weights
    ) -> None:
        self._emissions = emissions
        self._model = model
        self._weights = weights
        self._blank = model.boundary
        self._lengths = np.array([len(frames) for frames in emissions], np.int64)
        self._parents: list[Ids] = [np.full(len(emissions), -1)]
        self._symbols: list[Ids] = [np.full(len(emissions), -1)]
        self._nodes = len(emissions)

    def run(self) -> list[tuple[Hypothesis, ...]]:
        rows = self._begin()
        ended: list[_Rows] = []
        for frame in range(int(self._lengths.max(initial=0))):
            is_over = self._lengths[rows.recording] <= frame
            if is_over.any():
                ended.append(rows.where(is_over))
                rows = rows.where(~is_over)
            rows = self._step(rows, frame)
        return self._ranked(_concatenated([*ended, rows]))

    def _begin(self) -> _Rows:
        count = len(self._emissions)
        numbers = np.arange(count)
        return _Rows(
            recording=numbers,
            hash=_mixed(np.zeros(count, np.uint64), numbers),
            node=numbers,
            last=np.full(count, self._blank),
            blank=np.zeros(count, np.float32),
            symbol=np.full(count, _NEVER),
            state=np.full(count, self._model.start),
            bonus=np.zeros(count, np.float32),
        )

    def _step(self, rows: _Rows, frame: int) -> _Rows:
        present = np.unique(rows.recording)
        log_p = np.stack([self._emissions[index][frame] for index in present])
        place = np.searchsorted(present, rows.recording)
        own = log_p[place]
        every = np.arange(len(rows))
        held = np.where(rows.last == self._blank, _NEVER, rows.symbol + own[every, rows.last])
        stays = replace(rows, blank=rows.heard + own[:, self._blank], symbol=held)
        grown = self._grown(rows, log_p, place)
        return self._pruned(*self._merged(stays, grown))

    def _grown(self, rows: _Rows, log_p: Scores, place: Ids) -> _Rows:
        """Every prefix with every symbol worth trying after it; not scored by the model yet."""
        tried = self._tried(log_p)
        of_row, which = np.nonzero(tried.is_tried[place])
        symbols = tried.symbols[place[of_row], which]
        old = rows.where(of_row)
        # Held on, a symbol is the same one; only after a blank is it a second one.
        before = np.where(symbols == old.last, old.blank, old.heard)
        heard = before + log_p[place[of_row], symbols]
        best = _best_per_recording(rows)
        hopeful = heard + old.bonus + self._weights.beta > best[old.recording] - PRUNE
        old, symbols, heard = old.where(hopeful), symbols[hopeful], heard[hopeful]
        return replace(
            old,
            hash=_mixed(old.hash, symbols),
            last=symbols,
            blank=np.full(len(old), _NEVER),
            symbol=heard.astype(np.float32),
        )

    def _tried(self, log_p: Scores) -> _Tried:
        most = min(MOST_TRIED, log_p.shape[1])
        symbols = np.argpartition(-log_p, most - 1, axis=1)[:, :most]
        values = np.take_along_axis(log_p, symbols, axis=1)
        return _Tried(symbols, (values > LEAST_LOG_P) & (symbols != self._blank))

    def _merged(self, stays: _Rows, grown: _Rows) -> tuple[_Rows, _Rows]:
        """Give to those that stay what grew into the same prefix; the rest is new."""
        order = np.argsort(stays.hash)
        at = np.searchsorted(stays.hash, grown.hash, sorter=order)
        twin = order[np.minimum(at, len(order) - 1)]
        is_known = stays.hash[twin] == grown.hash
        symbol = stays.symbol.copy()
        known = twin[is_known]
        symbol[known] = np.logaddexp(symbol[known], grown.symbol[is_known])
        return replace(stays, symbol=symbol), self._scored(grown.where(~is_known))

    def _scored(self, grown: _Rows) -> _Rows:
        score, state = self._model.advance(grown.state, grown.last)
        bonus = grown.bonus + self._weights.alpha * score + self._weights.beta
        return replace(grown, state=state, bonus=bonus.astype(np.float32))

    def _pruned(self, stays: _Rows, grown: _Rows) -> _Rows:
        """Keep the best prefixes of each recording, and give new ones a node."""
        rows = _concatenated([stays, grown])
        score = rows.score
        order = np.lexsort((-score, rows.recording))
        ordered = rows.recording[order]
        first = np.searchsorted(ordered, ordered)
        rank = np.arange(len(order)) - first
        is_near = score[order] > score[order[first]] - PRUNE
        kept = order[(rank < self._weights.width) & is_near]
        node = rows.node[kept]
        is_new = kept >= len(stays)
        count = int(is_new.sum())
        self._parents.append(node[is_new])
        self._symbols.append(rows.last[kept][is_new])
        node[is_new] = np.arange(self._nodes, self._nodes + count)
        self._nodes += count
        return replace(rows.where(kept), node=node)

    def _ranked(self, rows: _Rows) -> list[tuple[Hypothesis, ...]]:
        end, _ = self._model.advance(rows.state, np.full(len(rows), self._blank))
        final = rows.score + self._weights.alpha * end
        order = np.lexsort((-final, rows.recording))
        borders = np.searchsorted(rows.recording[order], np.arange(len(self._emissions) + 1))
        parents, symbols = np.concatenate(self._parents), np.concatenate(self._symbols)

        def read_back(row: int) -> Hypothesis:
            ids: list[int] = []
            node = rows.node[row]
            while parents[node] >= 0:
                ids.append(int(symbols[node]))
                node = parents[node]
            return Hypothesis(tuple(reversed(ids)), float(final[row]))

        return [tuple(map(read_back, order[begin:end])) for begin, end in pairwise(borders)]


@dataclass(frozen=True, slots=True)
class _Tried:
    """Likely symbols of a frame: ids and whether each is likely enough, both (n, k)."""

    symbols: Ids
    is_tried: NDArray[np.bool_]


def _mixed(hashes: Hashes, symbols: Ids) -> Hashes:
    mixed: Hashes = (hashes ^ (symbols.astype(np.uint64) + np.uint64(1))) * _HASH_FACTOR
    return mixed ^ (mixed >> np.uint64(29))


def _best_per_recording(rows: _Rows) -> Scores:
    best = np.full(int(rows.recording.max(initial=0)) + 1, _NEVER)
    np.maximum.at(best, rows.recording, rows.score)
    return best


def _concatenated(parts: Sequence[_Rows]) -> _Rows:
    return _Rows(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(_Rows))
    )
