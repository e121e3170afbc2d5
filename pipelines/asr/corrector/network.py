"""The small network that chooses an action and a character from a context, and its file.

Where SentenceTransmorgrifier has two ensembles of boosted trees, this has one network with two heads:
it learns in seconds instead of hours and decides for many texts at once
(`docs/decisions/0007-corrector.md`). Axis letters: n contexts, w code points in a context, s symbols.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipelines.asr.corrector.edits import (
    CONTEXT,
    COUNTERS,
    END,
    NOTHING,
    WIDTH,
    Action,
    Codes,
    Step,
)
from pipelines.errors import BadCheckpoint

WEIGHTS, SETTINGS = "corrector.safetensors", "corrector.json"
EMBEDDING, HIDDEN = 16, 160
UNKNOWN = 0
MOST_CHARACTERS = 4_000
RAREST = 2
"""A character seen less often is unknown, and copied like any other."""

BATCH = 512
MOST_STEPS = 900
LEAST_STEPS = 200
PASSES = 6
RATE = 4e-3


class EditNetwork(nn.Module):
    """Contexts to scores of actions (n, 5) and of characters to insert (n, s)."""

    def __init__(self, characters: Sequence[int]) -> None:
        """Know these code points; they must be sorted."""
        super().__init__()
        self.characters = np.array(characters, np.int64)
        self.embedding = nn.Embedding(len(characters) + 1, EMBEDDING)
        self.first = nn.Linear(WIDTH * EMBEDDING + COUNTERS, HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.action = nn.Linear(HIDDEN, len(Action))
        self.symbol = nn.Linear(HIDDEN, len(characters) + 1)

    def forward(self, context: Tensor, counters: Tensor) -> tuple[Tensor, Tensor]:
        """context: (n, w) symbol numbers, counters: (n, 2)."""
        near = self.embedding(context).flatten(1)
        hidden = torch.relu(self.first(torch.cat([near, counters], dim=1)))
        hidden = hidden + torch.relu(self.second(hidden))
        return self.action(hidden), self.symbol(hidden)

    def numbers_of(self, codes: Codes) -> NDArray[np.int64]:
        """Symbol numbers of code points, in any shape; 0 for unknown ones."""
        at = np.minimum(np.searchsorted(self.characters, codes), len(self.characters) - 1)
        return np.where(self.characters[at] == codes, at + 1, UNKNOWN)

    @torch.inference_mode()
    def decide(self, contexts: Codes, counters: NDArray[np.int64]) -> tuple[Codes, Codes]:
        """Actions and code points to insert, both (n); contexts: (n, w), counters: (n, 2)."""
        scores, symbols = self(
            torch.from_numpy(self.numbers_of(contexts)), torch.from_numpy(_scaled(counters))
        )
        # An unknown character cannot be written, nor can the end mark or nothing.
        symbols[:, UNKNOWN] = -torch.inf
        for code in (END, NOTHING):
            number = int(self.numbers_of(np.array([code]))[0])
            symbols[:, number] = -torch.inf
        chosen = symbols.argmax(dim=1).numpy() - 1
        return scores.argmax(dim=1).numpy(), self.characters[chosen]

    def save(self, directory: Path) -> None:
        """Write weights and characters."""
        save_file(self.state_dict(), directory / WEIGHTS)
        document = {"context": CONTEXT, "characters": self.characters.tolist()}
        (directory / SETTINGS).write_text(json.dumps(document), "utf-8")

    @classmethod
    def load(cls, directory: Path) -> EditNetwork | None:
        """Read what `save` wrote; None where a checkpoint has no corrector.

        Raises:
            BadCheckpoint: it is damaged.
        """
        if not (directory / SETTINGS).exists():
            return None
        try:
            document: Any = json.loads((directory / SETTINGS).read_text("utf-8"))
            characters = sorted({int(code) for code in document["characters"]})
            if document["context"] != CONTEXT or not 0 < len(characters) <= MOST_CHARACTERS + 2:
                raise BadCheckpoint("The model's text corrector is of another kind.")
            network = cls(characters)
            network.load_state_dict(load_file(directory / WEIGHTS))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise BadCheckpoint("The model's text corrector is damaged.") from error
        return network.eval()


def learn(steps: Sequence[Step], *, seed: int) -> EditNetwork:
    """Train a network on decisions; the same ones and seed give the same network."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = EditNetwork(_characters(steps))
        contexts = torch.from_numpy(network.numbers_of(np.array([step.context for step in steps])))
        counters = torch.from_numpy(_scaled(np.array([step.counters for step in steps])))
        actions = torch.tensor([step.action for step in steps])
        written = torch.from_numpy(network.numbers_of(np.array([step.written for step in steps])))
        wanted = len(steps) * PASSES // BATCH
        _optimise(network, (contexts, counters, actions, written), _between(wanted))
    return network.eval()


def _optimise(
    network: EditNetwork, data: tuple[Tensor, Tensor, Tensor, Tensor], steps: int
) -> None:
    contexts, counters, actions, written = data
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    insertion = int(Action.INSERT)
    for _ in range(steps):
        chosen = torch.randint(len(actions), (BATCH,))
        scores, symbols = network(contexts[chosen], counters[chosen])
        loss = nn.functional.cross_entropy(scores, actions[chosen])
        inserts = actions[chosen] == insertion
        if inserts.any():
            at_inserts = nn.functional.cross_entropy(symbols[inserts], written[chosen][inserts])
            loss = loss + at_inserts * inserts.float().mean()
        optimizer.zero_grad()
        torch.autograd.backward([loss])
        optimizer.step()
        schedule.step()


def _between(wanted: int) -> int:
    return min(max(wanted, LEAST_STEPS), MOST_STEPS)


def _characters(steps: Iterable[Step]) -> list[int]:
    counts: Counter[int] = Counter()
    for step in steps:
        counts[step.context[0]] += 1
        counts[step.written] += 1
    frequent = [code for code, n in counts.most_common(MOST_CHARACTERS) if n >= RAREST]
    return sorted({NOTHING, END, *frequent})


def _scaled(counters: NDArray[np.int64]) -> NDArray[np.float32]:
    return (np.minimum(counters, CONTEXT) / CONTEXT).astype(np.float32)
