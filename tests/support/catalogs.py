"""A catalogue that lives in memory, for the logic on top of the ports."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from gitlab_jobs.errors import Unavailable
from gitlab_jobs.git_objects import blob_id
from gitlab_jobs.paths import JOBS_FOLDER, MANIFEST_PATH
from gitlab_jobs.store import Account, FileVersion, ProjectRef, ProjectStore, ProjectView


class MemoryCatalog:
    """Projects as dictionaries of files; counts what it is asked to read."""

    def __init__(self) -> None:
        self.projects: dict[str, dict[str, bytes]] = {}
        self.paths_read: list[str] = []
        self.fails = False

    def write(self, project: str, path: str, text: str | bytes) -> None:
        """Put a file into a project, which comes into being with its first one."""
        content = text.encode() if isinstance(text, str) else text
        self.projects.setdefault(project, {})[path] = content

    def account(self) -> Account:
        return Account("1", "worker", frozenset({"api"}), None)

    def poll(self) -> Iterable[ProjectView]:
        return [self._view(name, files) for name, files in self.projects.items()]

    def read_many(
        self, wanted: Mapping[ProjectRef, Collection[str]]
    ) -> dict[ProjectRef, dict[str, FileVersion]]:
        if self.fails:
            raise Unavailable("the network is down")
        self.paths_read += [path for paths in wanted.values() for path in paths]
        return {
            project: {
                path: FileVersion(path, files[path], blob_id(files[path]), "")
                for path in paths
                if path in files
            }
            for project, paths in wanted.items()
            for files in [self.projects[project.id]]
        }

    def open(self, project: ProjectRef) -> ProjectStore:
        raise NotImplementedError(project)

    def _view(self, name: str, files: Mapping[str, bytes]) -> ProjectView:
        manifest = files.get(MANIFEST_PATH)
        jobs = {path: text for path, text in files.items() if path.startswith(JOBS_FOLDER)}
        return ProjectView(
            ProjectRef(name, f"bible/{name}", "main"),
            manifest,
            None if manifest is None else blob_id(manifest),
            blob_id(repr(sorted(jobs.items())).encode()) if jobs else None,
        )
