"""Let a language model correct a transcript, and accept only what can be checked.

    text ─► numbered lines ─► passages ─► questions ─► lists of changes ─► checked one by one ─► text
                                             │ no answer, twice no form, or too much changed
                                             └──► the passage stays as it was, and is named

The model never writes the transcript: it names changes (line, words there, words instead, reason), so
every difference between the two texts is in the list by construction. Knows no files and no times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rapidfuzz.distance import Levenshtein
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from pipelines.llm.passages import Line, Passage, number_lines, split_passages
from pipelines.llm.port import (
    Answer,
    BadAnswer,
    LanguageModel,
    ModelRefused,
    ModelUnreachable,
    Question,
)
from pipelines.progress import Progress, ignore_progress

INSTRUCTIONS = """\
You proofread a transcript that a speech recogniser made. Correct only what it plainly misheard or \
misspelt: wrong words, names, missing sentence marks. Do not rephrase, shorten, translate or add \
anything, keep dialect and repetitions, and leave speaker labels and times as they are. Each line \
begins with its number. For every correction give the line's number, the exact words that stand there \
(enough of them to occur only once in the line), the words to put instead, and a reason of a few \
words. An empty list is a good answer."""


class Proposal(BaseModel):
    """One correction as a model proposes it."""

    model_config = ConfigDict(extra="forbid")

    line: int = Field(description="number of the line")
    original: str = Field(description="the exact words that stand in the line")
    corrected: str = Field(description="the words to put instead; empty to drop them")
    reason: str = Field(description="why, in a few words")


class Proposals(BaseModel):
    """A model's answer for one passage."""

    model_config = ConfigDict(extra="forbid")

    changes: list[Proposal]


@dataclass(frozen=True, slots=True)
class Options:
    """How much is asked at once, and how much may change.

    `most_changed` is the share of a passage's characters (0…1) above which its changes are refused together:
    a model that rewrites is not proofreading. `parallel` questions are open at a time; one is asked in the caller's thread.
    """

    passage_characters: int = 6000
    most_changed: float = 0.2
    parallel: int = 4
    max_tokens: int = 4096
    hint: str = ""
    """Names and terms that the recording is known to hold."""


@dataclass(frozen=True, slots=True)
class Change:
    """A correction that was made, at `start` (characters from the beginning of the original)."""

    start: int
    original: str
    corrected: str
    reason: str
    line: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A correction that was not made, and why."""

    proposal: Proposal
    why: str


@dataclass(frozen=True, slots=True)
class Refinement:
    """A text with its corrections; `failures` has a sentence for every passage left as it was."""

    model: str
    original: str
    refined: str
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]
    failures: tuple[str, ...]
    passages: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class _Checked:
    changes: tuple[Change, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    failure: str | None = None
    cost: Answer = field(default_factory=lambda: Answer(""))


def refine(
    text: str,
    model: LanguageModel,
    options: Options | None = None,
    progress: Progress = ignore_progress,
) -> Refinement:
    """Have a transcript proofread.

    A passage that the model fails on stays as it is; only an endpoint that refuses us ends the work.

    Args:
        text: the transcript, one paragraph or turn a line.
        model: who proofreads.
        options: limits; the defaults suit models of 8,000 tokens and more.
        progress: told after every passage.

    Raises:
        ModelRefused: wrong key, no permission, unknown model: no passage would fare better.
    """
    options = options or Options()
    passages = split_passages(number_lines(text), characters=options.passage_characters)
    checked: list[_Checked] = []
    with ExitStack() as stack:
        each: Callable[..., Iterable[_Checked]] = map
        if options.parallel > 1:
            pool = ThreadPoolExecutor(options.parallel, thread_name_prefix="refine")
            each = stack.enter_context(pool).map
        for one in each(partial(_proofread, model=model, options=options), passages):
            checked.append(one)
            progress("refining", fraction=len(checked) / len(passages))
    changes = tuple(change for one in checked for change in one.changes)
    return Refinement(
        model=model.name,
        original=text,
        refined=_with_changes(text, changes),
        changes=changes,
        refusals=tuple(refusal for one in checked for refusal in one.refusals),
        failures=tuple(one.failure for one in checked if one.failure),
        passages=len(passages),
        input_tokens=sum(one.cost.input_tokens for one in checked),
        output_tokens=sum(one.cost.output_tokens for one in checked),
    )


def _proofread(passage: Passage, *, model: LanguageModel, options: Options) -> _Checked:
    where = f"lines {passage.lines[0].number} to {passage.lines[-1].number}"
    try:
        proposals, cost = _ask(passage, model, options)
    except ModelRefused:
        raise
    except (ModelUnreachable, BadAnswer) as error:
        return _Checked(failure=f"{where} stay as they were: {error}")
    changes, refusals = _check(passage.lines, proposals.changes)
    share = _changed_share(changes, passage.lines)
    if share > options.most_changed:
        why = f"{share:.0%} of {where} would change, more than {options.most_changed:.0%}"
        refused = tuple(Refusal(_as_proposal(change), why) for change in changes)
        return _Checked(refusals=(*refused, *refusals), failure=why, cost=cost)
    return _Checked(changes, refusals, cost=cost)


def _ask(passage: Passage, model: LanguageModel, options: Options) -> tuple[Proposals, Answer]:
    """Ask; once more if the answer is not in form (a model may do better the second time)."""
    question = Question(
        _instructions(passage, options),
        passage.text,
        Proposals.model_json_schema(),
        options.max_tokens,
    )
    again = Retrying(
        stop=stop_after_attempt(2), retry=retry_if_exception_type(BadAnswer), reraise=True
    )
    return again(lambda: _parsed(model.ask(question)))


def _parsed(answer: Answer) -> tuple[Proposals, Answer]:
    try:
        return Proposals.model_validate_json(answer.content), answer
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise BadAnswer(f"the answer is not in form: {problem}") from error


def _instructions(passage: Passage, options: Options) -> str:
    parts = [INSTRUCTIONS]
    if options.hint:
        parts.append(f"Names and terms that occur: {options.hint}")
    if passage.before:
        before = "\n".join(line.text for line in passage.before)
        parts.append(f"What was said just before, for understanding only:\n{before}")
    return "\n\n".join(parts)


def _check(
    lines: Sequence[Line], proposals: Iterable[Proposal]
) -> tuple[tuple[Change, ...], tuple[Refusal, ...]]:
    """Keep what names one place, really changes it, and does not overlap another change."""
    by_number = {line.number: line for line in lines}
    made: list[Change] = []
    refused: list[Refusal] = []
    for proposal in proposals:
        line = by_number.get(proposal.line)
        why = _objection(proposal, line)
        if why is None and line is not None:
            start = line.start + line.text.index(proposal.original)
            change = Change(
                start, proposal.original, proposal.corrected, proposal.reason, proposal.line
            )
            if not any(_overlap(change, other) for other in made):
                made.append(change)
                continue
            why = "it overlaps another correction"
        refused.append(Refusal(proposal, why or "there is no such line here"))
    return tuple(sorted(made, key=lambda change: change.start)), tuple(refused)


def _objection(proposal: Proposal, line: Line | None) -> str | None:
    if line is None:
        return "there is no such line here"
    if not proposal.original or proposal.original == proposal.corrected:
        return "it changes nothing"
    if "\n" in proposal.corrected:
        return "it breaks the line"
    found = line.text.count(proposal.original)
    if found == 1:
        return None
    return "these words are not in the line" if not found else "these words occur more than once"


def _overlap(one: Change, other: Change) -> bool:
    return one.start < other.start + len(other.original) and other.start < one.start + len(
        one.original
    )


def _with_changes(text: str, changes: Iterable[Change]) -> str:
    parts: list[str] = []
    at = 0
    for change in changes:
        parts += [text[at : change.start], change.corrected]
        at = change.start + len(change.original)
    return "".join([*parts, text[at:]])


def _changed_share(changes: Sequence[Change], lines: Sequence[Line]) -> float:
    """Edit distance over length, in characters: the same measure in scripts without spaces."""
    distance = sum(Levenshtein.distance(change.original, change.corrected) for change in changes)
    return distance / max(1, sum(len(line.text) for line in lines))


def _as_proposal(change: Change) -> Proposal:
    return Proposal(
        line=change.line,
        original=change.original,
        corrected=change.corrected,
        reason=change.reason,
    )
