"""Checkpoints that are damaged, or not what the model has, are refused; none is a pickle."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from peftscope.errors import StoreError
from peftscope.methods import catalog, checkpoint
from peftscope.methods.build import Built, build
from peftscope.schema.study import MethodSpec

Make = Callable[..., Any]
LORA = catalog.card("lora")


@pytest.fixture
def saved(make_base: Make, context: Make, tmp_path: Path) -> Path:
    checkpoint.save(build(make_base(), MethodSpec(name="lora"), context()), tmp_path)
    return tmp_path


def _rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    state = load_file(folder / "adapter_model.safetensors")
    change(state)
    save_file(state, folder / "adapter_model.safetensors")


def test_the_checkpoint_size_is_the_size_of_the_weight_files(make_base: Make, context: Make, tmp_path: Path) -> None:
    for name, files in {
        "lora": {"adapter_model.safetensors"},
        "corda": {"adapter_model.safetensors", "initial_adapter.safetensors"},
        "full": {"model.safetensors"},
    }.items():
        knobs = {} if name == "full" else {"r": 8}
        size = checkpoint.save(build(make_base(), MethodSpec(name=name, knobs=knobs), context()), tmp_path / name)
        written = set((tmp_path / name).glob("*.safetensors"))
        assert {path.name for path in written} == files
        assert size == sum(path.stat().st_size for path in written)
        assert not list((tmp_path / name).glob("*.bin"))


def test_an_adapter_names_its_base_and_is_readable_as_other_files_are(
    make_base: Make, context: Make, tmp_path: Path
) -> None:
    built = build(make_base(), MethodSpec(name="lora"), context())
    checkpoint.save(built, tmp_path / "adapter", base="someone/base", revision="abc")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("someone/base", "abc")
    (tmp_path / "other").write_text("as the system writes files")
    mode = (tmp_path / "other").stat().st_mode
    assert {path.stat().st_mode for path in (tmp_path / "adapter").iterdir()} == {mode}


@pytest.mark.parametrize("cast", [True, False])
def test_an_adapter_on_a_half_precision_base_reloads_with_its_dtype(
    cast: bool, make_base: Make, context: Make, batch: Make, tmp_path: Path
) -> None:
    base = make_base().to(torch.bfloat16)
    spec = MethodSpec(name="pissa", knobs={"r": 8})
    built = build(base, spec, context(autocast_adapter_dtype=cast))
    inputs = {"input_ids": batch(0)["input_ids"]}
    with torch.no_grad():
        reference = built.model.eval()(**inputs).logits
        checkpoint.save(built, tmp_path)
        loaded = checkpoint.load(make_base().to(torch.bfloat16), tmp_path, built.card)
        assert torch.equal(loaded(**inputs).logits, reference)
    kinds = {p.dtype for name, p in loaded.named_parameters() if "lora_" in name}
    assert kinds == {p.dtype for name, p in built.model.named_parameters() if "lora_" in name}
    assert kinds == ({torch.float32} if cast else {torch.bfloat16})


def test_a_missing_weight_is_detected(saved: Path, make_base: Make) -> None:
    _rewrite(saved, lambda state: state.pop(sorted(state)[0]))
    with pytest.raises(StoreError, match="missing"):
        checkpoint.load(make_base(), saved, LORA)


def test_a_surplus_weight_is_detected(saved: Path, make_base: Make) -> None:
    _rewrite(saved, lambda state: state.update(surplus=torch.ones(2)))
    with pytest.raises(StoreError, match="surplus"):
        checkpoint.load(make_base(), saved, LORA)


def test_a_weight_of_the_wrong_shape_is_detected(saved: Path, make_base: Make) -> None:
    _rewrite(saved, lambda state: state.update({sorted(state)[0]: torch.ones(2, 2)}))
    with pytest.raises(StoreError, match="does not fit"):
        checkpoint.load(make_base(), saved, LORA)


def test_a_truncated_file_is_named(saved: Path, make_base: Make) -> None:
    path = saved / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"adapter_model\.safetensors"):
        checkpoint.load(make_base(), saved, LORA)


def test_a_pickle_is_never_read(saved: Path, make_base: Make) -> None:
    state = load_file(saved / "adapter_model.safetensors")
    torch.save(state, saved / "adapter_model.bin")
    (saved / "adapter_model.safetensors").unlink()
    with pytest.raises(StoreError, match=r"adapter_model\.safetensors"):
        checkpoint.load(make_base(), saved, LORA)


def test_an_absent_folder_is_not_looked_up_on_the_hub(make_base: Make, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not there"):
        checkpoint.load(make_base(), tmp_path / "nobody" / "nothing", LORA)


def test_all_weights_must_fit_the_model(make_base: Make, context: Make, tmp_path: Path) -> None:
    full = build(make_base(), MethodSpec(name="full"), context())
    checkpoint.save(full, tmp_path)
    with pytest.raises(StoreError, match="does not fit"):
        checkpoint.load(make_base(num_hidden_layers=3), tmp_path, full.card)


def test_a_folder_that_cannot_be_written_is_named(make_base: Make, context: Make, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    built: Built = build(make_base(), MethodSpec(name="lora"), context())
    with pytest.raises(StoreError, match="taken"):
        checkpoint.save(built, tmp_path / "taken")


def test_the_saved_config_describes_the_method(saved: Path) -> None:
    config = json.loads((saved / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert config["r"] == 32
    assert config["inference_mode"] is True
