"""The flags of a batch on a Ray cluster. Imports no Ray."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field


class RaySettings(BaseModel):
    """Where the cluster is, and the folder that all its nodes share."""

    ray_address: str = Field(
        "", description='run the stages on a Ray cluster: "auto", or host:port of its head'
    )
    ray_scratch: Path | None = Field(
        None,
        description="folder that all nodes see, for intermediate files; default: beside the state",
    )


def ray_problem(settings: RaySettings, isolation: str, *, is_remote: bool) -> str:
    """What does not go together with a cluster; empty if all is well."""
    if settings.ray_scratch and not settings.ray_address:
        return "--ray-scratch needs --ray-address"
    if settings.ray_address and is_remote:
        return "--ray-address and --remote are two places for the same work"
    if settings.ray_address and isolation in ("stage", "file"):
        return f"--isolation {isolation} is for one small machine, --ray-address for a cluster"
    return ""
