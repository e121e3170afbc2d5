"""Removes secrets from everything that leaves the process: logs, reports, messages.

    known secrets, in raw, URL, JSON and base64 forms ┐
    well-known token prefixes (glpat-, hf_, …)        │
    user:password@ in URLs                            ├─► [MASKED]
    sensitive query parameters, headers, settings     ┘

Works on whole texts: `runner.log_pipe` and the log's formatters hand over line by line. Knows neither log files nor
children.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

logger = logging.getLogger(__name__)

MASK = b"[MASKED]"
MIN_SECRET_CHARS = 8
"""Shorter ones would mask ordinary words."""

_PREFIXES = (
    "glpat-", "gldt-", "glrt-", "glrtr-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-",
    "glsoat-", "glffct-", "glwt-", "hf_", "ghp_", "gho_", "ghs_", "ghr_", "github_pat_", "sk-", "AKIA",
    "ASIA",
)  # fmt: skip
_NAMES = (
    "private[_-]token", "job[_-]token", "deploy[_-]token", "access[_-]token", "refresh[_-]token",
    "api[_-]?key", "token", "password", "secret", "x-amz-signature", "x-amz-credential",
    "x-amz-security-token", "signature",
)  # fmt: skip
_HEADERS = (
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "private-token",
    "job-token",
)

_TOKEN = re.compile(
    rb"(?<![A-Za-z0-9_])(?:%s)[A-Za-z0-9_.=-]{8,}"
    % b"|".join(re.escape(prefix).encode() for prefix in _PREFIXES)
)
_USER_INFO = re.compile(rb"(?<=://)[^\s/@:\"'<>]*:[^\s/@\"'<>]+(?=@)")
_PARAMETER = re.compile(
    rb"(?i)((?:[?&;]|%%26|\b)(?:%s)(?:=|%%3D))([^\s&;\"'<>]+)" % "|".join(_NAMES).encode()
)
_HEADER = re.compile(
    rb"(?i)(\b(?:%s)[\"']?\s*[:=]\s*[\"']?)([^\r\n\"']+)" % "|".join(_HEADERS).encode()
)
_ALWAYS = (
    (_USER_INFO, MASK),
    (_HEADER, rb"\1" + MASK),
    (_PARAMETER, rb"\1" + MASK),
    (_TOKEN, MASK),
)


class Masker:
    """Masks known secrets and whatever looks like one. Immutable, safe from any thread."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms: set[bytes] = set()
        for secret in secrets:
            if len(secret) < MIN_SECRET_CHARS:
                logger.warning("a secret of %d characters is too short to be masked", len(secret))
                continue
            forms |= _forms(secret)
        # The longest first, so that no form leaves a piece of a longer one behind.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._known = re.compile(b"|".join(map(re.escape, ordered))) if ordered else None

    def mask(self, data: bytes) -> bytes:
        """Return the data with every secret replaced."""
        if self._known is not None:
            data = self._known.sub(MASK, data)
        for pattern, replacement in _ALWAYS:
            data = pattern.sub(replacement, data)
        return data

    def mask_text(self, text: str) -> str:
        """Return the text with every secret replaced."""
        return self.mask(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _forms(secret: str) -> set[bytes]:
    raw = secret.encode("utf-8", "surrogateescape")
    texts = {secret, quote(raw, safe=""), quote(raw), quote_plus(raw), json.dumps(secret)[1:-1]}
    texts.add(json.dumps(secret, ensure_ascii=False)[1:-1])
    forms = {text.encode("utf-8", "surrogateescape") for text in texts}
    # Percent signs may come in either case: %2F or %2f.
    forms |= {re.sub(rb"%[0-9A-F]{2}", lambda hit: hit[0].lower(), form) for form in forms}
    forms |= _base64_forms(raw)
    return {form for form in forms if len(form) >= MIN_SECRET_CHARS}


def _base64_forms(raw: bytes) -> set[bytes]:
    """The secret alone and inside a longer text: base64 shifts with the number of bytes before it."""
    forms = {base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw).rstrip(b"=")}
    for shift in (1, 2):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Only the characters that depend on the secret's own bytes.
            forms.add(encode(b"\0" * shift + raw)[shift + 1 : -4])
    forms.add(base64.b64encode(raw)[: len(raw) // 3 * 4])
    return forms
