"""How much memory a job is likely to take, and what can be done if that is too much. Pure.

The table knows the families of `settings`; any other handler's jobs are measured like theirs, but nothing
is estimated before, and all that is tried with less memory is once more.
"""

from __future__ import annotations

from dataclasses import dataclass

from gitlab_jobs.job import Job
from gitlab_jobs.model_source import TINY
from gitlab_jobs.settings import FamilySettings, ModelSettings
from runner.oom_plan import MemoryPlan, OomRules
from runner.preflight import estimate_peak_bytes

WHOLE = 16
"""A batch is this many shares: the plans of the ladder count in them, whatever a family's batch is."""
START = MemoryPlan(batch=WHOLE, precision="")

_PARAMETERS = {
    "facebook/w2v-bert-2.0": 600_000_000,
    "large-v3": 1_550_000_000,
    "large-v2": 1_550_000_000,
    "turbo": 809_000_000,
    "large-v3-turbo": 809_000_000,
    "medium": 769_000_000,
    "small": 244_000_000,
    "KdaiP/StableTTS1.1": 45_000_000,
}
"""Of published models, by the names that an operator gives them."""
_NARROW = frozenset({"whisper"})
"""Families whose weights have two bytes on a GPU."""
_LENGTH_CAPS_S = {"w2v2bert": (15.0, 8.0), "stabletts": (12.0, 6.0)}
"""Of the clips that a family learns from; as a rule they may have 30 or 25 s."""
_IN_PIECES = frozenset(_LENGTH_CAPS_S)
"""Families whose pieces can be shorter; Whisper's window has 30 s whatever is in it."""


@dataclass(frozen=True, slots=True)
class Appetite:
    """One kind of job's; `estimate_bytes` of GPU memory, 0 where nobody can tell."""

    key: str
    """Family, mode and model: what has been learned goes by it, and by the device."""
    estimate_bytes: int
    rules: OomRules


def appetite_of(job: Job, families: FamilySettings, *, allows_cpu: bool) -> Appetite:
    """What to expect of a job; `allows_cpu` is the ladder's last rung."""
    family = job.model.type.lower()
    settings = families.of(family)
    key = f"{job.job_type} {family} {job.mode}"
    if settings is None:
        return Appetite(key, 0, OomRules())
    rules = OomRules(
        can_split=job.mode.infers and family in _IN_PIECES,
        can_halve=True,
        can_checkpoint=job.mode.trains and not _checkpoints_anyway(family, settings),
        safe_precisions=_lower_precisions(family, settings),
        length_caps_s=_LENGTH_CAPS_S.get(family, ()) if job.mode.trains else (),
        allows_cpu=allows_cpu,
    )
    return Appetite(f"{key} {settings.base} {settings.precision}", _estimate(job, settings), rules)


def _checkpoints_anyway(family: str, settings: ModelSettings) -> bool:
    """The large encoder's recipe; the small one's does not."""
    return family == "w2v2bert" and settings.base != TINY


def _lower_precisions(family: str, settings: ModelSettings) -> tuple[str, ...]:
    """What needs half the memory and is known to do no harm, unless it is in use already."""
    if family == "whisper":
        return () if settings.precision == "int8" else ("int8",)
    # Our own networks use bfloat16 on a GPU that has it, if nobody has said otherwise.
    return ("auto",) if settings.precision == "float32" else ()


def _estimate(job: Job, settings: ModelSettings) -> int:
    if settings.base == TINY or settings.device == "cpu":
        return 0
    width = 2 if job.model.type.lower() in _NARROW else 4
    parameters = _PARAMETERS.get(settings.base, 0)
    return estimate_peak_bytes(parameters, parameter_bytes=width, is_training=job.mode.trains)
