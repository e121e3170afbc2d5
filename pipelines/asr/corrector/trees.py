"""SentenceTransmorgrifier's own kind of model, read from its file and written into it.

Two ensembles of CatBoost choose like `network.EditNetwork`: an action at every place, and the character
to insert. The file (`.tm`) is a zip of `params.json`, `action.cb` and, unless there is only one character to
insert, `char.cb`; the last two are CatBoost's own format, which holds numbers and no code. A file may come from
any project, so nothing in it is believed. CatBoost is imported when there is such a model, not before.
Axis letters: n places, s symbols of a context.
"""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import BadCheckpoint

PARAMS, ACTIONS, CHARACTERS = "params.json", "action.cb", "char.cb"
NEWEST = 2
"""Version of the file that the library writes; with 1 there are no actions for case."""
MOST_BYTES = 256 << 20
"""Of a member; what four thousand iterations leave has a few megabytes."""
MOST_PARAMS_BYTES = 64 << 10
MOST_CONTEXT = 64
COUNTERS = 2
MATCH, DELETE, INSERT, UPPER, LOWER = 0, 1, 2, 4, 5
"""The library's numbers; 3 is the start of a trace and never a decision."""

RATE = 0.3
"""Four times the library's, for a tenth of its iterations."""
LEAST_ITERATIONS, MOST_ITERATIONS = 50, 300
COST_S = 4.5e-7
"""Processor time of an iteration, for every place, and for every character that is inserted times all kinds of them."""
MOST_KINDS = 255
"""Characters that CatBoost tells apart one by one; it has no cheap way with more."""

Contexts = NDArray[np.object_]
"""(n, s + counters): characters ahead, written and consumed, then insertions and deletions just before."""


class Params(BaseModel):
    """`params.json`; other keys are left alone."""

    model_config = ConfigDict(frozen=True)

    version: int = Field(ge=1, le=NEWEST)
    leading_context: int = Field(ge=1, le=MOST_CONTEXT)
    """Characters that were written, and as many that were consumed."""
    trailing_context: int = Field(ge=1, le=MOST_CONTEXT)
    """Characters ahead."""
    iterations: int = 0
    constant_output: str | None = Field(None, max_length=8)
    """The only character that is ever inserted."""
    end_mark: bool = False
    """Ours: texts end with `edits.END`, so that a full stop can be inserted before it."""

    @property
    def symbols(self) -> int:
        """Characters in a context."""
        return self.trailing_context + 2 * self.leading_context


class Ensemble(Protocol):
    """What is used of a classifier of CatBoost."""

    def predict(self, data: Contexts) -> Any:
        """The class of each row."""

    def save_model(self, fname: str) -> None:
        """Write its own format."""


@dataclass(frozen=True, slots=True)
class EditTrees:
    """Both ensembles; `characters` is None where only one character is ever inserted."""

    params: Params
    actions: Ensemble
    characters: Ensemble | None

    def decide(self, contexts: Contexts) -> tuple[list[int], list[str]]:
        """An action for every row, as the library numbers them, and a character to insert, or ""."""
        actions = [int(action) for action in np.ravel(self.actions.predict(contexts))]
        written = [self.params.constant_output or ""] * len(actions)
        inserting = [row for row, action in enumerate(actions) if action == INSERT]
        if inserting and self.characters is not None:
            chosen = np.ravel(self.characters.predict(contexts[inserting]))
            for row, character in zip(inserting, chosen, strict=True):
                written[row] = str(character)
        return actions, written

    def save(self, path: Path) -> None:
        """Write a file that the library reads too."""
        with (
            tempfile.TemporaryDirectory() as scratch,
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            archive.writestr(PARAMS, self.params.model_dump_json(exclude_none=True))
            for name, ensemble in ((ACTIONS, self.actions), (CHARACTERS, self.characters)):
                if ensemble is not None:
                    member = Path(scratch) / name
                    ensemble.save_model(str(member))
                    archive.write(member, name)

    @classmethod
    def load(cls, path: Path) -> EditTrees:
        """Read a file of the library, or one of `save`.

        Raises:
            BadCheckpoint: it is damaged, too large or of another kind, or CatBoost is not installed.
        """
        with _damage_named(), zipfile.ZipFile(path) as archive:
            params = Params.model_validate_json(_member(archive, PARAMS, MOST_PARAMS_BYTES))
            actions = _ensemble(_member(archive, ACTIONS, MOST_BYTES), params)
            if params.constant_output is not None:
                return cls(params, actions, None)
            return cls(params, actions, _ensemble(_member(archive, CHARACTERS, MOST_BYTES), params))


def learn(
    contexts: Contexts,
    actions: Sequence[int],
    written: Sequence[str],
    *,
    context: int,
    budget_s: float,
) -> EditTrees | None:
    """Grow both ensembles on decisions within about a time; None where there is nothing to decide.

    `written` holds the character of every insertion. Characters are asked for one by one
    (`one_hot_max_size`) and not by statistics over combinations of them, which takes eleven times as long.
    With a script of thousands of characters there is no way that ends in time, and the answer is None too.
    """
    kinds = np.array(actions)
    inserts = kinds == INSERT
    inserted = np.array(written, dtype=object)[inserts]
    iterations = iterations_within(budget_s, len(kinds), inserted)
    is_large = len(set(contexts[:, 0])) > MOST_KINDS
    if len(set(actions)) < 2 or is_large or iterations < LEAST_ITERATIONS:
        return None
    is_constant = len(set(inserted)) < 2
    constant = (str(inserted[0]) if len(inserted) else " ") if is_constant else None
    return EditTrees(
        Params(
            version=NEWEST,
            leading_context=context,
            trailing_context=context,
            iterations=iterations,
            constant_output=constant,
            end_mark=True,
        ),
        _grown(contexts, kinds, iterations, context),
        None if is_constant else _grown(contexts[inserts], inserted, iterations, context),
    )


def iterations_within(budget_s: float, places: int, inserted: Contexts) -> int:
    """How many iterations fit a time; the same on every machine, so that a training can be repeated."""
    units = places + len(inserted) * len(set(inserted))
    return min(int(budget_s / (COST_S * max(units, 1))), MOST_ITERATIONS)


def _grown(contexts: Contexts, labels: NDArray[Any], iterations: int, context: int) -> Ensemble:
    from catboost import CatBoostClassifier, Pool

    letters = [f"{kind}{number}" for kind in "ftu" for number in range(context)]
    names = [*letters, "continuous_added", "continuous_dropped"]
    pool = Pool(contexts, label=labels, cat_features=list(range(3 * context)), feature_names=names)
    model: Ensemble = CatBoostClassifier(
        iterations=iterations,
        learning_rate=RATE,
        one_hot_max_size=MOST_KINDS,
        max_ctr_complexity=1,
        random_seed=0,
        thread_count=torch.get_num_threads(),
        allow_writing_files=False,
        logging_level="Silent",
    ).fit(pool)
    return model


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """A file of the archive; what the archive says of its size is not believed either."""
    with archive.open(name) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise BadCheckpoint(f"The model's text corrector is too large: {name}.")
    return data


def _ensemble(data: bytes, params: Params) -> Ensemble:
    """An ensemble that sees what it will be shown."""
    from catboost import CatBoostClassifier

    model = CatBoostClassifier()
    model.load_model(blob=data)
    letters = list(range(params.symbols))
    sees = len(model.feature_names_)
    if sees != params.symbols + COUNTERS or list(model.get_cat_feature_indices()) != letters:
        raise BadCheckpoint("The model's text corrector is of another kind.")
    loaded: Ensemble = model
    return loaded


@contextmanager
def _damage_named() -> Iterator[None]:
    """Turn what unpacking raises into words for the user."""
    try:
        from catboost import CatBoostError
    except ImportError as error:
        raise BadCheckpoint(
            "The model's text corrector needs CatBoost, which this worker does not have."
        ) from error
    try:
        yield
    except (OSError, KeyError, ValidationError, CatBoostError) as error:
        raise BadCheckpoint("The model's text corrector is damaged.") from error
    # Of archives: broken ones, encrypted members, unknown ways of compressing.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise BadCheckpoint("The model's text corrector cannot be unpacked.") from error
