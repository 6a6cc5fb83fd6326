"""Sequences that share a row see nothing of one another; long rows are parted without losing a token."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from tests.tasks.text.test_language import EchoTask, LossTask, examples
from transformers import AutoModelForCausalLM, MambaConfig

from peftscope.errors import DataError, MethodRefused
from peftscope.tasks.base import TaskContext
from peftscope.tasks.text.examples import Prepared
from peftscope.tasks.text.options import LanguageOptions
from peftscope.tasks.text.packing import packs_of

TEXTS = [(f"What comes after {'the long, ' * n}day?", "night " * (n + 1)) for n in range(7)]
LONG_ANSWERS = [(f"Count to {n}:", " ".join(map(str, range(n)))) for n in (2, 30, 60, 5, 90, 12, 44)]


def make(tokenizer, cls=EchoTask, *, texts=TEXTS, batch_size=2, **options):
    splits = {split: examples(texts) for split in ("train", "valid", "test")}
    return cls(
        LanguageOptions(**options), TaskContext(processor=tokenizer, batch_size=batch_size), Prepared(splits=splits)
    )


def adapted(model, **config):
    return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **config))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60))
def test_packs_hold_each_sequence_once_and_never_too_many_tokens(lengths):
    packs = packs_of(lengths, 50)
    assert sorted(i for pack in packs for i in pack) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in pack) <= 50 for pack in packs)
    if len(packs) > 1:  # no two rows would go into one
        filled = sorted(sum(lengths[i] for i in pack) for pack in packs)
        assert filled[0] + filled[1] > 50


@pytest.mark.parametrize("train_on", ["assistant", "all"])
def test_an_epoch_of_packed_rows_has_the_labels_and_the_loss_of_one_that_is_not_packed(
    tiny_tokenizer, tiny_llama, train_on
):
    model = adapted(tiny_llama()).eval()
    found = {}
    for packing in (False, True):
        task = make(tiny_tokenizer, packing=packing, max_length=120, train_on=train_on)
        steps = -(-task.epoch_size() // 2)
        batches = [batch for batch, _ in zip(task.batches(0), range(steps))]
        losses = [task.loss(model, batch) for batch in batches]
        found[packing] = (
            sum(total.item() for total, _ in losses),
            sum(count for _, count in losses),
            sum(map(task.num_samples, batches)),
            sum(map(task.num_units, batches)),
        )
        assert (task.epoch_size() < len(TEXTS)) == packing
    assert found[True] == pytest.approx(found[False], rel=1e-5)


def test_a_packed_batch_is_as_large_as_said(tiny_tokenizer):
    task = make(tiny_tokenizer, packing=True, max_length=120)
    rows, length = task.largest_training()
    assert task.longest_batch()["input_ids"].shape == (rows, length)
    assert length <= 120


@pytest.mark.parametrize("config", [PromptTuningConfig, PrefixTuningConfig])
def test_methods_that_put_tokens_before_the_text_are_refused_with_packing(tiny_tokenizer, tiny_llama, config):
    model = get_peft_model(tiny_llama(), config(task_type="CAUSAL_LM", num_virtual_tokens=4))
    task = make(tiny_tokenizer, packing=True, max_length=120)
    with pytest.raises(MethodRefused, match="packing: false"):
        task.loss(model, next(task.batches(0)))


def test_a_model_that_carries_a_state_over_is_refused_with_packing(tiny_tokenizer):
    torch.manual_seed(0)
    size = {"vocab_size": len(tiny_tokenizer), "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}
    model = AutoModelForCausalLM.from_config(MambaConfig(**size)).eval()
    task = make(tiny_tokenizer, packing=True, max_length=120)
    with pytest.raises(MethodRefused, match="see one another"):
        task.loss(model, next(task.batches(0)))


def test_dropout_does_not_look_like_a_leak(tiny_tokenizer, tiny_llama):
    model = adapted(tiny_llama(), lora_dropout=0.5).train()
    task = make(tiny_tokenizer, packing=True, max_length=120)
    loss, count = task.loss(model, next(task.batches(0)))
    assert torch.isfinite(loss)
    assert count > 0
    assert model.training


@pytest.mark.parametrize("train_on", ["assistant", "all"])
def test_parted_rows_learn_every_token_once(tiny_tokenizer, train_on):
    options = {"texts": LONG_ANSWERS, "train_on": train_on, "batch_size": 1}
    task = make(tiny_tokenizer, LossTask, long_rows="split", max_length=48, **options)
    whole = make(tiny_tokenizer, LossTask, max_length=5000, **options)
    learned = {}
    for name, one in (("parted", task), ("whole", whole)):
        labels = [batch["labels"] for batch, _ in zip(one.batches(0), range(one.epoch_size()))]
        assert all(row.shape[1] <= one.options.max_length for row in labels)
        learned[name] = np.sort(torch.cat([row[row != -100] for row in labels]).numpy())
    assert task.size("train") > whole.size("train")
    assert (learned["parted"] == learned["whole"]).all()
    assert any("parted" in note for note in task.warnings())
    assert task.size("test") == len(LONG_ANSWERS), "what is scored is not parted"


def test_parted_rows_stay_together_when_the_split_varies(tiny_tokenizer):
    task = make(tiny_tokenizer, LossTask, texts=LONG_ANSWERS, long_rows="split", max_length=48)
    task.resplit(3)
    prompts = {split: {task.show(split, i).prompt for i in range(task.size(split))} for split in ("train", "valid")}
    assert prompts["train"]
    assert prompts["valid"]
    assert not prompts["train"] & prompts["valid"]


def test_a_long_prompt_is_named_before_rows_are_parted(tiny_tokenizer):
    with pytest.raises(DataError, match="leave no room"):
        make(tiny_tokenizer, long_rows="split", max_length=12)
