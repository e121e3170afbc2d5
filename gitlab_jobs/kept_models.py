"""What a job's child keeps in memory for the next job: models that handlers have asked it to keep.

Holds what the last job has used and nothing else, so that two models are never in memory where one is
enough. Knows no model and no job.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class KeptModels:
    """One child's; lives as long as the process."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._models: dict[Hashable, Any] = {}
        self._used: set[Hashable] = set()

    @property
    def has_any(self) -> bool:
        """Whether there is anything that a next job could use."""
        return bool(self._models)

    def begin_job(self) -> None:
        """Another job begins, which has asked for nothing yet."""
        self._used.clear()

    def load_once(self, load: Callable[..., T], *arguments: Hashable, **options: Hashable) -> T:
        """What `load` makes of these arguments: made now, or for an earlier job of this child.

        Raises:
            TypeError: `load` is no class or function of a module, or an argument cannot be compared.
        """
        key = (_name_of(load), arguments, tuple(sorted(options.items())))
        if key not in self._models:
            self._let_go_of_unused()
            self._models[key] = load(*arguments, **options)
        self._used.add(key)
        model: T = self._models[key]
        return model

    def _let_go_of_unused(self) -> None:
        self._models = {key: self._models[key] for key in self._used}
        gc.collect()


def _name_of(load: Callable[..., Any]) -> str:
    """By name, since a handler file may be imported anew for each job."""
    if not (inspect.isfunction(load) or inspect.isclass(load)) or "<" in load.__qualname__:
        raise TypeError(
            "load_once takes a class, or a function of a module: its arguments are the key"
        )
    return f"{load.__module__}.{load.__qualname__}"
