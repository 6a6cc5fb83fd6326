"""A trained adapter, or a model trained whole -> the whole model with other weights, written and compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from peftscope.convert.fidelity import answers_of, distance, distance_of, outputs_of, same_answers
from peftscope.convert.result import Adapter, Checks, Conversion, Wish, load_base, measured, note
from peftscope.convert.strength import adapted_base
from peftscope.errors import MethodRefused, ModelError
from peftscope.methods.build import merging
from peftscope.methods.capabilities import require_mergeable
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
    require_mergeable(adapter.card.name)
    if type(adapter.kind).write is ModelKind.write:
        raise ModelError(f"models of the kind {adapter.kind.name} are not written; convert to a LoRA")
    with new_folder(output) as folder:
        checks.told("load")
        loaded = load_base(adapter)
        check = checks.verification(loaded)
        before = () if check is None else outputs_of(loaded.model, check)
        base_answers = answers_of(loaded, loaded.model, check)
        refused = partial(_refuse_shared, adapter)
        with adapted_base(adapter, loaded, wish.strength, keeps_originals=False, checked=refused) as adapted:
            del loaded
            wanted = () if check is None else outputs_of(adapted.model, check)
            answers = answers_of(adapted.loaded, adapted.model, check)
            if checks.scorer is not None:
                checks.scorer.before(adapted.model, adapted.loaded)
            checks.told("merge")
            merged: Any = adapted.model
            if adapted.card.peft_type is not None:
                with merging(adapter.card.name):
                    merged = merged.merge_and_unload()
            _write(adapter, wish, replace(adapted.loaded, model=merged), folder)
        del adapted, merged
        checks.told("compare")
        effect = None if check is None else distance_of(before, wanted, check)
        with _readable(folder) as source:
            written = adapter.kind.load(adapter.base.model_copy(update={"source": str(source), "revision": None}))
            away = None if check is None else distance(written.model, wanted, check)
            given = answers_of(written, written.model, check)
            score = None if checks.scorer is None else checks.scorer.change(written.model, written)
        found = measured(adapter, wish, output, effect, away)
        found = replace(
            found,
            figures={**found.figures, **same_answers(answers, given)},
            base_figures={**found.base_figures, **same_answers(answers, base_answers)},
            layout=wish.layout,
            score=score,
        )
        note(found, folder, checks)
        return found


def _refuse_shared(adapter: Adapter, adapted: nn.Module) -> None:
    """Refuse to merge into a weight that another module shares: it would be changed there, too."""
    names: dict[int, set[str]] = {}
    for name, weight in adapted.named_parameters(remove_duplicate=False):
        names.setdefault(id(weight), set()).add(name)
    for path, module in adapted.named_modules():
        layer: Any = module
        if not isinstance(module, BaseTunerLayer):
            continue
        if any(len(names.get(id(weight), ())) > 1 for weight in layer.get_base_layer().parameters(recurse=False)):
            where = path.rpartition("base_model.model.")[2]
            raise MethodRefused(
                f"{adapter.card.name} cannot be merged here: it is on {where}, whose weight another module shares and "
                "would be changed in; convert to the format peft"
            )


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
