"""Code shown for a method is code that runs, with the installed ``peft``, to the outputs it promises."""

from __future__ import annotations

import ast
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from peft import PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from torch import Tensor

from peftscope.methods.capabilities import MERGE, finding
from peftscope.methods.card import Card
from peftscope.methods.catalog import card, cards
from peftscope.methods.catalog.snippet_data import CLASSES, MODULES, NESTED
from peftscope.methods.catalog.snippet_parts import MODEL
from peftscope.methods.snippets import Snippet, snippets_of
from peftscope.models.builtin import fetch_builtin

TRAINED = [entry for entry in cards().values() if entry.trains]
QUANTIZED = [entry for entry in TRAINED if finding(entry.name, "nf4").value == "yes"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled"),
    pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous chunk"),
    # peft itself: of a kernel that needs CUDA, of norms, of layers without a bias, of a start that is over
    pytest.mark.filterwarnings("ignore:Failed to load the CUDA extension"),
    pytest.mark.filterwarnings("ignore:Setting boft_n_butterfly_factor to 1"),
    pytest.mark.filterwarnings("ignore:Unsupported layer type .*Norm"),
    pytest.mark.filterwarnings("ignore:Detected that the base layer has no bias term"),
    pytest.mark.filterwarnings("ignore:`corda_config` specified but will be ignored"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two blocks with a tokenizer, as wide as the cards' settings need it."""
    folder = tmp_path_factory.mktemp("tiny")
    source = fetch_builtin("builtin:nano-lm")
    shutil.copy(source / "tokenizer.json", folder)
    settings = json.loads((source / "tokenizer_config.json").read_text("utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 512}), "utf-8")
    config = transformers.LlamaConfig(
        vocab_size=1280,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder to run code in."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def pieces(entry: Card) -> dict[str, Snippet]:
    return {of.key: of for of in snippets_of(entry)}


def execute(snippet: Snippet, names: dict[str, Any], tiny: Path) -> None:
    code = snippet.code.replace(f'"{MODEL}"', repr(str(tiny)))
    exec(compile(code, f"<{snippet.key}>", "exec"), names)


@torch.no_grad()
def outputs(model: Any, names: dict[str, Any]) -> Tensor:
    ids = names["tokenizer"]("Question: 2 + 3?\nAnswer: 5", return_tensors="pt").to(model.device)
    found: Tensor = model.eval()(**ids).logits
    return found


def training_moves(snippet: Snippet, names: dict[str, Any], tiny: Path) -> bool:
    """Run code up to its training, look at the weights, run the rest."""
    head, mark, tail = snippet.code.partition("\nmodel.train()\n")
    assert mark, "no training in it"
    execute(Snippet(key="head", title="", about="", code=head), names, tiny)
    before = [p.detach().clone() for p in names["model"].parameters() if p.requires_grad]
    execute(Snippet(key="tail", title="", about="", code=mark + tail), names, tiny)
    after = [p.detach() for p in names["model"].parameters() if p.requires_grad]
    assert math.isfinite(names["loss"].item())
    return any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("entry", TRAINED, ids=lambda entry: entry.name)
def test_code_of_a_method_trains_saves_loads_and_merges(entry: Card, tiny: Path, place: Path) -> None:
    found, names = pieces(entry), dict[str, Any]()
    torch.manual_seed(1)
    assert training_moves(found["train"], names, tiny)
    trained = outputs(names["model"], names)
    execute(found["save"], names, tiny)
    torch.manual_seed(2)
    assert torch.allclose(outputs(names["loaded"], names), trained, atol=1e-4)
    assert ("merge" in found) == (entry.peft_type is not None and finding(entry.name, MERGE).value == "yes")
    if "merge" in found:
        execute(found["merge"], names, tiny)
        assert torch.allclose(outputs(names["merged"], names), trained, atol=1e-4)
        again = transformers.AutoModelForCausalLM.from_pretrained(f"{entry.name}-merged")
        assert torch.allclose(outputs(again, names), trained, atol=1e-4)


@pytest.mark.parametrize("entry", QUANTIZED, ids=lambda entry: entry.name)
def test_code_of_a_method_trains_on_a_quantized_base(entry: Card, tiny: Path, place: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="the extra quantized is not installed")
    names: dict[str, Any] = {}
    torch.manual_seed(1)
    assert training_moves(pieces(entry)["quantized"], names, tiny)
    assert names["base"].is_loaded_in_4bit


def test_the_base_answers(tiny: Path, place: Path) -> None:
    names: dict[str, Any] = {}
    execute(pieces(card("base"))["use"], names, tiny)


def _keywords(call: ast.expr) -> dict[str, ast.expr]:
    assert isinstance(call, ast.Call)
    return {str(word.arg): word.value for word in call.keywords}


def _defaults(of: type) -> dict[str, Any]:
    def value(each: Field[Any]) -> Any:
        return each.default_factory() if each.default_factory is not MISSING else each.default

    return {each.name: value(each) for each in fields(of)}


def test_what_is_known_of_configs_without_peft_is_what_peft_says() -> None:
    for entry in TRAINED:
        if entry.peft_type is None:
            continue
        made = CLASSES[entry.peft_type]
        config_class = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(entry.peft_type)]
        assert getattr(peft, made.name) is config_class
        defaults = _defaults(config_class)
        assert {name: defaults[name] for name in made.defaults} == dict(made.defaults), made.name
    for name in NESTED.values():
        assert name in MODULES or hasattr(peft, name)


def test_code_builds_what_the_card_says(tiny: Path, place: Path) -> None:
    """The config of the code has every setting of its card, shown or left to a default."""
    for entry in TRAINED:
        if entry.peft_type is None:
            continue
        calls = [node for node in ast.walk(ast.parse(pieces(entry)["train"].code)) if isinstance(node, ast.Call)]
        shown = _keywords(next(call for call in calls if ast.unparse(call.func) == CLASSES[entry.peft_type].name))
        defaults = _defaults(PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(entry.peft_type)])
        for name, value in {**entry.config, **entry.knobs}.items():
            if name in NESTED:
                inside = _keywords(shown[name])
                assert {key: ast.literal_eval(inside[key]) for key in value} == value, f"{entry.name}: {name}"
            elif name in shown:
                assert ast.literal_eval(shown[name]) == value, f"{entry.name}: {name}"
            elif name not in ("progressbar", "init_kv_cache_prefix"):
                assert defaults[name] == value, f"{entry.name}: {name}"


def test_refused_methods_have_a_reason_in_place_of_code() -> None:
    refused = [entry for entry in cards().values() if entry.refused is not None]
    assert refused
    for entry in refused:
        (only,) = snippets_of(entry)
        assert only.code == ""
        assert str(entry.refused) in only.about
        assert getattr(peft, only.about.rpartition("In peft: ")[2].rstrip("."))


@pytest.mark.parametrize("entry", [e for e in cards().values() if not e.refused], ids=lambda entry: entry.name)
def test_the_comparison_shown_is_a_valid_study(entry: Card, tiny: Path) -> None:
    code = pieces(entry)["peftscope"].code
    head, mark, _ = code.partition("print(ps.predict_memory")
    assert mark
    names: dict[str, Any] = {}
    execute(Snippet(key="study", title="", about="", code=head), names, tiny)
    methods = [method.name for method in names["study"].spec.methods]
    assert len(set(methods)) == 2
    assert entry.name in methods or not entry.trains or entry.name == "base"


@pytest.mark.slow
def test_the_comparison_shown_runs(tiny: Path, place: Path) -> None:
    code = pieces(card("oft"))["peftscope"].code
    for long, short in (("400", "12"), ("50", "4"), ('"test_size": 200', '"test_size": 4'), ("200,", "4,")):
        assert long in code
        code = code.replace(long, short)
    code = code.replace('tuning={"effort": "quick"}', 'tuning={"trials": 2}').replace("[0, 1, 2]", "[0]")
    execute(Snippet(key="all", title="", about="", code=code), {}, tiny)
    assert list(place.glob("results/*/records/*.json"))


def test_code_is_written_without_importing_peft() -> None:
    code = (
        "import sys; from peftscope.methods.catalog import cards; from peftscope.methods.snippets import snippets_of;"
        "[snippets_of(card) for card in cards().values()];"
        "print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_code_keeps_to_the_width_of_a_page() -> None:
    for entry in cards().values():
        for snippet in snippets_of(entry):
            assert max((len(line) for line in snippet.code.splitlines()), default=0) <= 120, snippet.code
