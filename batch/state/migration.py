"""Gives the records of a state of version 1 the names that they have now. Pure.

Version 1 knew a recording by its base name alone; now its folders are part of the name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from batch.errors import BadData
from batch.state.record import Record


def migrated(
    records: Mapping[str, Record], names: Iterable[str], *, takes_first: bool
) -> dict[str, Record]:
    """The same records by the names of this version.

    Args:
        records: of either version.
        names: of all recordings that there are.
        takes_first: whether the first will do where several recordings have the same base name.

    Raises:
        BadData: several have it, and the first will not do.
    """
    by_base: dict[str, list[str]] = {}
    for name in names:
        by_base.setdefault(name.rpartition("/")[2], []).append(name)
    renamed: dict[str, Record] = {}
    for name, record in records.items():
        candidates = by_base.get(name, [])
        if record.size is None and candidates and name not in candidates:
            if len(candidates) > 1 and not takes_first:
                raise BadData(
                    f'the old state knows "{name}", which may be {" or ".join(candidates)}',
                    "--yes takes it for the first of them",
                )
            name = candidates[0]
        renamed[name] = record
    return renamed
