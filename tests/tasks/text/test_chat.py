"""Conversations: read as they come, written through any template, learned exactly where the assistant speaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from peftscope.errors import DataError
from peftscope.tasks.text.chat_template import ChatTemplate, chat_template_for
from peftscope.tasks.text.chat_tokens import encode_chats, end_ids
from peftscope.tasks.text.tokens import collate
from peftscope.tasks.text.turns import Turn, holds_turns, turns_of
from tasks.text.chat_fixtures import CHATML, FAMILIES, Family, tokenizer_of
from tiny import tiny_tokenizer

S, U, A = (lambda text: Turn("system", text)), (lambda text: Turn("user", text)), (lambda text: Turn("assistant", text))
CHATS: dict[str, list[Turn]] = {
    "one question": [U("Where is it?"), A("In the café.")],
    "two rounds with a system prompt": [S("Be short."), U("1+1?"), A("2"), U("And\n3+3?"), A("6\n\nSix.")],
    "the same answer twice": [U("yes"), A("yes"), U("yes yes"), A("yes")],
    "braces and marks": [U("What is {x}?"), A("{'a': [1]} <b>|</b>"), U("[INST]"), A("0")],
}
THINKING = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{{ '<|im_start|>assistant\n' + ('<think>\n\n</think>\n\n' if loop.last else '') + m.content + '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _reference(family: Family, tokenizer: Any, turns: Sequence[Turn]) -> tuple[list[int], list[bool]]:
    """Ids and mask, piece by piece; up to the end of the last answer."""
    ids: list[int] = []
    mask: list[bool] = []
    for text, said in family.pieces(turns):
        piece = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids += piece
        mask += [said] * len(piece)
    end = max(index for index, said in enumerate(mask) if said) + 1
    return ids[:end], mask[:end]


@pytest.mark.parametrize("chat", CHATS.values(), ids=list(CHATS))
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_exactly_the_assistants_tokens_are_learned(family: Family, chat: list[Turn]) -> None:
    if chat[0].role == "system" and not family.takes_system:
        chat = chat[1:]
    tokenizer = tokenizer_of(family)
    template = chat_template_for("auto", tokenizer, has_turns=True)
    assert template is not None
    ids, mask = _reference(family, tokenizer, chat)
    for train_on in ("assistant", "last", "all"):
        encoded = encode_chats(template, {"row 1": chat}, train_on=train_on, max_length=10_000)
        assert encoded[0].tolist() == ids
        last = [said and True not in [not m for m in mask[i:]] for i, said in enumerate(mask)]
        wanted = {"assistant": mask, "last": last, "all": [True] * len(ids)}[train_on]
        assert encoded.mask(0).tolist() == wanted
        labels = collate(encoded, [0], pad_id=0, train_on=train_on)["labels"][0].tolist()
        assert labels == [-100, *(t if learned else -100 for t, learned in zip(ids[1:], wanted[1:]))]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_an_answer_starts_where_generation_starts_and_ends_in_the_end_of_turn(family: Family) -> None:
    tokenizer = tokenizer_of(family)
    template = ChatTemplate(tokenizer, family.template, "the model's")
    chat = CHATS["two rounds with a system prompt"][1:]
    encoded = encode_chats(template, {"row 1": chat}, train_on="assistant", max_length=10_000)
    opened = tokenizer.apply_chat_template([vars(t) for t in chat[:-1]], tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(opened, add_special_tokens=False)["input_ids"]
    assert encoded[0].tolist()[: int(encoded.prompt_lengths[0])] == prompt
    assert encoded[0].tolist()[-1] in end_ids(template)


def test_no_bos_is_doubled_by_a_template_that_writes_its_own() -> None:
    family = next(f for f in FAMILIES if f.name == "Llama 3")
    tokenizer = tokenizer_of(family)
    encoded = encode_chats(
        ChatTemplate(tokenizer, family.template, ""), {"a": CHATS["one question"]}, train_on="last", max_length=999
    )
    assert encoded[0].tolist().count(tokenizer.bos_token_id) == 1


def test_thoughts_left_out_of_earlier_turns_leave_the_borders_exact() -> None:
    family = next(f for f in FAMILIES if f.name == "ChatML")
    tokenizer = tokenizer_of(family)
    template = ChatTemplate(tokenizer, THINKING, "thinking")
    chat = CHATS["the same answer twice"]
    encoded = encode_chats(template, {"row 1": chat}, train_on="assistant", max_length=10_000)
    learned = [int(i) for i, said in zip(encoded[0], encoded.mask(0)) if said]
    assert tokenizer.decode(learned) == "yes<|im_end|><think>\n\n</think>\n\nyes<|im_end|>"


def test_a_template_that_changes_an_answer_is_refused_not_guessed() -> None:
    family = next(f for f in FAMILIES if f.name == "DeepSeek")
    chat = [U("1+1?"), A("<think>one and one</think>2"), U("again"), A("2")]
    template = ChatTemplate(tokenizer_of(family), family.template, "the model's")
    with pytest.raises(DataError, match=r"row 7: .* turn 2 in another way .*; set train_on: last"):
        encode_chats(template, {"row 7": chat}, train_on="assistant", max_length=99)
    assert encode_chats(template, {"row 7": chat}, train_on="last", max_length=99)


def test_a_token_over_a_border_is_split_there() -> None:
    """With a tokenizer that makes one token of two line breaks, an answer that begins with one still has a border."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {t: i for i, t in enumerate(["<|im_start|>", "<|im_end|>", *alphabet, "ĊĊ"])}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[("Ċ", "Ċ")]))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", bos_token="<|im_start|>")
    template = ChatTemplate(tokenizer, CHATML, "ChatML")
    encoded = encode_chats(template, {"a": [U("?"), A("\nyes")]}, train_on="assistant", max_length=99)
    learned = [int(i) for i, said in zip(encoded[0], encoded.mask(0)) if said]
    assert tokenizer.decode(learned) == "\nyes<|im_end|>"
    assert vocab["ĊĊ"] not in encoded[0].tolist()


def test_a_template_without_an_end_of_turn_is_closed_with_eos() -> None:
    tokenizer = tiny_tokenizer()
    template = ChatTemplate(tokenizer, "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "own")
    encoded = encode_chats(template, {"a": [U("hi"), A("yo")]}, train_on="assistant", max_length=99)
    assert tokenizer.decode(encoded[0].tolist()).endswith("yo</s>")
    assert encoded.mask(0)[-1]


def test_models_for_chat_are_told_from_bases_with_a_template() -> None:
    chatml = next(f for f in FAMILIES if f.name == "ChatML")
    base = tokenizer_of(chatml)  # ends in </s>, its template's turns in <|im_end|>: as Qwen's base models have it
    assert chat_template_for("auto", base, has_turns=False) is None
    base.listed_ends = (base.convert_tokens_to_ids("<|im_end|>"),)
    assert chat_template_for("auto", base, has_turns=False) is not None
    assert chat_template_for("none", base, has_turns=False) is None
    with pytest.raises(DataError, match="which need one"):
        chat_template_for("none", base, has_turns=True)


def test_a_model_without_a_template_gets_plain_turns() -> None:
    tokenizer = tiny_tokenizer()
    template = chat_template_for("auto", tokenizer, has_turns=True)
    assert template is not None
    assert template.render([S("Be kind."), U("Hi"), A("Hello"), U("Bye")], opened=True) == (
        "<s>Be kind.\n\nUser: Hi\nAssistant: Hello</s>\nUser: Bye\nAssistant:"
    )
    with pytest.raises(DataError, match="has none"):
        chat_template_for("model", tokenizer, has_turns=True)
    with pytest.raises(DataError, match="nor a file that can be read"):
        chat_template_for("no-such.jinja", tokenizer, has_turns=True)


def test_what_a_template_refuses_is_told_with_the_row() -> None:
    gemma = next(f for f in FAMILIES if f.name == "Gemma")
    template = ChatTemplate(tokenizer_of(gemma), gemma.template, "the model's")
    with pytest.raises(DataError, match=r"chats:3: .* refuses these turns: System role not supported"):
        encode_chats(template, {"chats:3": [S("x"), U("a"), A("b")]}, train_on="last", max_length=99)


@pytest.mark.parametrize(
    "written",
    [
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}],
        [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}],
        '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]',
        [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "model", "content": "Yo"}],
    ],
)
def test_every_way_of_writing_turns_gives_the_same_turns(written: Any) -> None:
    assert holds_turns(written)
    assert turns_of(written, "x") == (Turn("user", "Hi"), Turn("assistant", "Yo"))


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ({"role": "tool", "content": "3"}, "tool calls"),
        ({"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}, "tool calls"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, "'image_url'.*take pictures"),
        ({"role": "narrator", "content": "Once"}, "'narrator' is no speaker"),
        ({"role": "user", "content": None}, "turn 2: content is empty"),
    ],
)
def test_turns_that_cannot_be_learned_are_refused_by_name(turn: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"f.jsonl: row 4.*{message}"):
        turns_of([{"role": "user", "content": "a"}, turn], "f.jsonl: row 4")
