"""Stories: word problems with worked answers that peftscope makes itself."""

import random
import re
import sys
from itertools import islice
from pathlib import Path

import pytest

from peftscope.errors import DataError, SpecError
from peftscope.schema.study import TaskSpec
from peftscope.tasks.base import TaskContext
from peftscope.tasks.registry import create
from peftscope.tasks.splits import same_key
from peftscope.tasks.text.stories import LARGEST, TEMPLATES, draw_stories

SCRIPTS = Path(__file__).parents[3] / "scripts"

COMES = ("finds", "gives {name}", "buys", "gets", "adds")
GOES = ("gives", "loses", "takes", "sells", "throws")


def told(num, seed=0):
    return list(islice(draw_stories(seed), num))


def stories(tokenizer, **options):
    sizes = {"train_size": 60, "valid_size": 20, "test_size": 40}
    spec = TaskSpec(name="math", options={"source": "stories", "max_length": 500, **sizes, **options})
    return create(spec, TaskContext(processor=tokenizer))


def questions(task, split):
    return [task.show(split, i).prompt for i in range(task.size(split))]


def solve(question):
    """The solution as a reader finds it, from verbs and numbers alone."""
    *sentences, _ = re.findall(r"[^.?]+[.?]", question)
    first, *events = sentences
    numbers = [int(n) for n in re.findall(r"\d+", first)]
    total = numbers[0] * numbers[1] if len(numbers) == 2 else numbers[0]
    owner = next(word for word in re.findall(r"[A-Z][a-z]+", first.replace("There", "")))
    for event in events:
        number = int(re.search(r"\d+", event)[0])
        if "together" in question or "in all" in question:
            return 2 * total + (number if "more" in event else -number)
        comes = any(verb.format(name=owner) in event for verb in COMES)
        goes = not comes and any(verb in event for verb in GOES)
        assert comes or goes, event
        total += number if comes else -number
    return total


def test_equal_seeds_give_equal_problems_and_different_seeds_different_ones():
    assert told(50) == told(50)
    assert not {story.question for story in told(50)} & {story.question for story in told(50, seed=1)}


def test_solutions_agree_with_an_independent_solver():
    for story in told(3000):
        assert solve(story.question) == story.solution, story.question


def test_worked_answers_are_right_step_by_step():
    for story in told(3000):
        steps, stated = story.answer.split("\n#### ")
        sums = re.findall(r"(\d+) ([-+*]) (\d+) = (\d+)\.", steps)
        assert len(sums) == steps.count(".")
        results = [
            {"+": a + b, "-": a - b, "*": a * b}[sign] for a, sign, b in ((int(x), s, int(y)) for x, s, y, _ in sums)
        ]
        assert results == [int(c) for *_, c in sums]
        assert results[-1] == int(stated) == story.solution


def test_numbers_stay_small_and_steps_are_one_to_three():
    drawn = told(3000)
    numbers = {int(n) for story in drawn for n in re.findall(r"\d+", story.question + story.answer)}
    assert min(numbers) == 1
    assert max(numbers) == LARGEST
    assert {story.answer.count("=") for story in drawn} == {1, 2, 3}


def test_no_solution_is_frequent_enough_to_reward_guessing():
    drawn = told(5000)
    solutions = [story.solution for story in drawn]
    assert max(solutions.count(n) for n in set(solutions)) < 0.08 * len(drawn)


def test_nearly_all_of_20000_problems_are_distinct():
    drawn = told(20_000)
    assert len({same_key(story.question) for story in drawn}) > 19_900


def test_splits_share_no_question(tiny_tokenizer):
    task = stories(tiny_tokenizer)
    seen = [same_key(q) for split in ("train", "valid", "test") for q in questions(task, split)]
    assert len(seen) == len(set(seen)) == 120


def test_adding_training_rows_does_not_change_the_test_split(tiny_tokenizer):
    assert questions(stories(tiny_tokenizer), "test") == questions(stories(tiny_tokenizer, train_size=90), "test")
    other = stories(tiny_tokenizer, split_seed=1)
    assert not set(questions(stories(tiny_tokenizer), "test")) & set(questions(other, "test"))


def test_sizes_default_to_those_of_procedural_problems(tiny_tokenizer):
    task = create(TaskSpec(name="math", options={"source": "stories"}), TaskContext(processor=tiny_tokenizer))
    assert [task.size(split) for split in ("train", "valid", "test")] == [2000, 100, 200]


def test_the_worked_answer_is_graded_as_right_and_another_as_wrong(tiny_tokenizer):
    task = stories(tiny_tokenizer)
    example = task._examples["test"][0]
    assert task.grade(example, example.target) == 1.0
    assert task.grade(example, f"\n#### {int(example.solution) + 1}") == 0.0


def test_cached_stories_give_the_same_task(tiny_tokenizer, tmp_path):
    task = stories(tiny_tokenizer)
    task.save_cache(tmp_path)
    again = type(task).from_cache(task.options, TaskContext(processor=tiny_tokenizer), tmp_path)
    assert again.fingerprint() == task.fingerprint()


def test_options_of_other_sources_are_refused(tiny_tokenizer):
    with pytest.raises(SpecError, match="dataset: only used with source 'procedural'; source is 'stories'"):
        stories(tiny_tokenizer, dataset="chain_sum")


def test_a_length_limit_below_every_story_is_a_data_error(tiny_tokenizer):
    with pytest.raises(DataError, match=r"stories: 120 problems are needed .* widen max_chars"):
        stories(tiny_tokenizer, max_chars=20)


def test_no_task_sentence_appears_in_the_nano_lm_training_data(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    sys.modules.pop("nano_lm_corpus", None)
    from nano_lm_corpus import draw_documents

    patterns = [re.sub(r"\\\{\w+\\\}", r"[A-Za-z0-9]+", re.escape(template)) for template in TEMPLATES]
    sentence = re.compile("|".join(patterns))
    asked = " ".join(story.question for story in told(200))
    assert len(sentence.findall(asked)) > 500, "the pattern finds the task's own sentences"
    rng = random.Random(0)
    for kind in ("story", "sums", "copying"):
        for document in islice(draw_documents(kind, rng), 4000):
            assert not sentence.search(document), document
            assert "Question:" not in document
            assert "Answer:" not in document
