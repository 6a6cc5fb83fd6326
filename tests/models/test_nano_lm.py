"""``builtin:nano-lm``: the base that lies in the package, and the figures its card claims."""

import json
import re
import socket
import sys
import time
import tomllib
from pathlib import Path

import pytest
import torch

from peftscope.execution.execute import execute
from peftscope.models.builtin import fetch_builtin
from peftscope.models.kinds.causal_lm.generation import TextGenerator
from peftscope.models.kinds.causal_lm.loading import LoadedModel, load
from peftscope.models.weights import file_sha256
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MeasureSpec, MethodSpec, ModelSpec, TaskSpec, TrainSpec

SCRIPTS = Path(__file__).parents[2] / "scripts"
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def nano() -> LoadedModel:
    return load(ModelSpec(source="builtin:nano-lm", device="cpu"), for_training=False)


@pytest.fixture
def measures(monkeypatch):
    """The functions that measured what the card says."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    for name in ("nano_lm_corpus", "nano_lm_measures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import nano_lm_measures

    return nano_lm_measures


def claimed(figure: str) -> float:
    """A figure of the card's table."""
    card = (fetch_builtin("builtin:nano-lm") / "README.md").read_text(encoding="utf-8")
    return float(re.search(rf"^\| {re.escape(figure)}[^|]*\| ([0-9.]+)", card, re.MULTILINE)[1])


def test_it_loads_from_the_package_without_network_in_two_seconds(monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *args, **kwargs: pytest.fail("a socket was opened"))
    started = time.process_time()
    loaded = load(ModelSpec(source="builtin:nano-lm", device="cpu"))
    assert time.process_time() - started < 2
    assert loaded.dtype == torch.float32
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert loaded.weights_sha256
    assert loaded.revision is None
    assert 2e6 < loaded.num_params < 5e6


def test_its_files_are_small_and_no_pickles():
    folder = fetch_builtin("builtin:nano-lm")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 7 * MEGABYTE
    assert {path.suffix for path in files} == {".json", ".safetensors", ".md"}
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in files), "everybody can read them"


def test_its_files_are_shipped_in_the_wheel():

    project = Path(__file__).parents[2]
    patterns = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "peftscope"
    ]
    package = project / "src" / "peftscope"
    shipped = {path for pattern in patterns for path in package.glob(pattern)}
    assert {path for path in (package / "models" / "nano_lm").iterdir() if path.is_file()} <= shipped


def test_two_loads_have_the_same_hash(nano):
    again = load(ModelSpec(source="builtin:nano-lm", device="cpu"))
    assert again.weights_sha256 == nano.weights_sha256
    assert file_sha256(fetch_builtin("builtin:nano-lm") / "model.safetensors")


def test_its_tokenizer_gives_small_numbers_one_token_and_is_lossless(nano):
    tokenizer = nano.processor
    for number in range(100):
        assert len(tokenizer.tokenize(f"{number}")) == len(tokenizer.tokenize(f" {number}")) == 1
    text = "Zoë pays 1,234.50 € – “twice”\n\tand 007 times.\n#### 42"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert len(set(special)) == 3
    assert None not in special
    assert tokenizer.model_max_length == nano.model.config.max_position_embeddings
    config = json.loads((fetch_builtin("builtin:nano-lm") / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == special


def test_padding_on_the_left_changes_no_answer(nano):
    generator = TextGenerator(nano.processor, device=torch.device("cpu"))
    prompts = ["7 + 5 =", "Copy: Ann 7 cups Bob 12 pens =>", "The people of the United States have"]
    together = generator(nano.model, prompts, max_new_tokens=8, max_length=None, batch_size=3)
    alone = generator(nano.model, prompts, max_new_tokens=8, max_length=None, batch_size=1)
    assert [answer.text for answer in together] == [answer.text for answer in alone]


def test_prose_loss_beats_a_unigram_model_as_the_card_states(nano, measures):
    loss = measures.prose_loss(nano.model, nano.processor, num_tokens=5000)
    unigram = measures.unigram_loss(nano.processor, num_tokens=5000, num_paragraphs=1000)
    assert loss < unigram - 1.5
    assert loss == pytest.approx(claimed("loss on held-out prose"), abs=0.15)
    assert unigram == pytest.approx(claimed("loss of a unigram model"), abs=0.15)


@pytest.mark.parametrize(
    ("figure", "sign"), [("additions known", "+"), ("subtractions known", "-"), ("multiplications known", "*")]
)
def test_sums_are_solved_as_the_card_states(nano, measures, figure, sign):
    share = measures.known_facts(nano.model, nano.processor, sign)
    assert share > 0.9
    assert 100 * share == pytest.approx(claimed(figure), abs=1)


def test_lines_are_copied_as_the_card_says(nano, measures):
    share = measures.copying(nano.model, nano.processor)
    assert share > 0.7
    assert 100 * share == pytest.approx(claimed("lines copied"), abs=2)


def test_stories_are_not_solved_before_fine_tuning_as_the_card_says(nano, measures):
    share = measures.solved_stories(nano.model, nano.processor, num_problems=100)
    assert share <= 0.05
    assert claimed("`stories` problems solved") <= 5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_lora_learns_to_solve_stories_in_sixty_steps(tmp_path):
    task = {"source": "stories", "query_template": "Question: {query}\nAnswer:", "max_new_tokens": 28}
    run = RunSpec(
        model=ModelSpec(source="builtin:nano-lm", device="cpu"),
        task=TaskSpec(name="math", options={**task, "eval_batch_size": 200, "max_length": 96, "general_tokens": 0}),
        method=MethodSpec(name="lora"),
        learning_rate=1e-3,
        train=TrainSpec(max_steps=60, batch_size=16, warmup_fraction=0.1),
        measure=MeasureSpec(latency=False),
    )
    record = execute(run, tmp_path)
    assert record.status == "ok", record.reason
    assert 0.3 < record.metrics["test_score"] < 0.9
