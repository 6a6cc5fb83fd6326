"""What every card of an adapter says: how it was trained, on what, and how it is used."""

from __future__ import annotations

from collections.abc import Iterator

from peftscope.schema.record import RunRecord
from peftscope.schema.study import TaskSpec
from peftscope.views.units import rate_text

__all__ = ["USES", "data_name", "training_lines"]

USES = {
    "peft": """\
```python
from peft import PeftModel

model = PeftModel.from_pretrained(base, "THIS_FOLDER")    # base: the model named above, as its library loads it
```

Servers load the folder as a LoRA; where they limit ranks, the limit has to be {rank} at least. The scale is in the
weights: `lora_alpha` equals the rank.""",
    "peft alone": """\
```python
from peft import PeftModel

model = PeftModel.from_pretrained(base, "THIS_FOLDER")    # base: the model named above, as its library loads it
```""",
    "vllm": """\
```console
vllm serve BASE --enable-lora --max-lora-rank {limit} --lora-modules name=THIS_FOLDER
```

`peft` loads the folder, too. The scale is in the weights: `lora_alpha` equals the rank.""",
    "gguf": """\
```console
llama-server -m BASE.gguf --lora lora.gguf
```

It goes on any GGUF file of the base, quantized or not. The scale is in the weights.""",
    "diffusers": """\
```python
pipeline.load_lora_weights("THIS_FOLDER")    # pipeline: the model named above, as diffusers loads it
```""",
    "kohya": """\
`lora.safetensors` is read by what reads files of kohya's trainers: the user interfaces that draw, and diffusers'
`load_lora_weights`. Each module has its alpha, which equals its rank.""",
    "comfy": """\
`lora.safetensors` is read by ComfyUI (LoraLoaderModelOnly) and by diffusers' `load_lora_weights`. Each module has its
alpha, which equals its rank.""",
    "merged-gguf": """\
```console
llama-server -m model.gguf
```

The whole model, not quantized; `llama-quantize` makes it smaller.""",
    "merged": """\
The folder is a whole model: `from_pretrained("THIS_FOLDER")` of the base's class loads it.""",
}
"""How each layout is used."""


def training_lines(record: RunRecord, chosen: str | None) -> Iterator[str]:
    """How a run was trained, as items of a list."""
    spec = record.spec
    if chosen:
        yield f"- chosen: {chosen}"
    yield f"- method: {spec.title}; learning rate {rate_text(spec.learning_rate)}"
    examples = spec.train.batch_size * spec.train.accumulation
    yield f"- {spec.train.max_steps} steps of {examples} examples, seed {spec.seed}"
    yield f"- data: {data_name(spec.task)}"
    if record.quality_protocol:
        yield f"- conditions that decide quality (hash): `{record.quality_protocol}`"
    if record.weights_sha256:
        yield f"- weights of the base (hash): `{record.weights_sha256}`"


def data_name(task: TaskSpec) -> str:
    """What an adapter was trained on, in words."""
    options = task.options
    source = options.get("source") or options.get("dataset") or options.get("train") or "default"
    return f"task {task.name}, {source}"
