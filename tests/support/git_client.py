"""A real git command line, cut off from whatever the machine's owner has configured.

git = Git(tmp_path)
git("clone", url, "work")
git("push", cwd="work", check=False).stderr
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


class Git:
    """Runs git in a directory; a failure is an error unless `check` is false."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": "Ann Author",
            "GIT_AUTHOR_EMAIL": "ann@example.com",
            "GIT_COMMITTER_NAME": "Ann Author",
            "GIT_COMMITTER_EMAIL": "ann@example.com",
        }

    def __call__(
        self, *arguments: str, cwd: str = ".", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run one command in a folder below the directory."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.directory / cwd,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not check or done.returncode == 0, f"git {arguments}: {done.stdout}{done.stderr}"
        return done

    def clone(self, url: str, folder: str = "work", *options: str) -> Path:
        """Clone into a folder and return it."""
        self("clone", "--quiet", *options, url, folder)
        return self.directory / folder

    def commit(self, folder: str, files: dict[str, str | bytes], message: str = "Change") -> str:
        """Write files, commit them and return the commit id."""
        for name, content in files.items():
            path = self.directory / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        self("add", "--all", cwd=folder)
        self("commit", "--quiet", "--message", message, cwd=folder)
        return self("rev-parse", "HEAD", cwd=folder).stdout.strip()
