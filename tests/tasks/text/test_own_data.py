"""The user's own rows: columns, splits, metrics, and bad input refused before training."""

import json
from itertools import combinations

import datasets
import pytest

from peftscope.errors import DataError, SpecError
from peftscope.models.kinds.causal_lm.generation import Generated
from peftscope.schema.study import TaskSpec
from peftscope.tasks.base import TaskContext
from peftscope.tasks.registry import create

ROWS = [{"city": f"City {i}", "topic": "geography", "country": f"Land {i % 7}"} for i in range(40)]
BASICS = {"prompt": "Where is {city} ({topic})?", "target": "country"}


def own_data(tokenizer, *, max_length=200, **options):
    spec = TaskSpec(name="own-data", options={**BASICS, "max_length": max_length, **options})
    return create(spec, TaskContext(processor=tokenizer))


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def train(tmp_path):
    return write(tmp_path / "train.jsonl", ROWS)


def prompts(task, split):
    return [task.show(split, i).prompt for i in range(task.size(split))]


def test_one_file_is_split_by_seed(tiny_tokenizer, train):
    task = own_data(tiny_tokenizer, train=train, valid_size=0.25, test_size=6)
    assert [task.size(s) for s in ("train", "valid", "test")] == [24, 10, 6]
    assert len({p for s in ("train", "valid", "test") for p in prompts(task, s)}) == 40
    again = own_data(tiny_tokenizer, train=train, valid_size=0.25, test_size=6)
    other = own_data(tiny_tokenizer, train=train, valid_size=0.25, test_size=6, split_seed=1)
    assert task.fingerprint() == again.fingerprint()
    assert prompts(task, "test") != prompts(other, "test")


def test_equal_prompts_never_straddle_splits(tiny_tokenizer, tmp_path):
    rows = [{"city": f"{' ' * (i % 2)}CITY {i % 9}", "topic": "x", "country": str(i)} for i in range(60)]
    task = own_data(tiny_tokenizer, train=write(tmp_path / "d.jsonl", rows), valid_size=10, test_size=10)
    found = [{p.replace(" ", "") for p in prompts(task, s)} for s in ("train", "valid", "test")]
    assert not any(a & b for a, b in combinations(found, 2))
    assert "valid has" in " ".join(task.warnings()), "ten rows cannot be had from groups of six or seven"


def test_prompts_shared_between_split_files_are_reported(tiny_tokenizer, tmp_path, train):
    valid, test = write(tmp_path / "valid.jsonl", ROWS[:3]), write(tmp_path / "test.jsonl", ROWS[2:6])
    with pytest.raises(DataError, match=r"2 of 2 test rows stand in training with the same prompt .*overlap: allow"):
        own_data(tiny_tokenizer, train=train, valid=valid, test=test, test_size=2)
    task = own_data(tiny_tokenizer, train=train, valid=valid, test=test, test_size=2, overlap="allow")
    assert [task.size(s) for s in ("train", "valid", "test")] == [40, 3, 2]
    assert "3 prompts of valid stand in train too: its score is too high" in task.warnings()


def test_a_hub_dataset_is_loaded_by_split_names(tiny_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "cities"
    folder.mkdir()
    datasets.Dataset.from_list(ROWS).to_parquet(folder / "train-00000-of-00001.parquet")
    datasets.Dataset.from_list(ROWS[:5]).to_parquet(folder / "test-00000-of-00001.parquet")
    task = own_data(tiny_tokenizer, dataset=str(folder), test="test", valid_size=4, overlap="allow")
    assert [task.size(s) for s in ("train", "valid", "test")] == [36, 4, 5]
    with pytest.raises(DataError, match="cities, split validation: cannot be loaded"):
        own_data(tiny_tokenizer, dataset=str(folder), valid="validation")


class Said:
    num_tokens = 5
    truncated = False

    def __init__(self, text):
        self.text = text


def score(task, text):
    """Mean score where ``{target}`` in the text is each example's target."""
    said = [Said(text.format(target=task.show("test", i).target)) for i in range(task.size("test"))]
    found = [o.score for o in task.score(None, lambda model, prompts, **_: said, "test")]
    return sum(found) / len(found)


@pytest.mark.parametrize(
    ("options", "right", "wrong"),
    [
        ({"metric": "exact_match"}, " {target}\n", "It is {target}"),
        ({"metric": "exact_match", "stop": ["\n"]}, "\n{target}\nWhere is", "x {target}"),
        ({"metric": "contains"}, "It is {target}, surely", "Land"),
        ({"metric": "numeric"}, "It is {target}.", "{target}9"),
        ({"metric": "regex", "pattern": r"Land \d"}, "from Land 9 to {target}", "Land"),
        ({"metric": "rouge_l"}, "{target}", "nowhere"),
    ],
)
def test_every_metric_scores_right_answers_1_and_wrong_answers_0(tiny_tokenizer, train, options, right, wrong):
    if options["metric"] == "rouge_l":
        pytest.importorskip("rouge_score", reason="the extra 'rouge' is not installed")
    task = own_data(tiny_tokenizer, train=train, **options)
    assert (score(task, right), score(task, wrong)) == (1.0, 0.0)
    assert (task.metric.name, task.metric.direction) == (options["metric"], "higher")


def test_held_out_loss_can_be_the_metric_with_lower_being_better(tiny_tokenizer, tiny_llama, train):
    task = own_data(tiny_tokenizer, train=train, metric="loss")
    outcomes = task.score(tiny_llama(), None, "test")
    assert (task.metric.unit, task.metric.direction) == ("nats/token", "lower")
    assert len(outcomes) == task.size("test")
    assert all(4 < o.score < 8 for o in outcomes), "near log(259) = 5.6 for random weights"


def test_plain_text_can_be_learned_without_a_prompt(tiny_tokenizer, tmp_path):
    path = write(tmp_path / "d.jsonl", [{"text": f"Line {i} of a book."} for i in range(30)])
    task = own_data(tiny_tokenizer, train=path, prompt="", target="text", metric="loss")
    labels = next(task.batches(0))["labels"]
    assert (labels[:, 0] == -100).all()
    assert (labels[:, 1:8] != -100).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"target": "contry"},
            r"train.jsonl: unknown column 'contry'; did you mean 'country'\? Allowed: city, country",
        ),
        ({"prompt": "{town}"}, r"train.jsonl: unknown column 'town'"),
        ({"train": "missing.jsonl"}, "missing.jsonl: no such file"),
        ({"valid_size": 39, "test_size": 1}, "the train split would be empty"),
        ({"max_length": 30}, "train prompts leave no room for an answer within 30 tokens"),
        ({"metric": "numeric", "target": "topic", "prompt": "{city}?"}, "row 1: the answer has no number"),
    ],
)
def test_bad_data_is_refused_before_training(tiny_tokenizer, train, options, message):
    with pytest.raises(DataError, match=message):
        own_data(tiny_tokenizer, **{"train": train, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs 'train', the path of a file, or 'dataset'"),
        ({"train": "x", "prompt": "city"}, "put column names in braces"),
        ({"train": "x", "prompt": "{}"}, "name of a column"),
        ({"train": "x", "target": None}, "prompt without target"),
        ({"train": "x", "prompt": "{country}: {city}"}, "prompt holds the target column"),
        ({"train": "x", "turns": "messages"}, "leave prompt and target out"),
        ({"train": "x", "metric": "regex"}, "metric 'regex' needs 'pattern'"),
        ({"train": "x", "metric": "regex", "pattern": "("}, "not a regular expression"),
        ({"train": "x", "metric": "exact-match"}, "did you mean 'exact_match'"),
        ({"train": "x", "valid_size": 1.5}, "valid_size"),
        ({"train": "x", "revision": "main"}, "only used with 'dataset'"),
    ],
)
def test_bad_options_are_refused(tiny_tokenizer, options, message):
    with pytest.raises(SpecError, match=message):
        own_data(tiny_tokenizer, **options)


def test_the_fingerprint_depends_on_content_and_not_on_paths(tiny_tokenizer, tmp_path, train):
    (tmp_path / "elsewhere").mkdir()
    moved = write(tmp_path / "elsewhere" / "other.jsonl", ROWS)
    changed = write(tmp_path / "changed.jsonl", [{**row, "country": "Land 0"} for row in ROWS])
    prints = [own_data(tiny_tokenizer, train=path).fingerprint() for path in (train, moved, changed)]
    assert prints[0] == prints[1] != prints[2]


def test_macro_f1_weighs_rare_classes_as_much_as_common_ones(tiny_tokenizer, tmp_path):
    rows = [{"question": f"q {n}", "answer": "rare" if n % 10 == 0 else "common"} for n in range(60)]
    options = {"train": write(tmp_path / "rows.jsonl", rows), "metric": "macro_f1", "test_size": 30, "valid_size": 5}
    task = own_data(tiny_tokenizer, prompt="{question}", target="answer", max_new_tokens=4, **options)

    def generate(model, prompts, **settings):
        return [Generated(text=" common", num_tokens=2, truncated=False) for _ in prompts]

    outcomes = task.score(None, generate, "test")
    share = sum(example.solution == "common" for example in task._examples["test"]) / 30
    assert sum(outcome.score for outcome in outcomes) / 30 == pytest.approx(share / (1 + share))
    assert task.metric.name == "macro_f1"


def test_an_empty_prompt_column_is_empty_text(tiny_tokenizer, tmp_path):
    rows = [{"city": f"c{i}", "topic": None if i % 2 else "", "country": "x"} for i in range(40)]
    task = own_data(tiny_tokenizer, train=write(tmp_path / "d.jsonl", rows), prompt="{city}|{topic}|")
    assert all(prompt.endswith("||") for prompt in prompts(task, "train"))


def test_rows_without_a_target_are_refused_or_dropped_with_their_number(tiny_tokenizer, tmp_path):
    gaps = {3: None, 8: " ", 20: float("nan")}
    rows = [{"city": f"c{i}", "topic": "t", "country": gaps.get(i, f"x{i}")} for i in range(40)]
    place = write(tmp_path / "d.jsonl", rows)
    with pytest.raises(DataError, match=r"'country' is empty in 3 of 40 rows \(rows 4, 9, 21\).*empty_targets: drop"):
        own_data(tiny_tokenizer, train=place)
    task = own_data(tiny_tokenizer, train=place, empty_targets="drop")
    assert sum(task.size(split) for split in ("train", "valid", "test")) == 37
    assert any("3 rows without a target were dropped (rows 4, 9, 21)" in warning for warning in task.warnings())


def test_prompts_with_several_different_targets_are_counted(tiny_tokenizer, tmp_path):
    rows = [{"city": f"c{i % 20}", "topic": "t", "country": f"x{i % 20 if i % 20 > 1 else i}"} for i in range(40)]
    task = own_data(tiny_tokenizer, train=write(tmp_path / "d.jsonl", rows))
    said = "4 of 40 rows have a prompt that stands with several different targets (rows 1, 2, 21, …)"
    assert said in " ".join(task.warnings())


CHATS = [
    {"messages": [
        {"role": "user", "content": f"Name {i}?"}, {"role": "assistant", "content": "A"},
        {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": f"B{i % 3}"},
    ]}
    for i in range(40)
]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": None, "target": None},
        {"prompt": None, "target": None, "turns": "messages"},
        {"prompt": "{messages}", "target": "messages"},
    ],
)
def test_conversations_are_learned_through_a_template(tiny_tokenizer, tmp_path, options):
    task = own_data(tiny_tokenizer, train=write(tmp_path / "chat.jsonl", CHATS), **options)
    shown = task.show("test", 0)
    assert shown.prompt.startswith("<s>User: Name ")
    assert shown.prompt.endswith("\nAssistant: A</s>\nUser: Sure?\nAssistant:")
    assert shown.target in ("B0", "B1", "B2")
    batch = next(task.eval_batches("test"))
    learned = tiny_tokenizer.decode(batch["input_ids"][0][batch["labels"][0] != -100].tolist())
    assert learned.startswith(" A</s> B")
    assert task.fingerprint()["chat_template"]


def test_every_answer_of_a_conversation_can_be_scored(tiny_tokenizer, tmp_path):
    path = write(tmp_path / "chat.jsonl", CHATS)
    both = own_data(tiny_tokenizer, train=path, prompt=None, target=None, score_turns="every", test_size=5)
    assert both.size("test") == 10
    assert both.show("test", 0).target == "A"
    outcomes = both.score(None, lambda model, prompts, **_: [Said("A")] * len(prompts), "test")
    assert [o.score for o in outcomes] == [1.0, 0.0] * 5
    assert len({o.group for o in outcomes}) == 5, "answers of one conversation hang together"


def test_generation_starts_from_the_tokens_training_starts_from(tiny_tokenizer, tmp_path):
    seen = {}

    def predictor(model, prompts, **settings):
        seen.update(prompts=prompts, settings=settings)
        return [Said("A")] * len(prompts)

    task = own_data(tiny_tokenizer, train=write(tmp_path / "chat.jsonl", CHATS), prompt=None, target=None)
    task.score(None, predictor, "test")
    assert tiny_tokenizer.decode(seen["prompts"][0].tolist()) == task.show("test", 0).prompt
    assert seen["settings"]["end_ids"] == (tiny_tokenizer.eos_token_id,)


def test_a_system_prompt_is_put_before_conversations_without_one(tiny_tokenizer, tmp_path):
    path = write(tmp_path / "chat.jsonl", CHATS)
    task = own_data(tiny_tokenizer, train=path, prompt=None, target=None, system="Be brief.")
    assert task.show("test", 0).prompt.startswith("<s>Be brief.\n\nUser:")


def test_prompts_go_through_the_template_of_a_model_for_chat(tiny_tokenizer, train, monkeypatch):
    plain = own_data(tiny_tokenizer, train=train)
    template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
    template += "{% if add_generation_prompt %}[assistant]{% endif %}"
    monkeypatch.setattr(tiny_tokenizer, "chat_template", template)
    chat = own_data(tiny_tokenizer, train=train)
    assert chat.show("test", 0).prompt == f"[user]{plain.show('test', 0).prompt}</s>[assistant]"
    assert chat.fingerprint() != plain.fingerprint()
    off = own_data(tiny_tokenizer, train=train, chat_template="none")
    assert off.show("test", 0).prompt == plain.show("test", 0).prompt
    assert "its answers through its chat template" in " ".join(off.warnings())
    assert own_data(tiny_tokenizer, train=train, chat_template=template).show("test", 0) == chat.show("test", 0)


def test_targets_that_no_answer_can_have_are_told_before_training(tiny_tokenizer, train):
    task = own_data(tiny_tokenizer, train=train, max_new_tokens=6)
    assert "targets have more tokens than an answer may have (6)" in " ".join(task.warnings())
    assert task.answer_facts("test", [])["unreachable_share"] > 0.5
    assert not [n for n in own_data(tiny_tokenizer, train=train, max_new_tokens=20).warnings() if "more tokens" in n]


def test_always_giving_the_commonest_answer_is_a_zero_line(tiny_tokenizer, tmp_path):
    rows = [{"city": f"City {i}", "topic": "t", "country": "Mali" if i % 4 else f"Chad {i % 3}"} for i in range(80)]
    for metric, low, high in (("exact_match", 0.5, 0.95), ("macro_f1", 0.05, 0.5)):
        task = own_data(tiny_tokenizer, train=write(tmp_path / "d.jsonl", rows), test_size=40, metric=metric)
        shown = [task.show("test", i).target for i in range(40)]
        facts = task.answer_facts("test", [])
        assert low < facts["majority_score"] < high
        if metric == "exact_match":
            assert facts["majority_score"] == shown.count("Mali") / 40


def test_a_target_that_stands_in_every_prompt_is_counted(tiny_tokenizer, tmp_path):
    rows = [{"city": f"Land {i % 7}", "topic": str(i), "country": f"land {i % 7}"} for i in range(40)]
    assert own_data(tiny_tokenizer, train=write(tmp_path / "d.jsonl", rows)).answer_facts("test", []) == {
        "target_in_prompt_share": 1.0,
        "run_on_share": 0.0,
        "unreachable_share": 0.0,
        "majority_score": pytest.approx(1 / 7, abs=0.3),
    }


def test_a_metric_of_the_users_own_is_a_function_of_output_and_target(tiny_tokenizer, train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "house_metric.py").write_text(
        "def half(output, target):\n    return 0.5 * (output.strip() == target)\n"
        "def broken(output, target):\n    1 / 0\n"
        "seen = set()\n"
        "def late(output, target):\n    seen.add(target)\n    return 1 / (len(seen) < 2)\n"
    )
    task = own_data(tiny_tokenizer, train=train, metric="house_metric:half")
    assert score(task, " {target}") == 0.5
    assert (task.metric.name, task.metric.direction) == ("half", "higher")
    assert task.fingerprint()["metric_source"]
    with pytest.raises(DataError, match=r"metric house_metric:broken: ZeroDivisionError"):
        own_data(tiny_tokenizer, train=train, metric="house_metric:broken")
    with pytest.raises(DataError, match=r"metric house_metric:late: ZeroDivisionError"):
        own_data(tiny_tokenizer, train=train, metric="house_metric:late")  # on another target than the first
    with pytest.raises(SpecError, match="'no_such:one' cannot be loaded: ModuleNotFoundError"):
        own_data(tiny_tokenizer, train=train, metric="no_such:one")
    with pytest.raises(SpecError, match="did you mean 'token_f1'"):
        own_data(tiny_tokenizer, train=train, metric="tokenf1")


def test_targets_are_compared_as_the_tokenizer_gives_them_back(tiny_tokenizer, tmp_path):
    """An uncased tokenizer answers in small letters: a target in capitals would never be equalled."""
    from tokenizers import normalizers

    from tiny import tiny_tokenizer as make

    rows = [{"city": f"City {i}", "topic": "t", "country": f"MALI {i % 3}"} for i in range(40)]
    path = write(tmp_path / "d.jsonl", rows)
    uncased = make()
    uncased.backend_tokenizer.normalizer = normalizers.Lowercase()
    task = own_data(uncased, train=path, ignore_case=False)
    said = [Said(" " + task.show("test", i).target.lower()) for i in range(task.size("test"))]
    assert {o.score for o in task.score(None, lambda model, prompts, **_: said, "test")} == {1.0}
    cased = own_data(tiny_tokenizer, train=path, ignore_case=False)
    assert {o.score for o in cased.score(None, lambda model, prompts, **_: said, "test")} == {0.0}


def test_targets_that_the_tokenizer_cannot_write_are_told(tmp_path):
    from tokenizers import normalizers

    from tiny import tiny_tokenizer as make

    rows = [{"city": f"City {i}", "topic": "t", "country": f"Ω{i % 3}"} for i in range(40)]
    losing = make()
    losing.backend_tokenizer.normalizer = normalizers.Replace("Ω", "")
    task = own_data(losing, train=write(tmp_path / "d.jsonl", rows))
    assert "4 of 4 targets hold characters that the tokenizer cannot give back, such as 'Ω" in " ".join(task.warnings())


def test_long_rows_are_left_out_of_training_on_request(tiny_tokenizer, tmp_path):
    rows = [{"city": f"City {i}", "topic": "t", "country": "x" * (1 if i % 4 else 80)} for i in range(40)]
    path = write(tmp_path / "d.jsonl", rows)
    cut, left_out = (own_data(tiny_tokenizer, train=path, max_length=60, long_rows=way) for way in ("cut", "drop"))
    assert cut.size("train") > left_out.size("train")
    assert cut.size("test") == left_out.size("test")
    assert "train sequences are longer than 60 tokens and were left out" in " ".join(left_out.warnings())


def test_several_metrics_are_recorded_and_one_decides(tiny_tokenizer, train):
    task = own_data(tiny_tokenizer, train=train, also=["token_f1", "macro_f1", "contains"])
    said = [Said(f"It is {task.show('test', i).target}") for i in range(task.size("test"))]
    outcomes = task.score(None, lambda model, prompts, **_: said, "test")
    assert {o.score for o in outcomes} == {0.0}
    facts = task.answer_facts("test", outcomes)
    assert (facts["test_contains"], facts["test_macro_f1"]) == (1.0, 0.0)
    assert facts["test_token_f1"] == pytest.approx(2 / 3)
    with pytest.raises(SpecError, match="did you mean 'token_f1'"):
        own_data(tiny_tokenizer, train=train, also=["token_f"])


def test_answers_that_are_code_are_scored_by_running_them_with_their_tests(tiny_tokenizer, tmp_path):
    rows = [
        {"city": f"City {i}", "topic": "x", "country": f"def f():\n    return {i}", "tests": [f"assert f() == {i}"]}
        for i in range(20)
    ]
    options = {"metric": "code", "run_code": True, "program": "{answer}\n{tests}"}
    task = own_data(tiny_tokenizer, train=write(tmp_path / "d.jsonl", rows), test_size=4, **options)
    targets = [task.show("test", i).target for i in range(4)]
    assert task.scores_of("test", targets) == [1.0] * 4
    assert task.scores_of("test", targets[1:] + targets[:1]) == [0.0] * 4
    assert "assert f()" in task.show("test", 0).extra["solution"]


def test_a_column_of_system_prompts_goes_before_each_conversation(tiny_tokenizer, tmp_path):
    rows = [{**row, "persona": None if i % 2 else f"You are guide {i}."} for i, row in enumerate(ROWS)]
    path = write(tmp_path / "d.jsonl", rows)
    task = own_data(tiny_tokenizer, train=path, system_column="persona", test_size=10)
    shown = [task.show("test", i) for i in range(10)]
    assert all(("You are guide" in each.prompt) == (int(each.example_id.split(":")[1]) % 2 == 0) for each in shown)
    with pytest.raises(DataError, match="unknown column 'persone'"):
        own_data(tiny_tokenizer, train=path, system_column="persone")


def test_a_system_prompt_is_recognised_by_the_name_of_its_column(tiny_tokenizer, tmp_path):
    rows = [
        {"system_prompt": "Answer in a word.", "question": f"What is {i}?", "response": f"Number {i}"}
        for i in range(30)
    ]
    spec = TaskSpec(name="own-data", options={"train": write(tmp_path / "d.jsonl", rows)})
    task = create(spec, TaskContext(processor=tiny_tokenizer))
    assert "Answer in a word." in task.show("test", 0).prompt
    assert any("system prompt 'system_prompt'" in note for note in task.warnings())
