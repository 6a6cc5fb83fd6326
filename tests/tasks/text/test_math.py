"""Word problems: sources, leakage, scoring."""

import json
from itertools import combinations

import datasets
import pytest

from peftscope.errors import DataError, SpecError
from peftscope.schema.study import TaskSpec
from peftscope.tasks.base import TaskContext
from peftscope.tasks.registry import create
from peftscope.tasks.splits import same_key


def problem(i):
    return {
        "question": f"Tom has {i} pies and eats 1. How many?",
        "answer": f"{i}-1=<<{i}-1={i - 1}>>{i - 1}\n#### {i - 1}",
    }


def rephrased(i):
    return {
        "query": f"After eating 1 of {i} pies, what has Tom left?",
        "response": f"Tom has {i - 1}.\nThe answer is: {i - 1}",
        "original_question": f"Tom has {i} pies and  eats 1. How many? ",
        "type": "GSM_Rephrased",
    }


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def math_task(tokenizer, **options):
    context = TaskContext(processor=tokenizer)
    spec = TaskSpec(name="math", options={"max_length": 2000, "max_generation_length": 2000, **options})
    return create(spec, context)


def queries(task, split):
    return {task.show(split, i).prompt for i in range(task.size(split))}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Folders laid out like the hub's data sets; MetaMathQA's rows are made from GSM8K's training rows."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    gsm8k, metamath = tmp_path / "gsm8k", tmp_path / "MetaMathQA"
    (gsm8k / "main").mkdir(parents=True)
    metamath.mkdir()
    datasets.Dataset.from_list([problem(i) for i in range(2, 62)]).to_parquet(
        gsm8k / "main" / "train-00000-of-00001.parquet"
    )
    datasets.Dataset.from_list([problem(i) for i in range(100, 110)]).to_parquet(
        gsm8k / "main" / "test-00000-of-00001.parquet"
    )
    (gsm8k / "README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n    path: main/train-*\n"
        "  - split: test\n    path: main/test-*\n---\n"
    )
    write(metamath / "MetaMathQA-395K.json", [rephrased(i) for i in range(2, 62) for _ in range(2)])
    return {"train_dataset": str(metamath), "eval_dataset": str(gsm8k), "valid_size": 10}


def test_training_rows_made_from_validation_problems_are_dropped(tiny_tokenizer, hub):
    task = math_task(tiny_tokenizer, **hub)
    assert [task.size(s) for s in ("train", "valid", "test")] == [100, 10, 10]
    validated = {task.show("valid", i).extra["solution"] for i in range(10)}
    trained = {task.show("train", i).extra["solution"] for i in range(100)}
    assert not validated & trained
    assert "20 of 120 training rows were made from validation problems and were dropped" in task.warnings()


def test_upstream_mode_includes_these_rows_and_warns(tiny_tokenizer, hub):
    task = math_task(tiny_tokenizer, **hub, upstream=True)
    assert task.size("train") == 120
    assert any(w.startswith("upstream: 20 of 120 training rows") for w in task.warnings())
    del hub["valid_size"]
    assert math_task(tiny_tokenizer, **hub, upstream=True).size("valid") == 50


def test_validation_is_a_seeded_part_of_gsm8k_train(tiny_tokenizer, hub):
    first, again = math_task(tiny_tokenizer, **hub), math_task(tiny_tokenizer, **hub)
    other = math_task(tiny_tokenizer, **hub, split_seed=1)
    assert first.fingerprint() == again.fingerprint()
    assert queries(first, "valid") != queries(other, "valid")
    assert queries(first, "test") == queries(other, "test")


def test_a_hub_data_set_that_cannot_be_loaded_is_named(tiny_tokenizer, hub):
    with pytest.raises(DataError, match=r"gsm8k \(socratic\), split train: cannot be loaded"):
        math_task(tiny_tokenizer, **hub, eval_config="socratic")


def test_training_only_files_are_split_without_separating_rephrased_problems(tiny_tokenizer, tmp_path):
    rows = [row for i in range(2, 42) for row in (rephrased(i), {**rephrased(i), "query": f"Again: {i} pies less 1?"})]
    columns = {"query": "query", "response": "response", "original": "original_question"}
    train = write(tmp_path / "d.jsonl", rows)
    task = math_task(tiny_tokenizer, source="files", train=train, columns=columns, valid_size=10, test_size=10)
    assert [task.size(s) for s in ("train", "valid", "test")] == [60, 10, 10]
    solved = [{task.show(s, i).extra["solution"] for i in range(task.size(s))} for s in ("train", "valid", "test")]
    assert not any(a & b for a, b in combinations(solved, 2))


def test_training_rows_that_stand_in_the_test_file_are_dropped(tiny_tokenizer, tmp_path):
    train = write(tmp_path / "a.jsonl", [problem(i) for i in range(2, 32)])
    test = write(tmp_path / "b.jsonl", [problem(i) for i in (2, 3, 99)])
    task = math_task(tiny_tokenizer, source="files", train=train, test=test, valid=test)
    assert task.size("train") == 28
    assert "2 of 30 training rows were made from validation problems and were dropped" in task.warnings()
    assert "3 validation problems stand in the test split too" in task.warnings()


def test_calculator_annotations_are_stripped_by_default(tiny_tokenizer, tmp_path):
    train = write(tmp_path / "a.jsonl", [problem(i) for i in range(2, 32)])
    stripped = math_task(tiny_tokenizer, source="files", train=train).show("train", 0)
    kept = math_task(tiny_tokenizer, source="files", train=train, strip_calculator=False).show("train", 0)
    assert "<<" not in stripped.target
    assert "<<" in kept.target
    assert stripped.prompt.startswith("Question: Tom has")
    assert stripped.prompt.endswith("Think step by step.\nAnswer:")


def test_a_test_row_without_a_solution_is_rejected(tiny_tokenizer, tmp_path):
    train = write(tmp_path / "a.jsonl", [problem(i) for i in range(2, 32)])
    test = write(tmp_path / "b.jsonl", [{"question": "Why?", "answer": "Because."}])
    with pytest.raises(DataError, match="b:0: no solution in the worked answer 'Because"):
        math_task(tiny_tokenizer, source="files", train=train, test=test)


def test_a_wrong_column_is_refused_before_training(tiny_tokenizer, tmp_path):
    train = write(tmp_path / "a.jsonl", [problem(i) for i in range(2, 32)])
    with pytest.raises(DataError, match=r"a.jsonl: unknown column 'anwser'; did you mean 'answer'"):
        math_task(tiny_tokenizer, source="files", train=train, columns={"response": "anwser"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "files"}, "source 'files' needs 'train'"),
        (
            {"source": "files", "train": "x", "dataset": "chain_sum"},
            "dataset: only used with source 'procedural'",
        ),
        ({"query_template": "Question: {question}"}, "exactly one field"),
        ({"valid_size": 0}, "valid_size"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tiny_tokenizer, options, message):
    with pytest.raises(SpecError, match=message):
        math_task(tiny_tokenizer, **options)


def procedural(tokenizer, **options):
    sizes = {"train_size": 40, "valid_size": 10, "test_size": 10}
    return math_task(tokenizer, source="procedural", **{**sizes, **options})


def test_procedural_splits_are_disjoint_by_content(tiny_tokenizer):
    small = {"min_terms": 2, "max_terms": 2, "max_digits": 1}
    task = procedural(tiny_tokenizer, dataset="chain_sum", dataset_options=small, train_size=100)
    found = [sorted(same_key(q) for q in queries(task, s)) for s in ("train", "valid", "test")]
    assert [len(f) for f in found] == [100, 10, 10]
    assert len({q for f in found for q in f}) == 120


def test_adding_training_problems_does_not_change_the_test_split(tiny_tokenizer):
    assert queries(procedural(tiny_tokenizer), "test") == queries(procedural(tiny_tokenizer, train_size=60), "test")


def test_procedural_problems_have_worked_answers_unless_disabled(tiny_tokenizer):
    worked = procedural(tiny_tokenizer).show("test", 0)
    bare = procedural(tiny_tokenizer, chain_of_thought=False).show("test", 0)
    assert worked.target.endswith(f"#### {bare.target}")
    assert worked.extra["solution"] == bare.extra["solution"] == bare.target


def test_max_chars_limits_the_length_of_problems(tiny_tokenizer):
    task = procedural(tiny_tokenizer, max_chars=400)
    shown = [task.show(s, i) for s in ("train", "test") for i in range(task.size(s))]
    extra = len("Question:  Think step by step.\nAnswer:")
    assert max(len(s.prompt) - extra + len(s.target) for s in shown) <= 400


def test_a_generator_with_too_few_distinct_problems_is_rejected(tiny_tokenizer):
    small = {"min_terms": 2, "max_terms": 2, "max_digits": 1}
    with pytest.raises(DataError, match=r"1020 problems are needed .* gave only \d+ different ones"):
        procedural(tiny_tokenizer, dataset="chain_sum", dataset_options=small, train_size=1000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "chain_sums"}, "unknown reasoning-gym data set 'chain_sums'; did you mean 'chain_sum'"),
        ({"dataset": "chain_sum", "dataset_options": {"terms": 2}}, "unexpected keyword argument 'terms'"),
        ({"dataset": "chain_sum", "dataset_options": {"min_terms": 0}}, "min_terms must be positive"),
    ],
)
def test_invalid_generator_settings_are_rejected(tiny_tokenizer, options, message):
    with pytest.raises(DataError, match=message):
        procedural(tiny_tokenizer, **options)


class Said:
    num_tokens = 5
    truncated = False

    def __init__(self, text):
        self.text = text


def scores(task, answer):
    """Scores where ``answer`` maps a shown example to what the model says."""
    said = [Said(answer(task.show("test", i))) for i in range(task.size("test"))]
    return [o.score for o in task.score(None, lambda model, prompts, **_: said, "test")]


def test_a_worked_answer_scores_1_and_a_wrong_one_0(tiny_tokenizer):
    task = procedural(tiny_tokenizer)
    assert scores(task, lambda shown: " " + shown.target) == [1.0] * 10
    assert scores(task, lambda shown: f"It is {shown.extra['solution']} dollars.") == [1.0] * 10
    assert scores(task, lambda shown: shown.target + "7") == [0.0] * 10


def test_a_setting_selects_the_first_or_last_answer(tiny_tokenizer):
    def goes_on(shown):
        return f"{shown.target}\nAnd what is 2 + 2?\nAnswer: 4444"

    options = {"dataset": "chain_sum", "chain_of_thought": False}
    assert scores(procedural(tiny_tokenizer, **options, answer="first"), goes_on) == [1.0] * 10
    assert scores(procedural(tiny_tokenizer, **options, answer="last"), goes_on) == [0.0] * 10


def test_an_answer_ends_at_a_stop_and_where_the_next_prompt_begins(tiny_tokenizer):
    options = {"dataset": "chain_sum", "chain_of_thought": False}
    task = procedural(tiny_tokenizer, **options)
    assert scores(task, lambda shown: f"{shown.target}\nQuestion: What is 2 + 2?\nAnswer: 4444") == [1.0] * 10
    assert scores(task, lambda shown: f"{shown.target} or 4444") == [0.0] * 10
    stopping = procedural(tiny_tokenizer, **options, stop=[" or "])
    assert scores(stopping, lambda shown: f"{shown.target} or 4444") == [1.0] * 10


def test_text_answers_are_scored_by_the_checker_of_the_dataset(tiny_tokenizer):
    task = procedural(tiny_tokenizer, dataset="countdown")
    assert scores(task, lambda shown: shown.target) == [1.0] * 10
    assert scores(task, lambda shown: f"The answer is: {shown.target} + 0") == [0.0] * 10
    assert scores(task, lambda shown: f"(({shown.target}))") == [1.0] * 10


def test_the_real_gsm8k_and_svamp_data_load(tiny_tokenizer, shared_data):
    for name, num_test in (("gsm8k", 1319), ("svamp", 1000)):
        files = {split: str(shared_data / "math" / f"{name}_{split}.jsonl") for split in ("train", "test")}
        task = math_task(tiny_tokenizer, source="files", **files, train_size=300, valid_size=50)
        assert [task.size(s) for s in ("train", "valid", "test")] == [300, 50, num_test]
        assert set(scores(task, lambda shown: shown.target)) == {1.0}
