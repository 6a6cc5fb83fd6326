"""The public benchmark's experiment folders, run as ``peftscope run DIR`` runs them, on a narrow model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peftscope.execution.execute import execute
from peftscope.methods import catalog
from peftscope.methods.adapter_config import method_name
from peftscope.schema.override import override
from peftscope.schema.run import RunSpec
from peftscope.schema.study import ModelSpec, TaskSpec
from peftscope.upstream.experiment import Experiment, read_experiment, to_run_spec
from tiny import tiny_llama, tiny_tokenizer

SHARED = Path(__file__).parents[3] / "shared" / "data"
FOLDERS = sorted((SHARED / "experiments" / "MetaMathQA").glob("*/*/"))
GSM8K = [SHARED / "math" / f"gsm8k_{split}.jsonl" for split in ("train", "test")]

FAST = {
    "lora/llama-3.2-3B-rank32",
    "prompt_tuning/llama-3.2-3B-default",
    "full-finetuning/llama-3.2-3B-lr_0.00001",
    "psoft/llama-3.2-3B-default",
}
"""An adapter, virtual tokens, all weights, a refusal; the others take minutes together."""

REFUSED = {
    "psoft/llama-3.2-3B-default": "`r` (256) must be less than or equal to min(in_features, out_features) (256, 128)",
    "psoft/llama-3.2-3B-fast": "`r` (256) must be less than or equal to min(in_features, out_features) (256, 128)",
    "vblora/llama-3.2-3B-default": "`out_features` 128 must be divisible by `vector_length` 256",
}
"""What does not fit keys and values of width 128, and a piece of the reason."""

SETTINGS = [
    "train.max_steps=2",
    "train.batch_size=1",
    "task.max_length=256",
    "train.eval_every=null",
    "task.general_tokens=0",
    "measure.latency=false",
    "measure.metered_steps=0",
]

OPTIONS = {
    "source": "files",
    "train": str(GSM8K[0]),
    "test": str(GSM8K[1]),
    "train_size": 8,
    "valid_size": 2,
    "test_size": 2,
    "max_chars": 200,
    "long_prompts": "drop",  # one token a byte: GSM8K's questions are long
    "max_new_tokens": 4,
    "max_generation_length": 256,
    "eval_batch_size": 2,
}

pytestmark = [
    pytest.mark.skipif(
        not FOLDERS or not all(path.is_file() for path in GSM8K),
        reason=f"the benchmark's folders and GSM8K are not at {SHARED}",
    ),
    # SHiRA; torch remarks once per process that it does not check sparse matrices.
    pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning"),
]


def name_of(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def folders() -> list[Any]:
    return [
        pytest.param(folder, id=name_of(folder), marks=[] if name_of(folder) in FAST else [pytest.mark.slow])
        for folder in FOLDERS
    ]


@pytest.fixture(scope="module")
def narrow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Llama-3.2-3B's 28 layers at a twelfth of the width; some methods don't fit a shallower or narrower model."""
    folder = tmp_path_factory.mktemp("narrow-model")
    model = tiny_llama(
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=28,
        num_attention_heads=8,
        num_key_value_heads=4,
    )
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run_of(narrow_folder: Path) -> Callable[[Experiment], RunSpec]:
    """The short run of an experiment, on the narrow model and a few of GSM8K's problems."""

    def make(experiment: Experiment) -> RunSpec:
        spec = to_run_spec(
            experiment,
            method_name=method_name(experiment.peft_config, experiment.training_params),
            model=ModelSpec(source=str(narrow_folder), dtype="float32"),
            task=TaskSpec(name="math", options=OPTIONS),
        )
        return override(spec, SETTINGS)

    return make


@pytest.mark.parametrize("folder", folders())
def test_an_experiment_folder_runs_unmodified_or_is_refused_with_a_reason(
    folder: Path, run_of: Callable[[Experiment], RunSpec], tmp_path: Path
) -> None:
    experiment = read_experiment(folder)
    spec = run_of(experiment)
    record = execute(spec, tmp_path)
    if name_of(folder) in REFUSED:
        assert record.status == "refused", record.attempts[0].traceback
        assert REFUSED[name_of(folder)] in (record.reason or "")
        assert record.method_facts is None
        return
    assert record.status == "ok", record.attempts[0].traceback
    assert record.metrics["num_steps"] == 2
    assert (record.metrics["num_trainable_params"] or 0) > 0
    assert (record.metrics["checkpoint_bytes"] or 0) > 0
    assert record.metrics["test_score"] is not None
    assert record.method_facts is not None
    card = catalog.card(spec.method.name)
    assert bool(record.method_facts.adapted_modules) != card.virtual_tokens
    raw, built = experiment.peft_config, record.method_facts.peft_config
    if raw is None:
        assert built is None
        return
    assert built is not None
    assert built["peft_type"] == raw["peft_type"]
    named = raw.get("target_modules")
    if isinstance(named, list):
        adapted = record.method_facts.adapted_modules
        assert {target for target in named if any(f".{name}".endswith(f".{target}") for name in adapted)} == {*named}


def test_all_listed_refused_experiments_exist() -> None:
    assert len(FOLDERS) == 54
    assert (FAST | REFUSED.keys()) <= {name_of(folder) for folder in FOLDERS}
