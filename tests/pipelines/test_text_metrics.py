"""Error rates over any script."""

from __future__ import annotations

import pytest

from pipelines.text.metrics import error_rates, spoken_error_rates


def test_equal_texts_have_no_errors():
    """In any script."""
    assert error_rates(["नमस्ते दुनिया"], ["नमस्ते दुनिया"]).cer == 0.0


def test_errors_are_counted_over_all_pairs_together():
    """Long verses weigh more than short ones."""
    rates = error_rates(["abcd efgh", "ij"], ["abcd efgx", "ij"])
    assert rates.cer == pytest.approx(1 / 11)
    assert rates.wer == pytest.approx(1 / 3)


def test_composed_and_decomposed_letters_are_equal():
    """Normal form C on both sides."""
    assert error_rates(["caf\u00e9"], ["cafe\u0301"]).cer == 0.0


def test_case_and_punctuation_count_only_as_written():
    """Both kinds of rate are offered."""
    reference, hypothesis = ["Now, as all books"], ["now as all books"]
    assert error_rates(reference, hypothesis).cer > 0.0
    assert spoken_error_rates(reference, hypothesis).cer == 0.0


def test_too_much_text_is_more_than_wholly_wrong():
    """Invented text must not look like a plain miss."""
    assert error_rates(["a"], ["a b c d"]).cer > 1.0


def test_nothing_heard_is_wholly_wrong():
    """Silence is an error of one."""
    assert error_rates(["a b"], [""]) == error_rates(["c d"], [""])
    assert error_rates(["a b"], [""]).cer == 1.0


def test_pairs_without_a_reference_do_not_count():
    """There is nothing to compare with."""
    assert error_rates(["", "ab"], ["noise", "ab"]).cer == 0.0
    assert error_rates([""], ["noise"]).cer == 0.0
