"""The config that ``peft`` has for a type of adapter, and the fields it takes."""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache
from typing import Any

__all__ = ["config_class", "config_fields"]


def config_class(peft_type: str) -> Any:
    """The class of a type's config.

    >>> config_class("LORA").__name__
    'LoraConfig'
    """
    from peft import PeftType
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(peft_type)]


@lru_cache
def config_fields(peft_type: str) -> frozenset[str]:
    """Names of what a type's config is made from.

    >>> "r" in config_fields("LORA"), "oft_block_size" in config_fields("LORA")
    (True, False)
    """
    return frozenset(field.name for field in fields(config_class(peft_type)) if field.init)
