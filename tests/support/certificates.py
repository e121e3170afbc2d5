"""A certificate that nobody vouches for, made by the openssl program."""

from __future__ import annotations

import subprocess
from pathlib import Path


def self_signed(directory: Path) -> Path:
    """One file with a new key and its certificate."""
    key, certificate, both = (directory / name for name in ("key.pem", "cert.pem", "both.pem"))
    kind = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *kind, *files], check=True, capture_output=True)
    both.write_text(key.read_text() + certificate.read_text())
    return both
