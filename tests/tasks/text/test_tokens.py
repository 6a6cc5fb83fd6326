"""Token ids and labels."""

from itertools import product

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from peftscope.errors import DataError
from peftscope.models.kinds.causal_lm.prompts import prompt_token_ids
from peftscope.tasks.text.tokens import collate, encode
from tiny import tiny_tokenizer

PROMPTS = ["Q: 3 + 4?\nA:", "Hi", "Long question " * 4 + "A:"]
TARGETS = ["7", "a somewhat longer answer", "x"]
EOS = 1


def batch(tokenizer, train_on="assistant", max_length=1000):
    encoded = encode(tokenizer, PROMPTS, TARGETS, separator=" ", max_length=max_length)
    return collate(encoded, range(3), pad_id=EOS, train_on=train_on)


@pytest.mark.parametrize("train_on", ["assistant", "all"])
def test_identical_batches_whatever_the_pad_setting(train_on):
    """The tokenizer's pad token and side change neither labels nor inputs, not even a pad equal to EOS."""
    settings = product(["none", "eos", "own"], ["left", "right"])
    batches = [batch(tiny_tokenizer(pad=pad, padding_side=side), train_on) for pad, side in settings]
    for other in batches[1:]:
        for key, value in batches[0].items():
            assert torch.equal(value, other[key]), key


@pytest.mark.parametrize("train_on", ["assistant", "all"])
@pytest.mark.parametrize("pad", ["none", "eos", "own"])
def test_every_sample_that_is_not_cut_ends_in_a_labelled_eos(pad, train_on):
    made = batch(tiny_tokenizer(pad=pad), train_on)
    for ids, mask, labels in zip(made["input_ids"], made["attention_mask"], made["labels"]):
        last = int(mask.sum()) - 1
        assert ids[last] == labels[last] == EOS
        assert (labels == EOS).sum() == 1


def test_a_truncated_sample_gets_no_eos_label():
    encoded = encode(tiny_tokenizer(), PROMPTS, TARGETS, separator=" ", max_length=20)
    made = collate(encoded, range(3), pad_id=EOS, train_on="all")
    assert encoded.num_cut == 2
    assert [bool((labels == EOS).any()) for labels in made["labels"]] == [True, False, False]
    assert made["input_ids"].shape[1] == 20


def test_the_first_token_is_never_a_label():
    for tokenizer, train_on in product([tiny_tokenizer(), tiny_tokenizer(bos=False)], ["assistant", "all"]):
        assert (batch(tokenizer, train_on)["labels"][:, 0] == -100).all()
        plain_text = encode(tokenizer, [""], ["words"], separator=" ", max_length=99)
        assert collate(plain_text, [0], pad_id=EOS, train_on=train_on)["labels"][0, 0] == -100


def test_completion_labels_cover_the_answer_and_its_eos():
    made = batch(tiny_tokenizer())
    kept = [ids[labels != -100] for ids, labels in zip(made["input_ids"], made["labels"])]
    assert [tiny_tokenizer().decode(ids) for ids in kept] == [f" {t}</s>" for t in TARGETS]


def test_full_labels_cover_all_tokens_except_the_first_and_padding():
    made = batch(tiny_tokenizer(), "all")
    assert torch.equal((made["labels"] != -100).sum(1), made["attention_mask"].sum(1) - 1)


@pytest.mark.parametrize("bos", [True, False])
def test_training_and_generation_use_the_same_prompt_token_ids(bos):
    tokenizer = tiny_tokenizer(bos=bos)
    encoded = encode(tokenizer, PROMPTS, TARGETS, separator=" ", max_length=1000)
    for i, prompt in enumerate(PROMPTS):
        ids = tokenizer(prompt)["input_ids"]
        assert encoded[i][: len(ids)].tolist() == ids
        assert encoded.prompt_lengths[i] == len(ids)
        assert (encoded[i] == 0).sum() == bos, "one BOS where the tokenizer adds one"


def merging_tokenizer(*, adds_eos=False):
    """Knows a few words with the space before them, as byte-pair tokenizers of real models do."""
    vocab = {"<s>": 0, "</s>": 1, "A": 2, ":": 3, "Ġ": 4, "4": 5, "Ġ4": 6, ":Ġ": 7}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[("Ġ", "4"), (":", "Ġ")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if adds_eos:
        core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


def test_the_space_before_an_answer_merges_into_the_answer_token():
    encoded = encode(merging_tokenizer(), ["A:"], ["4"], separator=" ", max_length=99)
    assert encoded[0].tolist() == [2, 3, 6, 1]
    assert encoded.prompt_lengths.tolist() == [2]


def test_tokens_of_a_prompt_ending_in_whitespace_remain_a_prefix():
    tokenizer = merging_tokenizer()
    assert tokenizer("A: ")["input_ids"] == [2, 3, 4]
    assert tokenizer("A: 4")["input_ids"] == [2, 3, 6], "the joint text merges over the border"
    encoded = encode(tokenizer, ["A: "] * 2, ["4", "4A"], separator=" ", max_length=99)
    assert [encoded[i].tolist() for i in (0, 1)] == [[2, 3, 4, 5, 1], [2, 3, 4, 5, 2, 1]]


def test_a_tokenizer_that_appends_eos_adds_only_one_after_the_answer():
    tokenizer = merging_tokenizer(adds_eos=True)
    assert prompt_token_ids(tokenizer, ["A:"]) == [[2, 3]]
    assert encode(tokenizer, ["A:"], ["4"], separator=" ", max_length=99)[0].tolist() == [2, 3, 6, 1]


def test_a_tokenizer_without_eos_is_refused():
    with pytest.raises(DataError, match="no EOS token"):
        encode(tiny_tokenizer(eos=False), ["a"], ["b"], separator=" ", max_length=9)
