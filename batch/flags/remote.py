"""The flags of work that another machine does. Starts nothing."""

from __future__ import annotations

from pydantic import BaseModel, Field


class RemoteSettings(BaseModel):
    """Where the work is done."""

    remote: bool = Field(default=False, description="have a controller's GPU worker transcribe")
    controller: str = Field(
        "http://localhost:8476", description="the controller that --remote speaks to"
    )


LOCAL_ONLY = ("align", "summary", "speakers")
"""What adds to a transcript on this machine's own devices, or is the worker's own setting."""


def remote_problem(settings: RemoteSettings) -> str:
    """What of these flags cannot be meant; empty if all can."""
    if not settings.remote:
        return ""
    if not settings.controller.startswith(("http://", "https://")):
        return f"--controller: expected http://… or https://…, got {settings.controller!r}"
    local = [f"--{name}" for name in LOCAL_ONLY if getattr(settings, name, None)]
    return f"{', '.join(local)}: not with --remote" if local else ""
