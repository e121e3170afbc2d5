"""A transcript proofread over real HTTP, by both protocols, with everything an endpoint can do wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.llm_server import LanguageModelServer, Reply, changes, serving

from pipelines.errors import ModelNotFound
from pipelines.llm.endpoint import AnswerFormat, Endpoint, Wire, open_model, parse_model
from pipelines.llm.port import LanguageModel, ModelRefused
from pipelines.llm.refine import Options, refine
from pipelines.llm.refined_files import write_refinement

TEXT = "In the beginning God crated the heaven and the earth.\nAnd the earth was without from."
FIXED = "In the beginning God created the heaven and the earth.\nAnd the earth was without form."
FIXES = changes((1, "crated", "created"), (2, "from.", "form."))

Opener = Callable[[LanguageModelServer], LanguageModel]


@pytest.fixture(params=["openai", "bedrock"])
def opened(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Opener:
    """The same questions over both protocols."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    monkeypatch.setenv("OPENAI_API_KEY", "key")

    def opener(server: LanguageModelServer) -> LanguageModel:
        wire = Wire(request.param)
        model = open_model(Endpoint(wire, "m", url=server.url, timeout_s=1.0, attempts=2))
        request.addfinalizer(model.close)  # type: ignore[attr-defined]  # both adapters have it
        return model

    return opener


def test_corrections_are_made_and_each_one_is_listed(opened: Opener) -> None:
    """The difference of the two texts is exactly the list."""
    with serving(FIXES) as server:
        found = refine(TEXT, opened(server))

    assert found.refined == FIXED
    assert [(one.line, one.original, one.corrected) for one in found.changes] == [
        (1, "crated", "created"),
        (2, "from.", "form."),
    ]
    assert all(TEXT[one.start :].startswith(one.original) for one in found.changes)
    assert (found.input_tokens, found.output_tokens) == (100, 10)
    assert not found.failures


def test_a_long_transcript_is_read_in_passages_that_know_what_came_before(opened: Opener) -> None:
    """Every line is asked about once, under its own number."""
    lines = [f"Line {number} has some wrods." for number in range(1, 41)]
    with serving(Reply()) as server:
        found = refine("\n".join(lines), opened(server), Options(passage_characters=200))
        asked = [json.dumps(body, ensure_ascii=False) for _, body in server.requests]

    assert found.passages == len(asked) > 3
    for number, line in enumerate(lines, start=1):
        assert sum(f"{number}: {line}" in question for question in asked) == 1
    shown = sum(question.count(line) for question in asked for line in lines)
    assert shown == len(lines) + 2 * (len(asked) - 1)


@pytest.mark.parametrize(
    ("proposal", "why"),
    [
        ((9, "crated", "created"), "no such line"),
        ((1, "nowhere", "somewhere"), "not in the line"),
        ((1, "the", "a"), "more than once"),
        ((1, "crated", "crated"), "changes nothing"),
        ((1, "crated", "cre\nated"), "breaks the line"),
    ],
)
def test_a_correction_that_names_no_one_place_is_refused_with_its_reason(
    opened: Opener, proposal: tuple[int, str, str], why: str
) -> None:
    """A model's slip never moves a word."""
    with serving(changes(proposal, (2, "from.", "form."))) as server:
        found = refine(TEXT, opened(server))

    assert found.refined == TEXT.replace("from.", "form.")
    assert [why in refusal.why for refusal in found.refusals] == [True]


def test_two_corrections_of_the_same_words_are_not_both_made(opened: Opener) -> None:
    """The first one counts."""
    with serving(changes((1, "God crated", "God created"), (1, "crated", "rated"))) as server:
        found = refine(TEXT, opened(server))

    assert "God created the heaven" in found.refined
    assert [refusal.why for refusal in found.refusals] == ["it overlaps another correction"]


def test_a_model_that_rewrites_is_refused(opened: Opener) -> None:
    """Too much changed: the passage stays, and the list says what was asked for."""
    rewritten = changes((1, "In the beginning God crated the heaven", "At first, the sky was made"))
    with serving(rewritten) as server:
        found = refine(TEXT, opened(server))

    assert found.refined == TEXT
    assert not found.changes
    assert "would change" in found.failures[0]
    assert len(found.refusals) == 1


@pytest.mark.parametrize(
    "bad",
    [
        Reply("I would gladly help you with that!"),
        Reply('{"changes": [{"line": 1}]}'),
        Reply('{"changes": [', cut_off=True),
        Reply("[]"),
        Reply(""),
    ],
)
def test_an_answer_out_of_form_is_asked_for_once_more(opened: Opener, bad: Reply) -> None:
    """The second answer is taken; two bad ones leave the passage alone."""
    with serving(bad, FIXES) as server:
        assert refine(TEXT, opened(server)).refined == FIXED
    with serving(bad) as server:
        given_up = refine(TEXT, opened(server))
        assert len(server.requests) == 2

    assert given_up.refined == TEXT
    assert "stay as they were" in given_up.failures[0]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_endpoint_is_asked_again(opened: Opener, status: int) -> None:
    """Rate limits and server errors pass."""
    busy = Reply("slow down", status=status, headers={"Retry-After": "0"})
    with serving(busy, FIXES) as server:
        assert refine(TEXT, opened(server)).refined == FIXED
        assert len(server.requests) == 2


def test_an_endpoint_that_stays_away_leaves_the_text_alone(opened: Opener) -> None:
    """Time-outs are bounded, and a sentence says which lines were not read."""
    with serving(Reply(after_s=1.5)) as server:
        found = refine(TEXT, opened(server))

    assert found.refined == TEXT
    assert "lines 1 to 2 stay as they were" in found.failures[0]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_endpoint_that_refuses_us_ends_the_work_at_once(opened: Opener, status: int) -> None:
    """A wrong key is not a fault of the transcript."""
    with serving(Reply("no such key", status=status)) as server:
        with pytest.raises(ModelRefused, match="no such key"):
            refine(TEXT, opened(server))
        assert len(server.requests) == 1


def test_the_files_hold_the_text_and_every_change(opened: Opener, tmp_path: Path) -> None:
    """Names and keys as other programs expect them."""
    source = tmp_path / "talk_formatted.txt"
    with serving(changes((1, "crated", "created"), (1, "never there", "x"))) as server:
        files = write_refinement(refine(TEXT, opened(server)), source)

    assert files.refined_path.name == "talk_formatted_refined.txt"
    assert files.refined_path.read_text() == TEXT.replace("crated", "created")
    assert files.changes_path.name == "talk_formatted_refined_changes.json"
    listed = json.loads(files.changes_path.read_text())
    assert listed["refined_transcript"] == files.refined_path.read_text()
    assert [(one["original"], one["corrected"]) for one in listed["changes"]] == [
        ("crated", "created")
    ]
    assert listed["summary"]["refused"] == len(listed["refused"]) == 1
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("form", list(AnswerFormat))
def test_a_server_may_be_asked_for_the_form_it_understands(
    monkeypatch: pytest.MonkeyPatch, form: AnswerFormat
) -> None:
    """Schema, object or words only; the schema stands in the instructions in any case."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(FIXES) as server:
        model = open_model(Endpoint(Wire.OPENAI, "m", url=server.url, answer_format=form))
        assert refine(TEXT, model).refined == FIXED
        body = server.requests[0][1]
        model.close()  # type: ignore[attr-defined]  # the adapter has it, the port does not ask for it

    assert body["response_format"]["type"] == form.value
    assert "JSON Schema" in body["messages"][0]["content"]


def test_a_model_is_named_by_protocol_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colons belong to Bedrock's names."""
    assert parse_model("bedrock:anthropic.claude-3-5-sonnet-20241022-v2:0") == (
        Wire.BEDROCK,
        "anthropic.claude-3-5-sonnet-20241022-v2:0",
    )
    with pytest.raises(ModelNotFound, match="openai:MODEL or bedrock:MODEL"):
        parse_model("gpt-4o")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelRefused, match="OPENAI_API_KEY"):
        open_model(Endpoint(Wire.OPENAI, "m"))
