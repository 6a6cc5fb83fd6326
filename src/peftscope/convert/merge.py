"""A trained adapter, or a model trained whole -> the whole model with other weights, written and compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from peftscope.convert.fidelity import distance, distance_of, outputs_of
from peftscope.convert.result import Adapter, Checks, Conversion, Wish, load_base, measured, note
from peftscope.errors import MethodRefused, ModelError
from peftscope.methods import checkpoint
from peftscope.methods.build import merging
from peftscope.models.gguf import unpack_gguf
from peftscope.models.kinds.base import LoadedModel, ModelKind
from peftscope.store.files import new_folder

__all__ = ["merge_adapter"]

GGUF_FILE = "model.gguf"


def merge_adapter(adapter: Adapter, output: Path, wish: Wish, checks: Checks) -> Conversion:
    """Merge into the base, write the whole model, load it again and compare.

    Args:
        adapter: What to merge; also a model that was trained whole.
        output: Folder that is made; nothing may be there.
        wish: Its tolerance alone counts.
        checks: What the result is compared on and scored by.

    Raises:
        MethodRefused: The method does not merge.
        ModelError: The base is not the one the adapter was trained on, is quantized, or of a kind that is not written.
        StoreError: The adapter is damaged, the output is there already or cannot be written.
    """
    if not adapter.card.merges:
        raise MethodRefused(
            f"{adapter.card.name} cannot be merged: what it adds depends on the input, or is put before it"
        )
    if type(adapter.kind).write is ModelKind.write:
        raise ModelError(f"models of the kind {adapter.kind.name} are not written; convert to a LoRA")
    with new_folder(output) as folder:
        checks.told("load")
        loaded = load_base(adapter)
        check = checks.verification(loaded)
        before = () if check is None else outputs_of(loaded.model, check)
        adapted = checkpoint.load(loaded.model, adapter.folder, adapter.card)
        wanted = () if check is None else outputs_of(adapted, check)
        if checks.scorer is not None:
            checks.scorer.before(adapted, loaded)
        checks.told("merge")
        merged: Any = adapted
        if adapter.card.peft_type is not None:
            with merging(adapter.card.name):
                merged = merged.merge_and_unload()
        _write(adapter, wish, replace(loaded, model=merged), folder)
        del adapted, merged, loaded
        checks.told("compare")
        effect = None if check is None else distance_of(before, wanted, check)
        with _readable(folder) as source:
            written = adapter.kind.load(adapter.base.model_copy(update={"source": str(source), "revision": None}))
            away = None if check is None else distance(written.model, wanted, check)
            score = None if checks.scorer is None else checks.scorer.change(written.model, written)
        found = replace(measured(adapter, wish, output, effect, away), layout=wish.layout, score=score)
        note(found, folder, checks)
        return found


def _write(adapter: Adapter, wish: Wish, merged: LoadedModel, folder: Path) -> None:
    if wish.layout == "merged-gguf":
        adapter.kind.write_gguf(merged, adapter.base, folder / GGUF_FILE)
    else:
        adapter.kind.write(merged, adapter.base, folder)


@contextmanager
def _readable(folder: Path) -> Iterator[Path]:
    """Where what was written is loaded from: a GGUF file is unpacked for a while."""
    if not (folder / GGUF_FILE).is_file():
        yield folder
        return
    with TemporaryDirectory(prefix="peftscope-") as place:
        unpack_gguf(folder / GGUF_FILE, Path(place))
        yield Path(place)
