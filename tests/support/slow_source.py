"""A batch whose recordings come slowly over HTTP, for a model that must not wait for them."""

from __future__ import annotations

import json
import time

from support.batch_runs import Place
from support.http_stub import HttpStub, Reply


def busy_share(place: Place, files: int, *, download_s: float, model_s: float) -> float:
    """Run it; the share of the time from the first file to the last in which the model worked."""
    names = [f"{number:03}.mp3" for number in range(files)]
    place.record(*names)

    def answer(request):
        time.sleep(download_s)
        return Reply(body=(place.input / request.path.strip("/")).read_bytes())

    listed = place.home / "list.json"
    with HttpStub(answer) as server:
        entries = [{"id": name, "url": f"{server.url}/{name}"} for name in names]
        listed.write_text(json.dumps({"assets": entries}))
        ended = place.run_argv(place.argv_listed(listed), sleep_s=model_s)
    if ended.exit_code or len(place.said()) != files:
        raise RuntimeError(f"exit code {ended.exit_code}, {len(place.said())} of {files} files")
    return place.busy_share()
