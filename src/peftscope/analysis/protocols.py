"""Which protocols records were measured under, and what differs between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from peftscope.schema.difference import differences
from peftscope.schema.record import RunRecord

__all__ = ["protocol_differences"]


def protocol_differences(records: Iterable[RunRecord]) -> list[str]:
    """What differs between the conditions records were measured under, set against those of most records.

    Returns:
        Nothing where all share their conditions; else one line per protocol that differs from the commonest, with
        its constituents that do.
    """
    records = [record for record in records if record.protocol is not None]
    lines = []
    for kind in ("quality", "cost"):
        counts = Counter(getattr(record, f"{kind}_protocol") for record in records)
        examples = {getattr(record, f"{kind}_protocol"): record.protocol for record in records}
        if len(counts) < 2:
            continue
        (common, _), *others = counts.most_common()
        for name, count in others:
            before, after = examples[common], examples[name]
            assert before is not None
            assert after is not None
            found = differences(getattr(before, kind), getattr(after, kind))
            if kind == "cost" and before.quality != after.quality:
                found = [*found, "the conditions of quality"]
            runs = "1 run" if count == 1 else f"{count} runs"
            lines.append(f"{kind}: {runs} under {name[:8]} instead of {common[:8]}: {'; '.join(found)}")
    return lines
