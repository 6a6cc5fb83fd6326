"""What code for a method is written with: classes of ``peft``, their defaults, names of a Llama's layers.

Data, so that code is written without an import of ``peft``, which takes seconds; a test holds them against ``peft``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CLASSES", "MODULES", "NESTED", "NOT_SHOWN", "ConfigClass", "Needed", "needed_of"]


@dataclass(frozen=True, kw_only=True)
class ConfigClass:
    """The class of a config."""

    name: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Fields that a card may set and that go without saying where it sets them so; sizes are always said."""


_LORA = {"lora_dropout": 0.0, "bias": "none"}
_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_READERS = [name for name in _LINEAR if name not in ("o_proj", "down_proj")]

CLASSES: Mapping[str, ConfigClass] = {
    "LORA": ConfigClass(name="LoraConfig", defaults=_LORA),
    "ADALORA": ConfigClass(
        name="AdaLoraConfig",
        defaults={
            "lora_alpha": 8,
            "lora_dropout": 0.0,
            "beta1": 0.85,
            "beta2": 0.85,
            "orth_reg_weight": 0.5,
            "deltaT": 1,
        },
    ),
    "LOHA": ConfigClass(name="LoHaConfig", defaults={"rank_dropout": 0.0, "module_dropout": 0.0}),
    "LOKR": ConfigClass(
        name="LoKrConfig",
        defaults={"decompose_both": False, "decompose_factor": -1, "rank_dropout": 0.0, "module_dropout": 0.0},
    ),
    "MISS": ConfigClass(name="MissConfig", defaults={"r": 64, "miss_dropout": 0.0}),
    "HIRA": ConfigClass(name="HiraConfig", defaults={"hira_dropout": 0.0}),
    "DELORA": ConfigClass(name="DeloraConfig", defaults={"module_dropout": 0.0}),
    "GRALORA": ConfigClass(name="GraloraConfig", defaults={"hybrid_r": 0, "gralora_dropout": 0.0}),
    "GLORA": ConfigClass(name="GloraConfig"),
    "LILY": ConfigClass(name="LilyConfig"),
    "PEANUT": ConfigClass(name="PeanutConfig"),
    "DEFT": ConfigClass(name="DeftConfig", defaults={"alpha": None, "deft_dropout": 0.0}),
    "ADAMSS": ConfigClass(name="AdamssConfig"),
    "OSF": ConfigClass(name="OSFConfig"),
    "SHADOW": ConfigClass(name="ShadowConfig"),
    "VERA": ConfigClass(name="VeraConfig", defaults={"vera_dropout": 0.0, "save_projection": True}),
    "PVERA": ConfigClass(
        name="PveraConfig",
        defaults={"pvera_dropout": 0.0, "save_projection": True, "sample_at_inference": False},
    ),
    "RANDLORA": ConfigClass(
        name="RandLoraConfig",
        defaults={"randlora_dropout": 0.0, "save_projection": True, "sparse": False, "very_sparse": False},
    ),
    "VBLORA": ConfigClass(
        name="VBLoRAConfig",
        defaults={"vblora_dropout": 0.0, "init_vector_bank_bound": 0.02, "init_logits_std": 0.1},
    ),
    "UNILORA": ConfigClass(name="UniLoraConfig", defaults={"unilora_dropout": 0.0, "init_theta_d_bound": 0.02}),
    "TINYLORA": ConfigClass(name="TinyLoraConfig", defaults={"tinylora_dropout": 0.0, "init_v_bound": 0.02}),
    "FROD": ConfigClass(name="FrodConfig", defaults={"frod_dropout": 0.0, "save_projection": True}),
    "OFT": ConfigClass(name="OFTConfig", defaults={"r": 0, "module_dropout": 0.0, "block_share": False}),
    "BOFT": ConfigClass(name="BOFTConfig", defaults={"boft_block_num": 0, "boft_dropout": 0.0}),
    "HRA": ConfigClass(name="HRAConfig", defaults={"apply_GS": False}),
    "PSOFT": ConfigClass(
        name="PsoftConfig",
        defaults={
            "psoft_dropout": 0.0,
            "ab_svd_init": "psoft_init",
            "psoft_orth": True,
            "psoft_mag_a": True,
            "psoft_mag_b": True,
        },
    ),
    "ROAD": ConfigClass(name="RoadConfig"),
    "FOURIERFT": ConfigClass(name="FourierFTConfig"),
    "WAVEFT": ConfigClass(name="WaveFTConfig", defaults={"use_idwt": True, "proportional_parameters": False}),
    "C3A": ConfigClass(name="C3AConfig", defaults={"init_weights": "xavier_uniform"}),
    "IA3": ConfigClass(name="IA3Config"),
    "SHIRA": ConfigClass(name="ShiraConfig"),
    "SUPERTUNING": ConfigClass(name="SupertuningConfig", defaults={"r": None, "lora_dropout": 0.0}),
    "LN_TUNING": ConfigClass(name="LNTuningConfig"),
    "TRAINABLE_TOKENS": ConfigClass(name="TrainableTokensConfig"),
    "BEFT": ConfigClass(name="BeftConfig"),
    "PROMPT_TUNING": ConfigClass(name="PromptTuningConfig"),
    "P_TUNING": ConfigClass(name="PromptEncoderConfig", defaults={"encoder_dropout": 0.0}),
    "PREFIX_TUNING": ConfigClass(name="PrefixTuningConfig", defaults={"init_weights": None}),
    "CARTRIDGE": ConfigClass(name="CartridgeConfig"),
    "ADAPTION_PROMPT": ConfigClass(name="AdaptionPromptConfig"),
    # refused ones, for what is said of them
    "XLORA": ConfigClass(name="XLoraConfig"),
    "POLY": ConfigClass(name="PolyConfig"),
    "MULTITASK_PROMPT_TUNING": ConfigClass(name="MultitaskPromptTuningConfig"),
    "CPT": ConfigClass(name="CPTConfig"),
}
"""By ``peft`` type."""

NESTED: Mapping[str, str] = {
    "kasa_config": "KasaConfig",
    "use_bdlora": "BdLoraConfig",
    "velora_config": "VeloraConfig",
    "monteclora_config": "MontecloraConfig",
    "eva_config": "EvaConfig",
    "corda_config": "CordaConfig",
    "lora_ga_config": "LoraGAConfig",
}
"""Fields that hold a config of their own, and its class."""

MODULES: Mapping[str, str] = {"CordaConfig": "peft.tuners.lora.config"}
"""Where a class lies that ``peft`` itself does not name."""

NOT_SHOWN = frozenset({"progressbar", "init_kv_cache_prefix"})
"""What cards set for peftscope's own sake, or what no config has."""


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What a config is told beside what its card says, as text of code by field."""

    fields: Mapping[str, str] = field(default_factory=dict)
    nested: Mapping[str, str] = field(default_factory=dict)
    """Fields of the config inside it."""


_ALL = Needed(fields={"target_modules": '"all-linear"'})
_NAMED = Needed(fields={"target_modules": json.dumps(_LINEAR)})
# Both look for the layers before peft has read the word all-linear.
_BY_CARD: Mapping[str, Needed] = {
    "corda": _NAMED,
    "lora-ga": _NAMED,
    "bd-lora": Needed(
        fields=_ALL.fields,
        nested={
            "target_modules_bd_a": json.dumps(["o_proj", "down_proj"]),
            "target_modules_bd_b": json.dumps(_READERS),
        },
    ),
}
_BY_TYPE: Mapping[str, Needed] = {
    "ADALORA": Needed(
        fields={
            **_ALL.fields,
            "total_step": "TOTAL_STEPS",
            "tinit": "TOTAL_STEPS * 4 // 100",
            "tfinal": "TOTAL_STEPS // 10",
        }
    ),
    "IA3": Needed(fields={**_NAMED.fields, "feedforward_modules": json.dumps(["down_proj"])}),
    "LN_TUNING": Needed(
        fields={"target_modules": json.dumps(["input_layernorm", "post_attention_layernorm", "norm"])},
    ),
    "TRAINABLE_TOKENS": Needed(
        fields={"token_indices": "[tokenizer.bos_token_id, tokenizer.eos_token_id]"},
    ),
    "ADAPTION_PROMPT": Needed(fields={"adapter_layers": "base.config.num_hidden_layers"}),
}


def needed_of(name: str, peft_type: str, *, follows_policy: bool) -> Needed:
    """What a config is told on a Llama beside what its card says.

    Args:
        name: Of the card.
        peft_type: Its.
        follows_policy: Whether it adapts the linear layers of the blocks, all of them.
    """
    found = _BY_CARD.get(name) or _BY_TYPE.get(peft_type)
    return found or (_ALL if follows_policy else Needed())
