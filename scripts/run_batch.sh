#!/bin/sh
# Transcribes a folder, resumably: all flags are those of batch_entry.py (--input, --model, --state, --parallel …).
here=$(cd "$(dirname "$0")/.." && pwd)
python=$here/.venv/bin/python
[ -x "$python" ] || python=python3
exec "$python" "$here/batch_entry.py" "$@"
