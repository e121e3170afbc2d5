"""No secret gets through, in no form and across no cut."""

from __future__ import annotations

import base64
import json
import logging
import string
import sys
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.masking import CUT_MARGIN_BYTES, Masker, MaskingFilter, MaskingStream

SECRET = 'pa55+wörd/"q\\z='
SECRETS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=8)


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_known_secret_is_found_in_every_form(form: str) -> None:
    """As programs write it down."""
    masked = Masker([SECRET]).mask_text(f"value {form} end")

    assert "[MASKED]" in masked
    assert masked.startswith("value ")
    assert masked.endswith(" end")
    assert form.strip('"=') not in masked


@pytest.mark.parametrize("user", ["oauth2", "a", "ab", "abc", "x-token"])
def test_a_secret_inside_basic_authentication_is_found(user: str) -> None:
    """Base64 shifts with the length of the user's name."""
    secret = "correct-horse-battery"
    encoded = base64.b64encode(f"{user}:{secret}".encode()).decode()

    masked = Masker([secret]).mask_text(f"sent {encoded}")

    assert "[MASKED]" in masked
    left = masked.removeprefix("sent ").replace("[MASKED]", "")
    assert len(left) <= len(encoded) - len(secret)


@pytest.mark.parametrize(
    "text",
    [
        "glpat-AbCdEfGhIjKlMnOpQrSt",
        "token is glrt-t1_xxxxxxxxxxxxxxxx.",
        "hf_AbCdEfGhIjKlMnOp",
        "ghp_0123456789abcdef0123",
        "AKIAIOSFODNN7SECRETS",
        "sk-proj-secretsecretsecret",
        "https://user:secretsecret@gitlab.example.org/x.git",
        "https://oauth2:glpat-secretsecretsecret@gitlab.example.org",
        "GET /api?private_token=secretsecret&page=2",
        "PUT https://s3/x?X-Amz-Signature=secretsecret&X-Amz-Date=1",
        "PUT https://s3/x?X-Amz-Credential=secret%2Fsecret",
        "PRIVATE-TOKEN: secretsecret",
        "Authorization: Bearer secretsecret",
        "Authorization: Basic c2VjcmV0OnNlY3JldA==",
        "{'Authorization': 'Bearer secretsecret'}",
        '{"Cookie": "session=secretsecret"}',
        "password=secretsecret",
    ],
)
def test_what_looks_like_a_secret_is_masked_unasked(text: str) -> None:
    """Nobody registered these."""
    masked = Masker().mask_text(text)

    assert "[MASKED]" in masked
    assert "secretsecret" not in masked
    assert "AbCdEf" not in masked
    assert "c2VjcmV0" not in masked


@pytest.mark.parametrize(
    "text",
    [
        "epoch 3 of 10, loss 0.25, 120 tokens per second",
        "https://gitlab.example.org/team/project/-/blob/main/a.codex?ref=main&page=2",
        "MAT 1:1 In the beginning @ the river: sk, hf, glpat",
        "task-oriented risk-free disk-based",
        "mail a@b.org at 12:30",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    """A mask that eats the log helps nobody."""
    assert Masker(["unrelated-secret"]).mask_text(text) == text


def test_short_secrets_are_not_masked_but_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    """And the warning does not show them."""
    masker = Masker(["abc"])

    assert masker.mask_text("abc") == "abc"
    assert "too short" in caplog.text
    assert "abc" not in caplog.text


@given(SECRETS, st.lists(st.text(string.printable, max_size=30), max_size=5), st.data())
def test_no_cut_lets_a_secret_through(secret: str, texts: list[str], data: st.DataObject) -> None:
    """Whatever the chunks, the output is that of the whole text."""
    masker = Masker([secret])
    whole = secret.join(["begin ", *texts, " end"]).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    stream = MaskingStream(masker)

    out = b"".join(
        stream.feed(whole[begin:end])
        for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)
    )
    out += stream.close()

    assert secret.encode() not in out
    assert b"[MASKED]" in out


def test_an_endless_line_is_let_go_of_without_its_secrets_or_half_a_character() -> None:
    """A stream without line ends must not grow without bound."""
    stream = MaskingStream(Masker(["hunter2hunter2"]))
    held, out = 0, []
    for number in range(60):
        out.append(stream.feed("ä".encode() * 499 + b"hunter2" * (1 + number % 2) + b"x"))
        held = max(held, len(stream._held))
    text = b"".join(out)

    assert text.decode("utf-8")
    assert all(part.decode("utf-8") is not None for part in out)
    assert b"hunter2hunter2" not in text + stream.close()
    assert held < 3 * CUT_MARGIN_BYTES


def test_a_failing_mask_drops_the_chunk_and_counts_it() -> None:
    """Fail closed."""

    class Broken(Masker):
        def mask(self, data: bytes) -> bytes:
            raise RuntimeError("broken")

    stream = MaskingStream(Broken())
    assert stream.feed(b"secret\n") == b""
    assert stream.close() == b""
    assert stream.dropped_bytes == 7


def _handled(masker: Masker, message: str, *arguments: object, error: bool = False) -> str | None:
    exc_info = None
    if error:
        try:
            raise ValueError("went to https://u:secretsecret@host")
        except ValueError:
            exc_info = sys.exc_info()
    record = logging.LogRecord("x", logging.INFO, __file__, 1, message, arguments, exc_info)
    if not MaskingFilter(masker).filter(record):
        return None
    return logging.Formatter().format(record)


def test_log_records_are_masked_in_message_arguments_and_traceback() -> None:
    """Whichever handler writes them."""
    masker = Masker(["secretsecret"])

    assert _handled(masker, "got %s", {"token": "secretsecret"}) == "got {'token': '[MASKED]'}"
    text = _handled(masker, "failed", error=True)
    assert text is not None
    assert "ValueError" in text
    assert "secretsecret" not in text


def test_a_record_that_cannot_be_formatted_is_dropped() -> None:
    """Its arguments may hold anything."""
    assert _handled(Masker(), "%d", "secretsecret") is None
