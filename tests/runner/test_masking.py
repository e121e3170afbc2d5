"""No secret gets through, in no form and across no cut."""

from __future__ import annotations

import base64
import json
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.masking import Masker

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


@given(SECRETS, st.lists(st.text(string.printable, max_size=30), max_size=5))
def test_nothing_around_a_secret_hides_it(secret: str, texts: list[str]) -> None:
    """Whatever stands before, between and behind."""
    masked = Masker([secret]).mask(secret.join(["begin ", *texts, " end"]).encode())

    assert secret.encode() not in masked
    assert b"[MASKED]" in masked
