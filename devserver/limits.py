"""The numbers an administrator of the embedded GitLab can set: sizes, rate limits, GraphQL ceilings.

Values only; who enforces which is named beside it. Defaults are GitLab's own, except that throttles
are off (as on a fresh self-managed instance) and the application limits are off (a test run polls).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

MIB = 1024 * 1024


class Rate(BaseModel):
    """At most `requests` in each window of `period_s` seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: PositiveInt
    period_s: PositiveFloat = 60.0


class Limits(BaseModel):
    """The `[limits]` table of a world file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_request_bytes: PositiveInt = 300 * MIB
    """Body of a commit or file write; above it 413 (`GITLAB_COMMITS_MAX_REQUEST_SIZE_BYTES`)."""

    throttle_api: Rate | None = None
    """`throttle_authenticated_api`: every `/api/` request but repository files. Plain-text 429."""
    throttle_files_api: Rate | None = None
    """`throttle_authenticated_files_api`, counted instead of `throttle_api`."""
    throttle_git_lfs: Rate | None = None
    throttle_git_http: Rate | None = None
    rate_limit_headers: bool = True
    """`RateLimit-*` on every counted response (18.6+), not only on the 429."""

    application_limits: bool = False
    """Enforce the per-endpoint limits below (JSON 429). GitLab has them on everywhere."""
    projects_list: Rate = Rate(requests=2000, period_s=600)
    project_show: Rate = Rate(requests=400)
    archive: Rate = Rate(requests=5)
    members_list: Rate = Rate(requests=200)
    large_blob: Rate = Rate(requests=5)
    large_write: Rate = Rate(requests=3, period_s=30)

    graphql_max_complexity: PositiveInt = 250
    graphql_max_depth: PositiveInt = 20
    graphql_max_query_chars: PositiveInt = 10_000
    graphql_max_page_size: PositiveInt = 100

    activity_interval_s: NonNegativeFloat = 3600.0
    """A push moves `last_activity_at` only if it is at least this old."""

    validation_window_s: NonNegativeFloat = 0.0
    """Pause after `last_commit_id` was checked, before the parent is pinned: widens the race."""
    commit_window_s: NonNegativeFloat = 0.0
    """Pause between pinning the parent and moving the branch: makes collisions certain."""

    threads: PositiveInt = Field(default=32, le=512)
    """Requests worked on at the same time."""
