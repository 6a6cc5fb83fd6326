"""``builtin:nano-t2i``: the base that draws and lies in the package, and the figures its card claims."""

from __future__ import annotations

import re
import socket
import time
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import torch

from peftscope.execution.execute import execute
from peftscope.models.builtin import BUILTINS, fetch_builtin
from peftscope.models.kinds.text_to_image.kind import TextToImage
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MeasureSpec, MethodSpec, ModelSpec, TaskSpec, TrainSpec
from peftscope.tasks.images.drawing.scenes import ATTRIBUTES

PROJECT = Path(__file__).parents[2]
MEGABYTE = 10**6
NANO = ModelSpec(source="builtin:nano-t2i", device="cpu")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The functions that measured what the card says."""
    monkeypatch.syspath_prepend(str(PROJECT / "scripts"))
    import nano_t2i_card

    return nano_t2i_card


def claimed(figure: str) -> float:
    """A figure of the card's tables."""
    text = (fetch_builtin(NANO.source) / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| {re.escape(figure)}[^|]*\| ([0-9.]+)", text, re.MULTILINE)
    assert found is not None, figure
    return float(found[1])


def test_it_loads_from_the_package_without_network_in_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    TextToImage().load(NANO)  # diffusers takes seconds to import
    monkeypatch.setattr(socket, "socket", lambda *args, **kwargs: pytest.fail("a socket was opened"))
    started = time.process_time()
    loaded = TextToImage().load(NANO)
    assert time.process_time() - started < 5
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert loaded.weights_sha256
    assert loaded.num_params / 1e6 == pytest.approx(claimed("transformer, M parameters"), abs=0.01)
    assert BUILTINS["nano-t2i"].draws


def test_its_files_are_small_and_no_pickles() -> None:
    files = [path for path in fetch_builtin(NANO.source).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 25 * MEGABYTE
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md", ".jinja", ".txt"}
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in files), "everybody can read them"


def test_its_files_and_the_classifier_are_shipped_in_the_wheel() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]
    package = PROJECT / "src" / "peftscope"
    shipped = {path for pattern in settings["package-data"]["peftscope"] for path in package.glob(pattern)}
    wanted = {path for path in (package / "models" / "nano_t2i").rglob("*") if path.is_file()}
    assert wanted | set((package / "tasks" / "images" / "drawing").glob("*.safetensors")) <= shipped


def test_its_card_claims_what_a_base_must_draw() -> None:
    assert all(claimed(attribute) >= 80 for attribute in ATTRIBUTES)
    assert claimed("all at once") >= 50


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_unseen_captions_are_drawn_as_the_card_says(card: ModuleType) -> None:
    chosen = card.captions(64)
    found = card.shares(card.drawn(card.FOLDER, chosen), chosen)
    assert all(100 * found[name] >= 80 for name in ATTRIBUTES), found
    assert 100 * found["all at once"] == pytest.approx(claimed("all at once"), abs=15)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_lora_learns_the_drawn_character_and_the_base_has_not_seen_it(tmp_path: Path) -> None:
    drawn = {"source": "drawn", "num_inference_steps": 10, "guidance_scale": 3.0, "test_size": 8, "eval_batch_size": 16}
    run = RunSpec(
        model=NANO,
        task=TaskSpec(name="concept", options=drawn),
        method=MethodSpec(name="lora"),
        learning_rate=1e-3,
        train=TrainSpec(max_steps=80, batch_size=4, warmup_fraction=0.1),
        measure=MeasureSpec(latency=False),
    )
    learned = execute(run, tmp_path / "lora")
    base = execute(run.model_copy(update={"method": MethodSpec(name="base")}), tmp_path / "base")
    assert learned.status == base.status == "ok", (learned.reason, base.reason)
    assert learned.metrics["test_score"] > base.metrics["test_score"] + 0.05
    assert base.metrics["image_drift"] == pytest.approx(0, abs=1e-6)
    assert (learned.metrics["image_drift"] or 0) > 0.01
