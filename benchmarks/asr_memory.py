"""Peak memory of one forward pass, measured in a process that does nothing else; Linux only.

python -m benchmarks.asr_memory WIDTH LAYERS SECONDS ours|theirs
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import torch

from benchmarks.asr_networks import forward, network
from pipelines.asr.w2v2bert.config import FRAME_S


def peak_mb(width: int, layers: int, seconds: int, *, faster: bool) -> float:
    """Megabytes beyond what was there before, in bfloat16."""
    way = "ours" if faster else "theirs"
    command = [
        sys.executable,
        "-m",
        "benchmarks.asr_memory",
        *map(str, (width, layers, seconds)),
        way,
    ]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    """Run in the process of its own."""
    width, layers, seconds, way = sys.argv[1:]
    torch.set_num_threads(1)
    model = network(int(width), int(layers), faster=way == "ours").to(torch.bfloat16)
    forward(model, [10])
    # Building the model took more than a pass does: Linux forgets that peak when told so.
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    before = psutil.Process().memory_info().rss
    forward(model, [round(int(seconds) / FRAME_S)])
    status = Path("/proc/self/status").read_text("ascii")
    peak_kb = int(status.partition("VmHWM:")[2].split()[0])
    print((peak_kb * 1024 - before) / 2**20)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
