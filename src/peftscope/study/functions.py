"""What can be asked without a study: what fits, and which methods there are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from peftscope.schema.request import Request

if TYPE_CHECKING:
    from peftscope.study.footprints import Footprints
    from peftscope.study.method_list import MethodList

__all__ = ["methods", "predict_memory"]


def predict_memory(
    model: str | None = None,
    methods: str | Iterable[str] | None = None,
    *,
    study: str | Path | None = None,
    experiments: str | Path | None = None,
    batch_size: int | None = None,
    seq_len: int | None = None,
    eval_batch_size: int | None = None,
    dtype: str | None = None,
    quantization: str | None = None,
    optimizer: str = "adamw",
    checkpointing: bool | None = None,
    memory: str | None = None,
    device: str = "accelerator",
    tflops: float | None = None,
    max_memory: str | float | None = None,
    quiet: bool = False,
) -> Footprints:
    """Predict parameters, checkpoint size and peak memory of methods on a model, from its config alone.

    No weights are downloaded. ``frame()`` of the answer has one row per method, the smallest peak first.

    Args:
        model: Hub id, model folder, config.json, GGUF file or ``builtin:NAME``.
        methods: Names; ``all`` for variants, too; one per ``peft`` type where None.
        study: A study.yaml, whose model, methods and training are asked about.
        experiments: A folder with experiment folders of the public benchmark in it.
        batch_size: Samples in a micro-batch; 4 where None.
        seq_len: Tokens in the longest sequence, or an image's pixels; 512 where None.
        eval_batch_size: Sequences answered at once in scoring.
        dtype: Of the weights: ``bf16``, ``fp16`` or ``fp32``.
        quantization: Of the base: ``nf4`` or ``int8``.
        optimizer: ``adamw``, ``adamw-8bit``, ``sgd`` or ``adafactor``; methods with one of their own keep it.
        checkpointing: Recompute activations.
        memory: Setting of the training: ``plain``, ``fast``, ``lean`` or ``minimal``; None is the study's, or plain.
        device: ``accelerator`` (what its allocator reserves) or ``cpu`` (what the process holds).
        tflops: What the device does of 10¹² operations a second; gives times.
        max_memory: What there is, such as ``12GB``, or in bytes; says what fits.
        quiet: Show no progress.

    Raises:
        SpecError: With every argument that is wrong.
        ModelError: There is no such model, or it is none that can be predicted.

    >>> found = predict_memory("builtin:nano-lm", ["lora", "ia3"], max_memory="1GB", quiet=True)
    >>> [(row["name"], row["fits"]) for row in found.document()["methods"]]
    [('ia3', True), ('lora', True)]
    """
    from peftscope.study.footprints import FootprintRequest, predict

    asked = FootprintRequest(
        model=model,
        methods=methods if methods is None or isinstance(methods, str) else tuple(methods),
        study=None if study is None else Path(study),
        experiments=None if experiments is None else Path(experiments),
        batch_size=batch_size,
        seq_len=seq_len,
        eval_batch_size=eval_batch_size,
        dtype=dtype,
        quantization=quantization,
        optimizer=optimizer,
        checkpointing=checkpointing,
        memory=memory,
        device=device,
        tflops=tflops,
        max_memory=max_memory,
    )
    return predict(asked, Request("predict_memory"), quiet=quiet)


def methods(name: str | None = None, *, family: str | None = None) -> MethodList:
    """Methods by name, each with its card: what it is, its settings, its learning rate and where that is from.

    Args:
        name: One method, to see its whole card.
        family: Only methods of this family.

    Raises:
        SpecError: There is no such method or family.

    >>> methods()["lora"].peft_type
    'LORA'
    >>> methods("oft").frame()["name"].tolist()
    ['oft']
    """
    from peftscope.study.method_list import methods_of

    return methods_of(name, Request("methods"), family=family)
