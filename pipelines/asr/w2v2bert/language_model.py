"""A character n-gram model of a language: which symbol comes next, from the project's own texts.

Interpolated Witten-Bell smoothing (Witten & Bell 1991). Every n-gram is a node of a trie; a state of
the model is the node of the longest context that was seen. Nodes are numbered so that the sorted keys
`parent * symbols + symbol` are in the order of the nodes, and thousands of look-ups are one binary
search. Works on a vocabulary's ids, in which the CTC blank stands for the border of a sentence;
knows no sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pipelines.errors import BadCheckpoint

FILE_NAME = "language_model.safetensors"
ORDER = 6
MOST_SYMBOLS = 4_000_000
"""Text beyond this (a whole Bible) is not counted: it would cost memory and teach little."""

Ids = NDArray[np.int64]
Scores = NDArray[np.float32]
ROOT = 0


@dataclass(frozen=True)
class CharacterModel:
    """Nodes 1…n by key; node 0 is the empty context.

    `keys` (n) sorted; `log_p` (n + 1) of the last symbol of each node after the others; `log_back`
    (n + 1) added when a context lacks a symbol; `shorter` (n + 1) the node without its first symbol;
    `state` (n + 1) the longest context after each node; `floor` what an unseen symbol costs.
    """

    symbols: int
    boundary: int
    keys: Ids
    log_p: Scores
    log_back: Scores
    shorter: Ids
    state: Ids
    floor: float

    @classmethod
    def from_sentences(
        cls, sentences: Sequence[Sequence[int]], *, symbols: int, boundary: int, order: int = ORDER
    ) -> CharacterModel:
        """Count n-grams up to `order` in sentences of ids below `symbols`."""
        counts = _Counts(_joined(sentences, boundary), symbols, boundary)
        for _ in range(order):
            counts.add_level()
        return counts.model()

    @property
    def start(self) -> int:
        """The state before the first symbol of a sentence."""
        _, state = self.advance(np.array([ROOT]), np.array([self.boundary]))
        return int(state[0])

    def advance(self, states: Ids, symbols: Ids) -> tuple[Scores, Ids]:
        """Log-probability of each symbol after each state, and the states then; all (m)."""
        scores = np.zeros(len(states), np.float32)
        after = np.zeros(len(states), np.int64)
        waiting = np.arange(len(states))
        contexts = states.astype(np.int64)
        while len(waiting):
            keys = contexts * self.symbols + symbols[waiting]
            at = np.searchsorted(self.keys, keys)
            is_known = self.keys[np.minimum(at, len(self.keys) - 1)] == keys
            found = waiting[is_known]
            nodes = at[is_known] + 1
            scores[found] += self.log_p[nodes]
            after[found] = self.state[nodes]
            lost = ~is_known & (contexts == ROOT)
            scores[waiting[lost]] += self.floor
            goes_on = ~is_known & ~lost
            waiting, contexts = waiting[goes_on], contexts[goes_on]
            scores[waiting] += self.log_back[contexts]
            contexts = self.shorter[contexts]
        return scores, after

    def scores(self, sentence: Sequence[int]) -> list[float]:
        """Log-probability of each symbol of a sentence, and of its end."""
        found, state = [], np.array([self.start])
        for symbol in (*sentence, self.boundary):
            score, state = self.advance(state, np.array([symbol]))
            found.append(float(score[0]))
        return found

    def means(self, sentences: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """Mean log-probability of a symbol of each sentence, its end included; (n)."""
        lengths = np.array([len(sentence) for sentence in sentences], np.int64)
        ids = np.full((len(sentences), int(lengths.max(initial=0)) + 1), self.boundary, np.int64)
        for row, sentence in enumerate(sentences):
            ids[row, : len(sentence)] = sentence
        totals, states = np.zeros(len(sentences)), np.full(len(sentences), self.start)
        for place in range(ids.shape[1]):
            here = np.flatnonzero(place <= lengths)
            scores, states[here] = self.advance(states[here], ids[here, place])
            totals[here] += scores
        return totals / (lengths + 1)

    def save(self, directory: Path) -> None:
        """Write `FILE_NAME`."""
        facts = np.array([self.symbols, self.boundary], np.int64)
        arrays = {
            "facts": facts,
            "keys": self.keys,
            "log_p": self.log_p,
            "log_back": self.log_back,
            "shorter": self.shorter.astype(np.int32),
            "state": self.state.astype(np.int32),
            "floor": np.array([self.floor], np.float32),
        }
        save_file(arrays, directory / FILE_NAME)

    @classmethod
    def load(cls, directory: Path) -> CharacterModel:
        """Read it back.

        Raises:
            BadCheckpoint: damaged, or with links that no model of ours has.
        """
        try:
            arrays = load_file(directory / FILE_NAME)
            symbols, boundary = (int(value) for value in arrays["facts"])
            model = cls(
                symbols=symbols,
                boundary=boundary,
                keys=arrays["keys"].astype(np.int64),
                log_p=arrays["log_p"].astype(np.float32),
                log_back=arrays["log_back"].astype(np.float32),
                shorter=arrays["shorter"].astype(np.int64),
                state=arrays["state"].astype(np.int64),
                floor=float(arrays["floor"][0]),
            )
        except (OSError, KeyError, ValueError, IndexError, SafetensorError) as error:
            raise BadCheckpoint("The model's language model is damaged.") from error
        model._check()
        return model

    def _check(self) -> None:
        """A context must get shorter at every step, or a look-up would never end."""
        size = len(self.keys) + 1
        arrays = (self.log_p, self.log_back, self.shorter, self.state)
        numbers = np.arange(size)
        is_sound = (
            size > 1
            and all(array.shape == (size,) for array in arrays)
            and bool(np.all(np.diff(self.keys) > 0))
            and bool(np.all((self.shorter[1:] >= 0) & (self.shorter[1:] < numbers[1:])))
            and bool(np.all((self.state >= 0) & (self.state < size)))
            and 0 <= self.boundary < self.symbols
        )
        if not is_sound:
            raise BadCheckpoint("The model's language model is damaged.")


def _joined(sentences: Sequence[Sequence[int]], boundary: int) -> Ids:
    """All sentences in a row, a border before, between and after them."""
    parts: list[int] = [boundary]
    for sentence in sentences:
        if len(parts) > MOST_SYMBOLS:
            break
        parts.extend(sentence)
        parts.append(boundary)
    return np.array(parts, np.int64)


class _Counts:
    """N-grams of growing length over one text; level k holds those of k symbols."""

    def __init__(self, text: Ids, symbols: int, boundary: int) -> None:
        self._text = text
        self._symbols = symbols
        self._boundary = boundary
        self._keys: list[Ids] = []
        self._counts: list[Ids] = []
        self._shorter: list[Ids] = []
        self._next_node = 1
        # For each position, the node of the newest level's n-gram that ends there; −1: none.
        self._ending = np.zeros(len(text), np.int64)

    def add_level(self) -> None:
        """Extend every n-gram by one symbol; none reaches across the border of a sentence."""
        before = np.concatenate([[-1], self._ending[:-1]])
        if self._keys:
            reaches_over = np.concatenate([[False], self._text[:-1] == self._boundary])
            before[reaches_over & (len(self._keys) > 1)] = -1
        else:
            before[0] = ROOT
        has_one = np.flatnonzero(before >= 0)
        keys = before[has_one] * self._symbols + self._text[has_one]
        unique, first, inverse, counts = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        self._keys.append(unique)
        self._counts.append(counts)
        is_first_level = len(self._keys) == 1
        shorter = np.zeros(len(unique), np.int64)
        self._shorter.append(shorter if is_first_level else self._ending[has_one[first]])
        ending = np.full(len(self._text), -1)
        ending[has_one] = self._next_node + inverse
        self._ending = ending
        self._next_node += len(unique)

    def model(self) -> CharacterModel:
        """Smooth level by level: each interpolates with the one of shorter contexts."""
        keys = np.concatenate(self._keys)
        counts = np.concatenate([[0], *self._counts]).astype(np.float64)
        shorter = np.concatenate([[ROOT], *self._shorter])
        parent = np.concatenate([[ROOT], keys // self._symbols])
        size = len(counts)
        followers = np.bincount(parent[1:], minlength=size)
        followed = np.bincount(parent[1:], weights=counts[1:], minlength=size)
        floor = 1.0 / self._symbols
        share_back = np.where(followers > 0, followers / np.maximum(followed + followers, 1), 1.0)
        p = np.zeros(size)
        begin = 1
        for level_keys in self._keys:
            nodes = np.arange(begin, begin + len(level_keys))
            above = parent[nodes]
            # A symbol's probability after the shorter context: the node without the first symbol.
            fallback = p[shorter[nodes]] if begin > 1 else np.full(len(nodes), floor)
            seen = counts[nodes] / (followed[above] + followers[above])
            p[nodes] = seen + share_back[above] * fallback
            begin += len(level_keys)
        nodes = np.arange(size)
        state = np.where(followers > 0, nodes, shorter)
        return CharacterModel(
            symbols=self._symbols,
            boundary=self._boundary,
            keys=keys,
            log_p=np.log(np.maximum(p, 1e-30)).astype(np.float32),
            log_back=np.log(share_back).astype(np.float32),
            shorter=shorter,
            state=state.astype(np.int64),
            floor=float(np.log(share_back[ROOT] * floor)),
        )
