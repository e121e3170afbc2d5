"""Tells somebody that a batch has ended: a POST to a webhook, a mail, or both. A notice that fails is a warning."""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from typing import Any

import requests

from batch.reporting.display import report_lines

logger = logging.getLogger(__name__)

TIMEOUT_S = 30.0
SENDER = "scriptorium@localhost"


def post(url: str, report: Mapping[str, Any]) -> None:
    """Send the end report as JSON."""
    _attempt(
        f"webhook {url}",
        lambda: requests.post(url, json=report, timeout=TIMEOUT_S).raise_for_status(),
    )


def mail(address: str, server: str, report: Mapping[str, Any]) -> None:
    """Send the end report as a mail.

    Args:
        address: of the reader.
        server: "host:port".
        report: `Tally.report`, with `exit_code`.
    """
    message = EmailMessage()
    message["To"], message["From"] = address, SENDER
    message["Subject"] = f"Transcription: {report['complete']} of {report['total']} files done"
    message.set_content("\n".join(report_lines(report)))
    host, _, port = server.partition(":")

    def send() -> None:
        with smtplib.SMTP(host, int(port or 25), timeout=TIMEOUT_S) as connection:
            connection.send_message(message)

    _attempt(f"mail to {address}", send)


def _attempt(what: str, send: Callable[[], None]) -> None:
    try:
        send()
    except (OSError, ValueError, smtplib.SMTPException, requests.RequestException) as error:
        logger.warning("%s was not sent: %s", what, error)
