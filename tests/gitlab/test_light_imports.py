"""What the supervisor loads before it talks to a server."""

from __future__ import annotations

import subprocess
import sys


def test_python_gitlab_is_loaded_by_the_first_call_only() -> None:
    """Importing the adapters must not cost what using them costs."""
    code = (
        "import sys, pathlib\n"
        "from gitlab_jobs.gitlab_catalog import GitLabCatalog\n"
        "GitLabCatalog.connect('http://127.0.0.1:9', 'token', pathlib.Path('cache'))\n"
        "heavy = {'gitlab', 'torch', 'numpy', 'transformers'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
