"""Somebody is told that a batch has ended."""

from __future__ import annotations

import json

from support.http_stub import HttpStub, Reply
from support.mail_server import mail_server

from batch.reporting import notice

REPORT = {
    "complete": 3, "total": 4, "failed": 1, "flagged": 0, "audio_s": 7200.0, "elapsed_s": 60.0,
    "audio_hours_per_hour": 120.0, "failures": {"AUDIO_UNREADABLE": 1}, "warnings": {}, "slowest": [], "exit_code": 80,
}  # fmt: skip


def test_a_webhook_is_told_the_end():
    """As JSON."""
    with HttpStub(lambda _: Reply(204)) as server:
        notice.post(f"{server.url}/done", REPORT)
        assert [json.loads(request.body) for request in server.seen] == [REPORT]


def test_a_notice_that_fails_is_a_warning(caplog):
    """The batch is over either way."""
    with HttpStub(lambda _: Reply(500)) as server:
        notice.post(server.url, REPORT)
    notice.mail("a@example.org", "127.0.0.1:1", REPORT)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


def test_a_mail_is_sent_through_a_real_server():
    """With the figures in words."""
    received = []
    with mail_server(received) as port:
        notice.mail("a@example.org", f"127.0.0.1:{port}", REPORT)
    (mail,) = received
    assert "Subject: Transcription: 3 of 4 files done" in mail
    assert "AUDIO_UNREADABLE" in mail
