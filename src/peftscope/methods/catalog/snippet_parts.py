"""Lines that code for a method on a language model is put together from.

Names in them: ``base`` the model, ``config`` the method's, ``model`` both together, ``batch`` a tokenized text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "ATTACH",
    "BASE_USED",
    "COMPARED",
    "FULL_LOADED",
    "LOAD",
    "LOADED",
    "LOAD_BASE",
    "LOAD_QUANTIZED",
    "LOAD_WHOLE",
    "MERGED",
    "MODEL",
    "OPTIMIZERS",
    "PACKED",
    "PENALTIES",
    "SAVED",
    "SAVE_CONVERTED",
    "SAVE_START",
    "SHORT_TEXT",
    "STARTS",
    "STEP_HOOKS",
    "TASK_TYPE",
    "TEXT",
    "Part",
]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some lines, and the imports they need."""

    lines: str
    imports: tuple[str, ...] = ()
    """``module:name``, or ``module`` for the whole of it."""
    before: str = ""
    """Lines that stand above the config."""


MODEL = "meta-llama/Llama-3.2-3B"
TASK_TYPE = "CAUSAL_LM"
AUTO = ("transformers:AutoModelForCausalLM", "transformers:AutoTokenizer")

LOAD = Part(
    lines="""\
tokenizer = AutoTokenizer.from_pretrained(MODEL)
base = AutoModelForCausalLM.from_pretrained(MODEL, dtype="auto", device_map="auto")
""",
    imports=AUTO,
)
LOAD_WHOLE = Part(
    lines="""\
tokenizer = AutoTokenizer.from_pretrained(MODEL)
# float32: steps this small are lost in the rounding of bfloat16
model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32, device_map="auto")
""",
    imports=AUTO,
)
LOAD_BASE = Part(lines=LOAD.lines.replace("base =", "model ="), imports=AUTO)
LOAD_QUANTIZED = Part(
    lines="""\
tokenizer = AutoTokenizer.from_pretrained(MODEL)
base = AutoModelForCausalLM.from_pretrained(
    MODEL,
    quantization_config=BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    ),
    device_map="auto",
)
base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
""",
    imports=(*AUTO, "transformers:BitsAndBytesConfig", "peft:prepare_model_for_kbit_training"),
)
PACKED = """\
for module in base.modules():
    if hasattr(module, "support_avx512bf16_for_cpu"):  # on such CPUs a pass in eval mode packs weights for inference
        module.support_avx512bf16_for_cpu = False
"""
"""Before a start that passes data through a quantized base."""

SHORT_TEXT = """\
# in practice: batches of your own data
text = "Question: Tom has 3 boxes of 12 pencils. How many pencils does he have?\\nAnswer: 3 * 12 = 36"
batch = tokenizer(text, return_tensors="pt").to(model.device)
batch["labels"] = batch["input_ids"].clone()
"""
TEXT = """\
# in practice: some dozens of batches of your own data, of which the method starts
text = (
    "Question: Tom has 3 boxes with 12 pencils in each of them. He gives 7 pencils to his sister, buys 2 more boxes "
    "of the same size, and loses 4 pencils on the way home. How many pencils does Tom have at the end of the day?\\n"
    "Answer: In 3 boxes are 3 * 12 = 36 pencils. Without those for his sister he has 36 - 7 = 29. In 2 more boxes "
    "are 2 * 12 = 24, so that he has 29 + 24 = 53. He loses 4 of them: 53 - 4 = 49. The answer is 49."
)
batch = tokenizer(text, return_tensors="pt").to(base.device)
batch["labels"] = batch["input_ids"].clone()
"""

ATTACH = Part(lines="model = get_peft_model(base, config)\n", imports=("peft:get_peft_model",))

STARTS: Mapping[str, Part] = {
    "eva": Part(
        lines="""\
model = get_peft_model(base, config, low_cpu_mem_usage=True)
initialize_lora_eva_weights(model, [dict(batch)])  # takes as many tokens in each batch as r * rho, or more
""",
        imports=("peft:get_peft_model", "peft:initialize_lora_eva_weights"),
    ),
    "corda": Part(
        lines="""\

def run_model():
    with torch.no_grad():
        base(**batch)  # one text at a time, without padding


preprocess_corda(base, config, run_model=run_model)
model = get_peft_model(base, config)
""",
        imports=("peft:get_peft_model", "peft.tuners.lora.corda:preprocess_corda"),
    ),
    "lora-ga": Part(
        lines="""\

def train_step():
    base(**batch).loss.backward()


base.enable_input_require_grads()
preprocess_loraga(base, config, train_step)
base.disable_input_require_grads()
base.zero_grad()
model = get_peft_model(base, config)
""",
        imports=("peft:get_peft_model", "peft.tuners.lora.loraga:preprocess_loraga"),
    ),
    "kv-prefix": Part(
        lines="""\
model = get_peft_model(base, config)
# at least as many tokens as there are virtual ones
start = (
    "The following is a careful and helpful answer. It first works out what is being asked, then goes "
    "through the problem one step at a time, and states the result plainly at the end."
)
initialize_kv_prefix_from_text(model, tokenizer, text=start, use_chat_template=False)
""",
        imports=("peft:get_peft_model", "peft:initialize_kv_prefix_from_text"),
    ),
}
"""By ``Card.init``."""

TRAINED = "[p for p in model.parameters() if p.requires_grad]"
OPTIMIZERS: Mapping[str | None, Part] = {
    None: Part(
        lines=f"optimizer = torch.optim.AdamW({TRAINED}, lr={{rate}}, weight_decay=0.0)\n",
        imports=("torch",),
    ),
    "lora-fa": Part(
        lines="""\
# freezes the first matrix of every pair
optimizer = create_lorafa_optimizer(model=model, r=config.r, lora_alpha=config.lora_alpha, lr={rate})
""",
        imports=("peft.optimizers:create_lorafa_optimizer",),
    ),
    "lora-plus": Part(
        lines="""\
# the second matrix of every pair learns {ratio} times as fast as the first
optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, lr={rate}, loraplus_lr_ratio={ratio})
""",
        imports=("torch", "peft.optimizers:create_loraplus_optimizer"),
    ),
    "lora-riemannian": Part(
        lines="optimizer = create_riemannian_optimizer(model, torch.optim.AdamW, lr={rate}, weight_decay=0.0)\n",
        imports=("torch", "peft.optimizers:create_riemannian_optimizer"),
    ),
}
"""By ``Card.optimizer``."""

STEP_HOOKS: Mapping[str, Part] = {
    "adalora": Part(
        lines="model.base_model.update_and_allocate(step)  # before the gradients are cleared\n",
        before="TOTAL_STEPS = 1000  # optimizer steps of the whole training, over which the ranks are shared out\n",
    ),
    "adamss": Part(lines="model.base_model.update_and_allocate(step)  # before the gradients are cleared\n"),
}
"""By ``Card.step_hook``."""

PENALTIES: Mapping[str, Part] = {
    "adalora": Part(lines=""),  # peft adds it to the loss of a model that is given labels
    "kasa": Part(lines="loss = loss + model.base_model._get_kasa_loss()  # peft leaves adding it to you\n"),
    "monteclora": Part(lines="loss = loss + model.base_model._get_monteclora_loss()  # peft leaves adding it to you\n"),
}
"""By ``Card.penalty``."""

SAVE_START = """\
# before training: what the base was changed by comes from data, and is needed to undo it when saving
model.peft_config["default"].init_lora_weights = True
model.save_pretrained("{name}-start")
"""
SAVED = 'model.save_pretrained("{name}-adapter")\n'
SAVE_CONVERTED = """\
# as an ordinary adapter of twice the rank for the original base
model.save_pretrained("{name}-adapter", path_initial_model_for_weight_conversion="{name}-start")
"""
LOADED = Part(
    lines="""\
# later, on the original base
base = AutoModelForCausalLM.from_pretrained(MODEL, dtype="auto", device_map="auto")
loaded = PeftModel.from_pretrained(base, "{name}-adapter")
loaded.eval()
""",
    imports=("peft:PeftModel", AUTO[0]),
)
FULL_LOADED = Part(
    lines="""\
model.save_pretrained("{name}-model")
tokenizer.save_pretrained("{name}-model")

# later
loaded = AutoModelForCausalLM.from_pretrained("{name}-model", dtype="auto", device_map="auto")
loaded.eval()
""",
    imports=(AUTO[0],),
)
MERGED = """\
merged = model.merge_and_unload()  # takes `model` apart: an ordinary model remains, as fast as the base
merged.save_pretrained("{name}-merged")
tokenizer.save_pretrained("{name}-merged")
"""
BASE_USED = """\
prompt = tokenizer("Tom has 3 boxes of 12 pencils. How many pencils does he have?\\nAnswer:", return_tensors="pt")
written = model.generate(**prompt.to(model.device), max_new_tokens=20)
print(tokenizer.decode(written[0], skip_special_tokens=True))
"""
COMPARED = """\
import peftscope as ps

MODEL = "{model}"
study = ps.Study(
    name="{study}",
    model=MODEL,
    task={{"name": "math", "source": "procedural", "train_size": 400, "valid_size": 50, "test_size": 200}},
    methods={methods},
    tuning={{"effort": "quick"}},  # every method's learning rate is searched, with the same budget
    seeds=[0, 1, 2],
    train={{"max_steps": 200, "batch_size": 4}},
)
print(ps.predict_memory(MODEL, {methods}))  # before anything is downloaded or run

study.run()
print(study.recommend())
"""
