"""The child side in one place: what an entry may import, and `python -I -m runner.child --fd N`.

An entry is a function `entry(payload: JsonObject, channel: Channel) -> JsonObject`, named to the parent
as "package.module:function" and imported in the child only.
"""

from __future__ import annotations

import argparse
import socket
from typing import NoReturn

from runner.bootstrap import run_child
from runner.channel import Channel, RequestFailed, Stopped
from runner.frames import JsonObject

__all__ = ["Channel", "JsonObject", "RequestFailed", "Stopped", "main"]


def main() -> NoReturn:
    """Serve the parent at the other end of an inherited socket."""
    parser = argparse.ArgumentParser(prog="runner.child", description=main.__doc__)
    parser.add_argument("--fd", type=int, required=True, help="inherited socket to the parent")
    run_child(socket.socket(fileno=parser.parse_args().fd))


if __name__ == "__main__":
    main()
