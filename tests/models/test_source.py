from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import LlamaForCausalLM

from peftscope.errors import ModelError
from peftscope.models import source as sources
from peftscope.models.source import locate
from peftscope.schema.study import ModelSpec


@pytest.fixture
def hub_is_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_a_local_folder_is_used_unchanged(saved: Path) -> None:
    found = locate(ModelSpec(source=str(saved)))
    assert found.folder == saved
    assert [path.name for path in found.files] == ["model.safetensors"]
    assert found.revision is None


@pytest.mark.parametrize("name", ["Llama-3.2-1B", "meta-llama/Llama-3.2-1B"])
@pytest.mark.usefixtures("hub_is_away")
def test_an_unreachable_hub_is_reported_with_offline_alternatives(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        locate(ModelSpec(source=name))
    message = str(caught.value)
    assert name in message
    assert "cannot be reached" in message
    assert str(Path.cwd()) in message
    assert "builtin:smollm2-135m" in message


@pytest.mark.usefixtures("hub_is_away")
def test_a_misspelled_builtin_or_folder_suggests_the_closest_match(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="Did you mean 'builtin:smollm2-135m'"):
        locate(ModelSpec(source="smollm2-135m"))
    with pytest.raises(ModelError, match="did you mean 'builtin:smollm2-135m'"):
        locate(ModelSpec(source="builtin:smolm2"))
    monkeypatch.chdir(saved.parent)
    with pytest.raises(ModelError, match="Did you mean 'tiny'"):
        locate(ModelSpec(source="tinny"))


def test_a_nonexistent_path_is_never_requested_from_the_hub(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "snapshot_download", lambda *args, **kwargs: pytest.fail("asked the hub"))
    with pytest.raises(ModelError, match=r"does not exist; did you mean '.*tiny'"):
        locate(ModelSpec(source=str(saved.parent / "tyny")))
    with pytest.raises(ModelError, match="does not exist"):
        locate(ModelSpec(source="./weights.gguf"))


def test_folders_that_are_no_base_model_are_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no config"):
        locate(ModelSpec(source=str(tmp_path)))
    (saved / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="PEFT adapter"):
        locate(ModelSpec(source=str(saved)))
    with pytest.raises(ModelError, match="neither a folder nor"):
        locate(ModelSpec(source=str(saved / "config.json")))


def test_a_revision_of_something_local_is_refused(saved: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.revision"):
        locate(ModelSpec(source=str(saved), revision="main"))


class FakeHub:
    """A hub repository in a local folder; a download reveals the files that match."""

    def __init__(self, repository: Path, snapshots: Path) -> None:
        self.repository, self.snapshots = repository, snapshots
        self.asked: list[tuple[str | None, list[str]]] = []

    def download(self, name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        self.asked.append((revision, allow_patterns))
        snapshot = self.snapshots / "0123abcd"
        snapshot.mkdir(parents=True, exist_ok=True)
        for pattern in allow_patterns:
            for path in self.repository.glob(pattern):
                (snapshot / path.name).write_bytes(path.read_bytes())
        return str(snapshot)


def test_a_hub_model_is_downloaded_without_unneeded_files(
    llama: LlamaForCausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    llama.save_pretrained(tmp_path / "repo", max_shard_size="100KB")
    for unwanted in ("consolidated.safetensors", "pytorch_model.bin", "modeling_own.py"):
        (tmp_path / "repo" / unwanted).touch()
    hub = FakeHub(tmp_path / "repo", tmp_path / "snapshots")
    monkeypatch.setattr(sources, "snapshot_download", hub.download)
    found = locate(ModelSpec(source="someone/tiny", revision="main"))
    assert found.revision == "0123abcd"
    there = {path.name for path in found.folder.iterdir()}
    assert {path.name for path in found.files} < there
    assert not there & {"consolidated.safetensors", "pytorch_model.bin", "modeling_own.py"}
    # Weights come from the commit the config came from, even if the branch moves in between.
    assert [revision for revision, _ in hub.asked] == ["main", "0123abcd"]


def test_a_hub_model_without_safetensors_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")
    monkeypatch.setattr(sources, "snapshot_download", FakeHub(saved, tmp_path / "snapshots").download)
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        locate(ModelSpec(source="someone/tiny"))


def test_a_connection_lost_during_download_is_a_model_error(
    saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub = FakeHub(saved, tmp_path / "snapshots")

    def lose(name: str, **kwargs: Any) -> str:
        if hub.asked:
            raise LocalEntryNotFoundError("connection lost")
        return hub.download(name, **kwargs)

    monkeypatch.setattr(sources, "snapshot_download", lose)
    with pytest.raises(ModelError, match="connection lost"):
        locate(ModelSpec(source="someone/tiny"))
