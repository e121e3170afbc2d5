"""From a manifest's words to a handler's file."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.fake_callbacks import RecordingCallbacks, job_context

from gitlab_jobs.errors import HandlerContractError, HandlerNotFound
from gitlab_jobs.job import JobResult, Mode
from handlers import loader

ECHO = '''"""A handler of the operator."""
from gitlab_jobs.job import JobResult

def run(job_context, callbacks):
    return JobResult(summary=f"echo {job_context.job.job_id}")
'''


def _handler(root, source, path="asr/echo/inference.py"):
    file = root / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    return root


@pytest.mark.parametrize("spelling", ["W2V2BERT", "w2v2bert", "W2V2-BERT", "W2v2 Bert"])
def test_a_model_is_found_in_any_spelling(spelling):
    """People write names as they like."""
    path = loader.find(job_context(Mode.TRAINING, spelling).job)
    assert path.parts[-3:] == ("asr", "w2v2bert", "training.py")


def test_every_shipped_handler_loads():
    """Each file has a `run`."""
    shipped = loader.available()
    names = {"/".join(path.parts[-3:]) for path in shipped}
    assert {
        "asr/w2v2bert/training.py",
        "asr/w2v2bert/inference.py",
        "asr/w2v2bert/training_and_inference.py",
        "asr/whisper/inference.py",
    } <= names
    for path in shipped:
        if path.parts[-3] == "asr":
            context = job_context(Mode(path.stem), path.parts[-2])
            assert callable(loader.load_handler(context))


def test_an_unknown_model_is_answered_with_the_known_ones():
    """Only those that can do the mode."""
    with pytest.raises(HandlerNotFound) as refusal:
        loader.find(job_context(Mode.TRAINING, "Kaldi").job)
    assert "Kaldi" in str(refusal.value)
    assert "asr/w2v2bert" in str(refusal.value)
    assert "whisper" not in str(refusal.value)


@pytest.mark.parametrize("name", ["../../etc", "..", "os", "__init__", "", "w2v2bert/../whisper"])
def test_names_never_leave_the_folder(name):
    """A manifest's name is looked up, never imported."""
    with pytest.raises(HandlerNotFound):
        loader.find(job_context(Mode.TRAINING, name).job)


def test_helpers_beside_a_handler_are_no_handlers():
    """Only files named after a mode count."""
    assert "checkpoint" not in {path.stem for path in loader.available()}


def test_an_operators_folder_is_searched_first(tmp_path):
    """New models and replacements need no change here."""
    root = _handler(tmp_path / "own", ECHO)
    _handler(root, ECHO, "asr/whisper/inference.py")
    for model in ("Echo", "Whisper"):
        context = job_context(Mode.INFERENCE, model)
        result = loader.load_handler(context, [root])(context, RecordingCallbacks(tmp_path, {}))
        assert result == JobResult(summary="echo mmkbkzk0_abc")


def test_a_failed_import_is_not_a_missing_handler(tmp_path):
    """The author needs to know which import failed."""
    root = _handler(tmp_path, "import a_library_that_nobody_has\n")
    with pytest.raises(HandlerContractError, match="a_library_that_nobody_has"):
        loader.load_handler(job_context(Mode.INFERENCE, "Echo"), [root])


def test_a_file_without_run_is_no_handler(tmp_path):
    """The contract is one function."""
    root = _handler(tmp_path, "x = 1\n")
    with pytest.raises(HandlerContractError, match="no function run"):
        loader.load_handler(job_context(Mode.INFERENCE, "Echo"), [root])


def test_looking_for_a_handler_loads_no_model_library():
    """The supervisor may ask what exists."""
    probe = (
        "import sys; from handlers import loader; loader.available(); "
        "print([m for m in ('torch', 'numpy', 'transformers', 'av') if m in sys.modules])"
    )
    reply = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True
    )
    assert reply.stdout.strip() == "[]"
