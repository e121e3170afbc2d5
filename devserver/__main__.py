"""Starts the embedded GitLab: `python -m devserver --root DIR --port N --config FILE.toml | --demo`.

Prints one JSON line, {"url": ..., "pid": ...}, once it listens; ends cleanly on SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib import resources
from pathlib import Path

from devserver.config import ConfigError, WorldConfig, load_config, populate
from devserver.server import RootInUseError, bind, exclusive, serve
from devserver.world import World


def main(arguments: list[str] | None = None) -> int:
    """Run the server and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        config = _config(options)
        with exclusive(options.root):
            _run(options, config)
    except (ConfigError, RootInUseError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _run(options: argparse.Namespace, config: WorldConfig) -> None:
    world = World(options.root, config.limits)
    try:
        populate(world, config)
        with bind(world, options.port) as listener:
            ready = json.dumps({"url": world.external_url, "pid": os.getpid()})
            serve(world, listener, config.faults, lambda: print(ready, flush=True))
    finally:
        world.close()


def _config(options: argparse.Namespace) -> WorldConfig:
    if options.demo:
        with resources.as_file(resources.files("devserver") / "demo.toml") as path:
            return load_config(path)
    return load_config(options.config) if options.config else WorldConfig()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devserver", description="An embedded GitLab for demos and tests."
    )
    parser.add_argument("--root", type=Path, required=True, help="directory that keeps the state")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, metavar="FILE.toml", help="what a fresh root holds")
    source.add_argument("--demo", action="store_true", help="the world file that ships")
    return parser


if __name__ == "__main__":
    sys.exit(main())
