"""Scores of texts."""

import re
import sys

import pytest

from peftscope.errors import MissingExtra
from peftscope.tasks.text.text_metrics import contains, cut_at, exact_match, numeric, regex_match, rouge_l_scorer


def test_exact_match_ignores_whitespace_and_optionally_case():
    assert exact_match(" New  York\n", "new york", ignore_case=True) == 1.0
    assert exact_match("New York", "new york", ignore_case=False) == 0.0
    assert exact_match("New York City", "new york", ignore_case=True) == 0.0


def test_contains_finds_the_answer_within_the_output():
    assert contains("It is NEW\nYORK, I think", "new york", ignore_case=True) == 1.0
    assert contains("It is Boston", "new york", ignore_case=True) == 0.0


def test_numeric_compares_numbers():
    assert numeric("so $2,125.00.", "2125 dollars", which="last") == 1.0
    assert numeric("so 2126", "2125", which="last") == 0.0
    assert numeric("no", "no", which="last") == 0.0


def test_regex_match_compares_the_captured_group():
    label = re.compile(r"label: (\w+)")
    assert regex_match("label: yes", "label: YES", pattern=label, which="last", ignore_case=True) == 1.0
    assert regex_match("label: no label: yes", "yes", pattern=label, which="last", ignore_case=True) == 1.0
    assert regex_match("label: no label: yes", "yes", pattern=label, which="first", ignore_case=True) == 0.0
    assert regex_match("yes", "yes", pattern=label, which="last", ignore_case=True) == 0.0


def test_rouge_l_is_the_longest_common_subsequence():
    pytest.importorskip("rouge_score", reason="the extra 'rouge' is not installed")
    score = rouge_l_scorer()
    assert score("the cat sat", "the cat sat") == 1.0
    assert score("the dog sat", "the cat sat") == pytest.approx(2 / 3)
    assert score("nothing", "the cat sat") == 0.0


def test_a_missing_rouge_package_names_the_extra_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    with pytest.raises(MissingExtra, match=r"pip install 'peftscope\[rouge\]'"):
        rouge_l_scorer()


def test_an_answer_is_cut_at_the_first_stop():
    assert cut_at("\n yes\nQuestion: b", ("Question", "\n")) == "yes"
    assert cut_at("yes", ()) == "yes"
