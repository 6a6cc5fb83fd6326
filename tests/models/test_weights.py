from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from peftscope.errors import ModelError
from peftscope.models import weights
from peftscope.models.weights import hash_weights, weight_files


def test_the_hash_changes_with_a_weight_and_with_nothing_else(saved: Path) -> None:
    before = hash_weights(weight_files(saved, "tiny"))
    (saved / "README.md").write_text("changed")
    (saved / "other.safetensors").write_bytes(b"not loaded")
    os.utime(saved / "model.safetensors", (0, 0))
    assert hash_weights(weight_files(saved, "tiny")) == before

    tensors = load_file(saved / "model.safetensors")
    tensors["model.norm.weight"][0] += 1
    save_file(tensors, saved / "model.safetensors", metadata={"format": "pt"})
    assert hash_weights(weight_files(saved, "tiny")) != before


def test_a_file_is_hashed_again_only_when_touched(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    true_hash = weights.file_sha256
    monkeypatch.setattr(weights, "file_sha256", lambda path: read.append(path) or true_hash(path))
    files = weight_files(saved, "tiny")
    assert hash_weights(files) == hash_weights(files)
    assert len(read) == 1
    # Same size and modification time, other content.
    stat = files[0].stat()
    content = bytearray(files[0].read_bytes())
    content[-1] ^= 1
    files[0].write_bytes(content)
    os.utime(files[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    hash_weights(files)
    assert len(read) == 2


def test_hashing_works_without_a_writable_cache(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = weight_files(saved, "tiny")
    expected = hash_weights(files)
    monkeypatch.setenv("PEFTSCOPE_CACHE", str(files[0]))
    assert hash_weights(files) == expected


def test_every_shard_of_the_index_is_hashed(llama: LlamaForCausalLM, tmp_path: Path) -> None:
    llama.save_pretrained(tmp_path, max_shard_size="100KB")
    files = weight_files(tmp_path, "tiny")
    assert len(files) > 1
    before = hash_weights(files)
    assert hash_weights(files[::-1]) == before
    tensors = load_file(files[-1])
    next(iter(tensors.values())).add_(1)
    save_file(tensors, files[-1], metadata={"format": "pt"})
    assert hash_weights(files) != before

    files[0].unlink()
    with pytest.raises(ModelError, match=files[0].name):
        weight_files(tmp_path, "tiny")


def test_an_index_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "../other/model.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"\.\./other/model\.safetensors"):
        weight_files(tmp_path, "tiny")


def test_pickled_checkpoints_are_refused_with_the_reason(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin.*run any code"):
        weight_files(tmp_path, "tiny")


def test_a_folder_without_weights_reports_the_expected_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        weight_files(tmp_path, "tiny")
