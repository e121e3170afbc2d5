"""The files of a refinement: the corrected text, and every change beside it.

    talk_formatted.txt ─► talk_formatted_refined.txt, talk_formatted_refined_changes.json

Knows the two files' form, not how the changes came about. Files appear whole or not at all.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.llm.refine import Change, Refinement
from pipelines.whole_file import write_whole

CONTEXT = 40
"""Characters kept on each side of a change, by which it is found again in a subtitle file."""


@dataclass(frozen=True, slots=True)
class RefinedFiles:
    """What was written; `summary` has the counts."""

    refined_path: Path
    changes_path: Path
    summary: dict[str, int]


def write_refinement(refinement: Refinement, text_path: Path) -> RefinedFiles:
    """Write both files beside the text they came from."""
    refined_path = text_path.with_name(f"{text_path.stem}_refined.txt")
    changes_path = text_path.with_name(f"{text_path.stem}_refined_changes.json")
    summary = {
        "passages": refinement.passages,
        "changes": len(refinement.changes),
        "refused": len(refinement.refusals),
        "failed_passages": len(refinement.failures),
        "input_tokens": refinement.input_tokens,
        "output_tokens": refinement.output_tokens,
    }
    content = {
        "model": refinement.model,
        "summary": summary,
        "changes": [_change(change, refinement.original) for change in refinement.changes],
        "refused": [
            {**refusal.proposal.model_dump(), "why": refusal.why} for refusal in refinement.refusals
        ],
        "failures": list(refinement.failures),
        "refined_transcript": refinement.refined,
    }
    write_whole(refined_path, refinement.refined)
    write_whole(changes_path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    return RefinedFiles(refined_path, changes_path, summary)


def _change(change: Change, original: str) -> dict[str, Any]:
    end = change.start + len(change.original)
    before = original[max(0, change.start - CONTEXT) : change.start]
    return {**asdict(change), "before": before, "after": original[end : end + CONTEXT]}
