"""Sentences as vectors, so that a passage can be found by what it means.

Knows sentences only. The library chooses pooling and length by the model's own settings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from transformers.utils import logging as transformers_logging

from pipelines.compute import choose_device
from pipelines.errors import ModelNotFound

DEFAULT_MODEL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
Vectors = NDArray[np.float32]


class SentenceEncoder:
    """Loaded once, used for any number of sentences."""

    def __init__(
        self, model: str = DEFAULT_MODEL, *, device: str = "cpu", name: str | None = None
    ) -> None:
        """Load a model by hub id or local directory; code of a repository is never run.

        Args:
            model: where it is.
            device: what it runs on.
            name: under which its vectors are stored and found; its place, unless given.

        Raises:
            ModelNotFound: it is not here and the hub does not give it.
            DeviceUnavailable: no such device.
        """
        self.name = name or model
        transformers_logging.disable_progress_bar()
        try:
            self._model = SentenceTransformer(
                model, device=str(choose_device(device)), trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            raise ModelNotFound(f"no sentence model {model}: {error}") from error

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Encode n sentences as unit vectors (n, d)."""
        found = self._model.encode(
            list(sentences),
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return np.asarray(found, np.float32)
