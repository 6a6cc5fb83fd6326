"""The real llama.cpp with a model, and perhaps a LoRA on it, asked for tokens by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["LlamaCpp"]


class LlamaCpp:
    """llama.cpp with a model, and perhaps a LoRA on it."""

    def __init__(self, model: Path, lora: Path | None = None, *, scale: float = 1.0) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(model)
        params.n_ctx, params.n_parallel, params.warmup, params.verbosity = 1024, 1, False, -1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        if lora is not None:
            params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(lora), scale)]
        self.server = xllamacpp.Server(params)

    def continued(self, prompt: Sequence[int], count: int) -> list[int]:
        """Greedy tokens after a prompt."""
        return [each["id"] for each in self._tokens(prompt, count, 1)]

    def logprobs(self, prompt: Sequence[int], most: int) -> dict[int, float]:
        """Log probability of the likeliest next tokens, by id."""
        (first,) = self._tokens(prompt, 1, most)
        return {each["id"]: each["logprob"] for each in first["top_logprobs"]}

    def _tokens(self, prompt: Sequence[int], count: int, most: int) -> list[dict[str, Any]]:
        asked = {"prompt": list(prompt), "n_predict": count, "n_probs": most, "temperature": 0.0, "ignore_eos": True}
        answer = self.server.handle_completions(asked)
        assert "error" not in answer, answer
        found: list[dict[str, Any]] = answer["choices"][0]["logprobs"]["content"]
        return found
