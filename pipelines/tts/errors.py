"""What can go wrong in speech synthesis beyond the errors of all pipelines.

PipelineError
├─ MissingLibrary      an option needs a library that is not installed
└─ Unspeakable         a text without anything that the voice can say
"""

from __future__ import annotations

from pipelines.errors import PipelineError


class MissingLibrary(PipelineError):
    """An option of the settings needs an optional library; the message says which."""

    code = "CONFIG"

    def __init__(self, library: str, purpose: str) -> None:
        """Name the package as pip knows it, and what it is for."""
        super().__init__(f"{purpose} needs the Python package {library}: pip install {library}")
        self.library = library


class Unspeakable(PipelineError):
    """Nothing of a text is left once unknown characters are gone."""

    code = "INPUT_INVALID"
