"""What the tests of this room share."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from tiny import tiny_llama, tiny_tokenizer


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own for every test; the user's is never touched."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("PEFTSCOPE_CACHE", str(folder))
    return folder


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


@pytest.fixture
def llama() -> LlamaForCausalLM:
    # Weights larger than usual, so that an answer depends on all of its prompt.
    return tiny_llama(initializer_range=0.2)


@pytest.fixture
def saved(llama: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    """Folder of a saved tiny model with its tokenizer."""
    folder = tmp_path / "tiny"
    llama.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
