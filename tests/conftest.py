"""Fixtures for all tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import tiny

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with BOS and EOS and no pad token."""
    return tiny.tiny_tokenizer()


@pytest.fixture
def tiny_llama() -> Callable[..., LlamaForCausalLM]:
    """Makes a tiny Llama; see ``tiny.tiny_llama``."""
    return tiny.tiny_llama


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no {SHARED_DATA}: the real data sets are not on this machine")
    return SHARED_DATA
