"""The catalog is complete, honest about its sources, and light."""

import subprocess
import sys

import pytest
from peft import PeftType

from peftscope.errors import SpecError
from peftscope.methods import catalog
from peftscope.methods.card import Card
from peftscope.methods.hooks import PENALTIES, STEP_HOOKS
from peftscope.methods.initialisation import INITIALISATIONS
from peftscope.methods.optimizers import OPTIMIZERS

CARDS = catalog.cards()


def test_every_installed_peft_type_gets_exactly_one_base_card() -> None:
    plain = [card.peft_type for card in CARDS.values() if card.variant_of is None and card.peft_type]
    assert sorted(plain) == sorted(PeftType.__members__)


def test_the_common_variants_are_in_the_catalog() -> None:
    wanted = {
        "rslora", "dora", "pissa", "olora", "eva", "corda", "lora-fa", "lora-plus", "bd-lora", "kasa",
        "mica", "lora-riemannian", "lora-ga", "full", "base", "prefix-tuning", "prompt-tuning", "p-tuning",
        "ln-tuning",
    }  # fmt: skip
    assert wanted <= CARDS.keys()
    assert sum(card.variant_of is not None for card in CARDS.values()) >= 12


@pytest.mark.parametrize("card", CARDS.values(), ids=lambda card: card.name)
def test_a_method_card_is_complete_and_consistent(card: Card) -> None:
    assert card.summary.endswith(".")
    assert card.variant_of is None or CARDS[card.variant_of].peft_type == card.peft_type
    assert card.trains or card.refused or card.name == "base"
    if card.rate is not None:
        assert 0 < card.rate.low < card.rate.default < card.rate.high
        assert card.rate.source.where
        assert card.rate.range_source.where
    assert card.optimizer is None or card.optimizer in OPTIMIZERS
    assert card.step_hook is None or card.step_hook in STEP_HOOKS
    assert card.penalty is None or card.penalty in PENALTIES
    assert card.init is None or card.init in INITIALISATIONS


@pytest.mark.parametrize("card", [c for c in CARDS.values() if c.refused is None], ids=lambda card: card.name)
def test_method_settings_are_fields_of_the_config_or_the_initialization(card: Card) -> None:
    allowed = {*catalog.knob_names(card.name), "init_kv_cache_prefix"}
    assert card.knobs.keys() <= allowed
    assert "target_modules" not in allowed
    assert not {key for key in card.config if key not in card.knobs} & allowed


def test_an_unknown_name_gets_the_nearest_match() -> None:
    with pytest.raises(SpecError, match="did you mean 'rslora'"):
        catalog.card("rs-lora")


def test_listing_the_catalog_loads_neither_torch_nor_peft() -> None:
    code = (
        "import sys; from peftscope.methods.catalog import cards; assert len(cards()) > 60;"
        "assert not {'torch', 'peft', 'transformers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
