"""Scores of texts."""

import sys

import pytest
import regex

from peftscope.errors import DataError, MissingExtra
from peftscope.tasks.text import text_metrics
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
    label = regex.compile(r"label: (\w+)")
    assert regex_match("label: yes", "label: YES", pattern=label, which="last", ignore_case=True) == 1.0
    assert regex_match("label: no label: yes", "yes", pattern=label, which="last", ignore_case=True) == 1.0
    assert regex_match("label: no label: yes", "yes", pattern=label, which="first", ignore_case=True) == 0.0
    assert regex_match("yes", "yes", pattern=label, which="last", ignore_case=True) == 0.0


def test_a_pattern_that_never_ends_is_stopped(monkeypatch):
    monkeypatch.setattr(text_metrics, "PATTERN_SECONDS", 0.2)
    endless = regex.compile(r"(a|aa)+$")
    with pytest.raises(DataError, match="repetition inside of a repetition"):
        regex_match("a" * 45 + "!", "y", pattern=endless, which="last", ignore_case=True)


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


@pytest.mark.parametrize(
    ("function", "output", "target", "score"),
    [
        (text_metrics.normalized_match, "The answer, here!", "answer here", 1.0),
        (text_metrics.normalized_match, "answers here", "answer here", 0.0),
        (text_metrics.token_f1, "a red big house", "the red house", 0.8),
        (text_metrics.token_f1, "", "house", 0.0),
        (text_metrics.token_f1, "", "", 1.0),
        (text_metrics.json_fields, '```json\n{"b": [1, 2], "a": "x "}\n```', '{"a": "x", "b": [1, 2]}', 1.0),
        (text_metrics.json_fields, '{"a": "x"}', '{"a": "x", "b": null}', 0.5),
        (text_metrics.json_fields, '{"a": "x", "b": 1, "c": 2, "d": 3}', '{"a": "x"}', 0.25),
        (text_metrics.json_fields, '{"a": "x"', '{"a": "x"}', 0.0),
        (text_metrics.json_fields, '{"a": {}}', '{"a": []}', 0.0),
        (text_metrics.json_fields, "Words", "words", 1.0),
    ],
)
def test_scores_of_words_and_fields(function, output, target, score):
    assert function(output, target) == pytest.approx(score)


@pytest.mark.parametrize("name", ["chrf", "bleu"])
def test_translations_are_scored_by_sacrebleu_from_0_to_1(name):
    pytest.importorskip("sacrebleu", reason="the extra 'translation' is not installed")
    scorer = text_metrics.sacrebleu_scorer(name)
    text = "the quick brown fox jumps over the lazy dog"
    assert scorer(text, text) == pytest.approx(1.0)
    assert scorer("nothing alike", text) < 0.2 < scorer("the quick brown cat jumps over the dog", text) < 0.9


def test_the_form_of_a_prompt_tells_where_a_next_one_begins():
    assert text_metrics.next_prompt_of("Ticket: {text}\nTeam:") == ("\nTicket:",)
    assert text_metrics.next_prompt_of("Read this.\n{text}") == ("\nRead this.",)
    assert not any(map(text_metrics.next_prompt_of, ("{text}", "", "- {text}", "x {text}")))
