"""The loss and the scores of language tasks, on tiny models."""

import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import PreTrainedTokenizerFast

from peftscope.errors import DataError
from peftscope.models.kinds.causal_lm.generation import TextGenerator
from peftscope.schema.metric import MetricSpec
from peftscope.schema.study import TaskSpec
from peftscope.tasks.base import TaskContext
from peftscope.tasks.registry import create
from peftscope.tasks.text.language import LanguageTask, Prepared, TextExample
from peftscope.tasks.text.options import LanguageOptions
from peftscope.training.loop import held_out_loss

TEXTS = [
    ("Two and two?", "four"),
    ("A", "b"),
    ("What comes after the long, long night?", "the day"),
    ("3+4=", "7"),
]


class EchoTask(LanguageTask):
    name = "echo"
    version = 1

    @property
    def metric(self):
        return MetricSpec(name="same", unit="share", direction="higher", window="the split")

    def grade(self, example, output):
        return float(output.strip() == example.target)


class LossTask(EchoTask):
    generates = False


def examples(texts=TEXTS):
    return [TextExample(example_id=str(i), prompt=p, target=t, solution=t) for i, (p, t) in enumerate(texts)]


def make(tokenizer, cls=EchoTask, *, texts=TEXTS, options=None, **context):
    splits = {"train": examples(texts), "valid": examples(texts), "test": examples(texts)}
    own = {"max_length": 200} | {name: context.pop(name) for name in ("max_length", "train_on") if name in context}
    options = (options or LanguageOptions()).model_copy(update=own)
    return cls(options, TaskContext(processor=tokenizer, **context), Prepared(splits=splits))


def plain(model):
    return model


def prompt_tuned(model):
    return get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5))


def prefix_tuned(model):
    return get_peft_model(model, PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5))


KINDS = pytest.mark.parametrize("kind", [plain, prompt_tuned, prefix_tuned])
TRAIN_ON = pytest.mark.parametrize("train_on", ["assistant", "all"])


def single_labels(task, index):
    """Ids and labels of one sample, made here by hand."""
    shown = task.show("test", index)
    tokenizer = task.context.processor
    prompt = tokenizer(shown.prompt)["input_ids"]
    ids = torch.tensor([[*prompt, *tokenizer(" " + shown.target, add_special_tokens=False)["input_ids"], 1]])
    labels = ids.clone()
    labels[:, : len(prompt) if task.options.train_on == "assistant" else 1] = -100
    return ids, labels


@TRAIN_ON
@KINDS
def test_a_padded_batch_loss_sums_single_sample_losses(tiny_tokenizer, tiny_llama, kind, train_on):
    model = kind(tiny_llama()).eval()
    task = make(tiny_tokenizer, train_on=train_on)
    (batch,) = task.eval_batches("test")
    total, count = task.loss(model, batch)
    singles, labels_in_all = 0.0, 0
    for index in range(len(TEXTS)):
        ids, labels = single_labels(task, index)
        num_labels = int((labels != -100).sum())
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        singles, labels_in_all = singles + loss.item() * num_labels, labels_in_all + num_labels
    assert count == labels_in_all
    assert total.item() == pytest.approx(singles, rel=1e-5)


@TRAIN_ON
def test_every_method_is_trained_on_the_same_number_of_labels(tiny_tokenizer, tiny_llama, train_on):
    """Virtual tokens come before the first token and would make it predictable; it is no label for anyone."""
    task = make(tiny_tokenizer, train_on=train_on)
    batch = next(task.batches(0))
    losses = {}
    for kind in (plain, prompt_tuned, prefix_tuned):
        model = kind(tiny_llama()).eval()
        total, count = task.loss(model, batch)
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        labels = batch["labels"]
        width = labels.shape[1]
        by_hand = torch.nn.functional.cross_entropy(
            logits[:, -width:-1].transpose(1, 2), labels[:, 1:], reduction="sum", ignore_index=-100
        )
        losses[kind] = count
        assert total.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert len(set(losses.values())) == 1


@TRAIN_ON
@KINDS
def test_the_held_out_loss_of_an_example_equals_the_models_loss(tiny_tokenizer, tiny_llama, kind, train_on):
    model = kind(tiny_llama()).eval()
    task = make(tiny_tokenizer, LossTask, train_on=train_on, batch_size=3)
    outcomes = task.score(model, None, "test")
    assert [o.example_id for o in outcomes] == ["0", "1", "2", "3"]
    for index, outcome in enumerate(outcomes):
        ids, labels = single_labels(task, index)
        own = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        assert outcome.score == pytest.approx(own.item(), rel=1e-5)


def test_scoring_preserves_the_train_and_eval_modes_of_all_modules(tiny_tokenizer, tiny_llama):
    model = tiny_llama().train()
    model.model.layers[0].eval()
    make(tiny_tokenizer, LossTask).score(model, None, "test")
    assert model.training
    assert not model.model.layers[0].training


@dataclass
class Said:
    text: str
    num_tokens: int = 3
    truncated: bool = False


def test_outcomes_come_in_the_order_of_the_split_and_record_truncation(tiny_tokenizer):
    seen = {}

    def generate(model, prompts, **settings):
        seen.update(settings, prompts=prompts)
        return [Said(" four"), Said("b"), Said("the night", truncated=True), Said("7")]

    options = LanguageOptions(max_new_tokens=9, max_generation_length=100, eval_batch_size=2)
    outcomes = make(tiny_tokenizer, options=options).score(None, generate, "test")
    assert [o.score for o in outcomes] == [1.0, 1.0, 0.0, 1.0]
    assert [o.truncated for o in outcomes] == [False, False, True, False]
    assert outcomes[2].output == "the night"
    assert seen == {
        "prompts": [p for p, _ in TEXTS],
        "max_new_tokens": 9,
        "max_length": 100,
        "batch_size": 2,
    }


def test_the_smaller_of_both_generation_limits_applies_and_is_recorded(tiny_tokenizer):
    longest = len(tiny_tokenizer(TEXTS[2][0])["input_ids"])
    options = LanguageOptions(max_new_tokens=9, max_generation_length=longest + 4)
    task = make(tiny_tokenizer, options=options)
    assert task.fingerprint()["answer_tokens_allowed"]["test"] == [4, 9]
    with pytest.raises(AssertionError, match="5 tokens generated, the limit is 4"):
        task.score(None, lambda model, prompts, **_: [Said("x", num_tokens=5)] * 4, "test")


def test_scoring_goes_through_the_real_generator(tiny_tokenizer, tiny_llama):
    task = make(tiny_tokenizer, options=LanguageOptions(max_new_tokens=5, eval_batch_size=3))
    outcomes = task.score(tiny_llama(), TextGenerator(tiny_tokenizer, torch.device("cpu")), "test")
    assert [o.example_id for o in outcomes] == ["0", "1", "2", "3"]
    assert all(o.output is not None and o.truncated is not None for o in outcomes)


@pytest.mark.parametrize("written", ["four\nQ: and\nfour", "four", "\n\nfour END\nmore", "fourENDfour"])
def test_an_answer_counts_as_decided_where_its_score_no_longer_depends_on_what_follows(tiny_tokenizer, written):
    task = make(tiny_tokenizer, options=LanguageOptions(stop=("END", "\nQ:"), max_new_tokens=8))
    whole = task.scores_of("test", [written] * len(TEXTS))
    for end in range(len(written) + 1):
        if task._is_decided(written[:end]):
            assert task.scores_of("test", [written[:end]] * len(TEXTS)) == whole


@pytest.mark.parametrize("settings", [{"early_stop": False, "stop": ("x",)}, {}])
def test_answers_are_written_to_the_end_where_nothing_decides_them_or_so_wished(tiny_tokenizer, settings):
    told = {}

    def say(model, prompts, **options):
        told.update(options)
        return [Said(text="x", num_tokens=1, truncated=False) for _ in prompts]

    make(tiny_tokenizer, options=LanguageOptions(max_new_tokens=8, **settings)).score(None, say, "test")
    assert "decided" not in told


@pytest.mark.parametrize("cls", [EchoTask, LossTask])
@pytest.mark.parametrize("train_on", ["assistant", "all"])
def test_scoring_gives_the_loss_that_a_pass_of_its_own_gives(tiny_tokenizer, tiny_llama, cls, train_on):
    task = make(tiny_tokenizer, cls, train_on=train_on, options=LanguageOptions(max_new_tokens=4), batch_size=2)
    predictor = TextGenerator(tiny_tokenizer, torch.device("cpu"))
    model = tiny_llama()
    outcomes, loss = task.score_and_loss(model, predictor, "test")
    assert loss == pytest.approx(held_out_loss(model, task, task.eval_batches("test")), rel=1e-4)
    assert outcomes == task.score(model, predictor, "test")


def test_a_subclass_that_scores_in_a_way_of_its_own_is_asked_for_it(tiny_tokenizer, tiny_llama):
    class OwnTask(EchoTask):
        def score(self, model, predictor, split):
            return ["its own"]

    task = make(tiny_tokenizer, OwnTask)
    assert task.score_and_loss(tiny_llama(), None, "test") == (["its own"], None)


def test_an_epoch_trains_on_every_sample_once(tiny_tokenizer):
    task = make(tiny_tokenizer, batch_size=3)
    source = task.batches(seed=4)
    rows = [row[mask.bool()].tolist() for b in (next(source), next(source)) for row, mask in rows_of(b)]
    held_out = [row[mask.bool()].tolist() for b in task.eval_batches("train") for row, mask in rows_of(b)]
    assert sorted(rows) == sorted(held_out)
    assert len(rows) == len(TEXTS)


def rows_of(batch):
    return zip(batch["input_ids"], batch["attention_mask"])


def test_a_sequence_beyond_the_models_context_is_rejected_before_training(tiny_tokenizer):
    short = copy.copy(tiny_tokenizer)
    short.model_max_length = 20
    with pytest.raises(DataError, match=r"set task\.max_length: 20"):
        make(short)


def test_the_longest_batch_is_as_wide_as_the_widest_training_batch(tiny_tokenizer):
    task = make(tiny_tokenizer, batch_size=2)
    source = task.batches(seed=0)
    widest = max(next(source)["input_ids"].shape[1] for _ in range(20))
    assert task.longest_batch()["input_ids"].shape == (2, widest)


def test_throughput_counts_no_padding(tiny_tokenizer):
    task = make(tiny_tokenizer)
    (batch,) = task.eval_batches("test")
    lengths = [single_labels(task, i)[0].shape[1] for i in range(len(TEXTS))]
    assert task.num_units(batch) == sum(lengths) < batch["input_ids"].numel()
    assert task.num_samples(batch) == len(TEXTS)


def test_a_prompt_over_the_limit_is_refused_before_training(tiny_tokenizer):
    with pytest.raises(DataError, match=r"1 of 4 train prompts leave no room .* within 20 tokens \(longest: 2 with"):
        make(tiny_tokenizer, max_length=20)


def test_overlong_prompts_are_dropped_on_request_with_a_warning(tiny_tokenizer):
    task = make(tiny_tokenizer, max_length=20, options=LanguageOptions(long_prompts="drop"))
    assert task.size("train") == 3
    assert "dropped: 1 of 4 train prompts" in task.warnings()[0]


def test_cut_sequences_are_counted_in_a_warning(tiny_tokenizer):
    task = make(tiny_tokenizer, max_length=42)
    assert task.warnings()[0].startswith("1 of 4 train sequences are longer than 42 tokens and were cut off")


def test_every_batch_contains_a_label(tiny_tokenizer):
    for train_on in ("assistant", "all"):
        task = make(tiny_tokenizer, max_length=41, train_on=train_on, batch_size=1)
        assert all((b["labels"] != -100).any() for b in task.eval_batches("train"))


def test_an_empty_split_is_refused(tiny_tokenizer):
    with pytest.raises(DataError, match="the train split is empty"):
        make(tiny_tokenizer, texts=[])


def test_the_fingerprint_changes_with_data_limits_and_loss(tiny_tokenizer):
    prints = [
        make(tiny_tokenizer),
        make(tiny_tokenizer, train_on="all"),
        make(tiny_tokenizer, max_length=199),
        make(tiny_tokenizer, texts=[*TEXTS[:3], ("3+4=", "8")]),
        make(tiny_tokenizer, options=LanguageOptions(max_new_tokens=3)),
    ]
    assert make(tiny_tokenizer).fingerprint() == prints[0].fingerprint()
    assert len({str(task.fingerprint()) for task in prints}) == len(prints)


def test_a_seed_resplits_training_and_validation_but_not_test(
    sums_file: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    options = {"name": "math", "source": "files", "train": str(sums_file), "valid_size": 6, "test_size": 5}

    def cut(seed: int | None) -> tuple[dict[str, set[str]], dict[str, object], list[list[int]]]:
        task = create(TaskSpec.model_validate(options), TaskContext(processor=tiny_tokenizer))
        if seed is not None:
            task.resplit(seed)
        splits = {s: {task.show(s, i).example_id for i in range(task.size(s))} for s in ("train", "valid", "test")}
        rows = [task.batches(0), task.eval_batches("valid")]
        return splits, task.fingerprint(), [next(batches)["input_ids"].tolist() for batches in rows]

    plain, first, again, other = cut(None), cut(1), cut(1), cut(2)
    assert first == again
    assert len({frozenset(c[0]["valid"]) for c in (plain, first, other)}) == 3
    for found, fingerprint, _ in (first, other):
        assert found["test"] == plain[0]["test"]
        assert found["train"] | found["valid"] == plain[0]["train"] | plain[0]["valid"]
        assert len(found["valid"]) == 6
        assert not found["train"] & found["valid"]
        assert fingerprint == plain[1]
    assert first[2] != plain[2]


def test_a_split_given_as_separate_files_cannot_vary(
    sums_file: Path, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    (tmp_path / "valid.jsonl").write_text('{"question": "What is 20 and 1?", "answer": "#### 21"}')
    options = {"name": "math", "source": "files", "train": str(sums_file), "valid": str(tmp_path / "valid.jsonl")}
    task = create(TaskSpec.model_validate(options), TaskContext(processor=tiny_tokenizer))
    with pytest.raises(DataError, match=r"file of their own.*vary_split: false"):
        task.resplit(1)


def test_the_largest_scoring_batch_fits_longest_prompt_plus_longest_answer(tiny_tokenizer):
    few, more = (make(tiny_tokenizer, options=LanguageOptions(max_new_tokens=n, eval_batch_size=7)) for n in (3, 8))
    longest = max(len(tiny_tokenizer(few.show("test", i).prompt)["input_ids"]) for i in range(few.size("test")))
    batch_size, length = few.largest_scoring()
    assert batch_size == 7
    assert length >= longest + 3
    assert more.largest_scoring() == (7, length + 5)
