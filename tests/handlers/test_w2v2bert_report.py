"""A recogniser's report, from a training whose every figure is known."""

from __future__ import annotations

import pytest
from selectolax.lexbor import LexborHTMLParser
from support.fake_callbacks import project_data
from support.speech import spoken_clips

from gitlab_jobs.callbacks import Skipped
from handlers.asr.w2v2bert.report import of_training
from pipelines.asr.corrector.proof import Proof
from pipelines.asr.w2v2bert.held_out import HeldOutVerse
from pipelines.asr.w2v2bert.train import TrainResult
from pipelines.report.page import Report, render
from pipelines.training.clips import SkippedClip

CURVE = """epoch,train_total_loss,val_total_loss,val_wer,val_cer,train_cer
1,5.0,5.5,1.0,0.9,0.9
2,1.0,1.5,0.5,0.2,0.1
"""


def _verse(number):
    """Every third one has a "b" taken for a "p", and less confidence."""
    is_wrong = number % 3 == 0
    book = "MAT" if number < 16 else "JHN"
    heard = "in the peginning" if is_wrong else "in the beginning"
    return HeldOutVerse(
        f"{book} 1:{number}", book, "in the beginning", heard, 0.6 if is_wrong else 0.99
    )


@pytest.fixture
def page(tmp_path):
    """As a reader gets it."""
    (tmp_path / "curve.csv").write_text(CURVE, "utf-8")
    verses = tuple(map(_verse, range(24)))
    result = TrainResult(
        model_directory=tmp_path,
        final_directory=None,
        metrics_csv=tmp_path / "curve.csv",
        epochs_completed=2,
        best_epoch=2,
        train_cer=0.1,
        validation_cer=0.021,
        validation_wer=0.111,
        greedy_cer=0.087,
        confidence_correlation=-0.77,
        proof=Proof(None, cer_before=0.052, cer_after=0.061),
        held_out=verses,
        words=tuple((verse.confidence, float(verse.cer == 0)) for verse in verses),
        training_clips=180,
        validation_clips=24,
        speech_s=900.0,
        padding_waste=0.01,
        skipped=(SkippedClip("MAT 9:9", "it has the recording of another verse"),),
    )
    data = project_data([], [Skipped("cell-8", "MAT 8:8", "it has no recording")])
    audio = {"MAT 1:0": spoken_clips(longest_s=3.0)[0].path}
    html = render(Report("Training", "Done.", of_training(result, data, audio)))
    return LexborHTMLParser(html)


def test_every_part_of_the_story_is_told(page):
    """Curves, both error rates by book and in all, worst verses, confusions, both calibrations, what was left out."""
    assert [node.text() for node in page.css("h2")] == [
        "Training",
        "Learning curve: loss",
        "Learning curve: character error rate",
        "Verses kept back, by book",
        "Verses kept back, the worst first",
        "What is taken for what",
        "Is the confidence right?",
        "And that of words?",
        "Recordings that were not used",
    ]
    assert len(page.css("figure > svg")) == 4


def test_its_figures_are_those_of_the_training(page):
    """In percent; the corrector's fate is told whether it is in use or not."""
    text = " ".join(page.body.text(separator=" ").split())
    for part in ("2.1", "11.1", "8.7", "-0.77", "left out: it does not help", "JHN", "MAT", "all"):
        assert part in text, part
    assert "another verse" in text
    assert "MAT 8:8" in text


def test_the_worst_verses_can_be_heard_and_compared(page):
    """With sound where there is some, and the wrong letter marked."""
    assert page.css("audio")
    assert any("p" in node.text() for node in page.css("ins"))
    assert any("b" in node.text() for node in page.css("del"))
