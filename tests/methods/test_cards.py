"""Where a search of learning rates begins follows from the base's width."""

from __future__ import annotations

import pytest

from peftscope.methods.catalog import card, cards
from peftscope.methods.catalog.narrow_rates import NARROW


def test_a_search_starts_at_the_rate_measured_for_that_width() -> None:
    rate = card("lora").rate
    assert rate is not None
    assert rate.centre(256) == pytest.approx(NARROW["lora"])
    assert rate.centre(3072) == pytest.approx(rate.default)
    assert rate.default < rate.centre(1024) < NARROW["lora"]
    assert rate.centre(64) == rate.centre(256)
    assert rate.centre(8192) == rate.centre(3072)


def test_a_search_without_width_starts_mid_range() -> None:
    lora, frod = card("lora").rate, card("frod").rate
    assert lora is not None
    assert frod is not None
    assert lora.centre(None) == pytest.approx((lora.low * lora.high) ** 0.5)
    assert "frod" not in NARROW
    assert frod.centre(256) == pytest.approx((frod.low * frod.high) ** 0.5)


def test_every_measured_rate_belongs_to_a_trainable_method() -> None:
    assert set(NARROW) <= {name for name, entry in cards().items() if entry.trains}
    assert len(NARROW) >= 60
