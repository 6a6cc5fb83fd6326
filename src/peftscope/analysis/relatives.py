"""Relatives of the method a user has: what of it to change, rather than another method to learn."""

from __future__ import annotations

from collections.abc import Mapping

from peftscope.analysis.recommendation import Recommendation, Relative
from peftscope.analysis.traits import Traits, setting_of
from peftscope.analysis.verdict import Candidate
from peftscope.schema.record import RunRecord

__all__ = ["relatives"]


def relatives(
    found: Recommendation, have: str, *, traits: Mapping[str, Traits], records: Mapping[str, RunRecord]
) -> tuple[Relative, ...]:
    """Relatives of what the user has among the choice and those tied with it, each method once.

    Args:
        found: The recommendation.
        have: Name of the method the user has.
        traits: What methods can do, by their names.
        records: Method -> one of its final runs, which tells the settings it ran with.
    """
    choice = found.choice
    if choice is None or choice.is_base or have not in traits or choice.card == have:
        return ()
    own, verdict = traits[have], found.verdict
    had = {c.method: records[c.method] for c in verdict.candidates if _ran(c, have) and c.method in records}
    root = own.variant_of or own.name
    kin: list[Relative] = []
    for candidate in [choice, *(verdict.candidate(tie.method) for tie in found.ties)]:
        known = traits.get(candidate.card)
        if known is None or known.name == have or (known.variant_of or known.name) != root:
            continue
        if any(other.card == known.name for other in kin):
            continue
        against, knobs = _set_apart(records.get(candidate.method), had, own, traits)
        kin.append(
            Relative(
                method=candidate.method,
                card=known.name,
                have=have,
                is_choice=candidate is choice,
                settings={k: v for k, v in known.settings.items() if own.settings.get(k) != v},
                knobs=knobs,
                against=against,
                optimizer=known.optimizer if known.optimizer != own.optimizer else None,
                starts_from_data=known.starts_from_data,
                changes_base=known.changes_base,
            )
        )
    return tuple(kin)


def _ran(candidate: Candidate, method: str) -> bool:
    return candidate.card == method and candidate.score is not None


def _set_apart(
    record: RunRecord | None, had: Mapping[str, RunRecord], own: Traits, traits: Mapping[str, Traits]
) -> tuple[str | None, dict[str, tuple[object, object]]]:
    """What a relative is set against, and the settings in which it ran otherwise.

    Args:
        record: A run of the relative.
        had: Runs of what the user has, by their methods; of several the one least different counts.
        own: What the user has; its card counts where it did not run.
        traits: What methods can do, by their names.
    """
    if record is None:
        return None, {}
    known = traits[record.spec.method.name]
    keys = dict.fromkeys([*known.knobs, *own.knobs, *record.spec.method.knobs])
    if not had:
        on_card = {key: own.knobs[key] for key in keys if key in own.knobs}
        return None, _differing(record, on_card, known, traits)
    by_method = {}
    for method, other in had.items():
        settings = {key: setting_of(other, traits, key) for key in dict.fromkeys([*keys, *other.spec.method.knobs])}
        by_method[method] = _differing(record, settings, known, traits)
    nearest = min(by_method, key=lambda method: len(by_method[method]))
    return nearest, by_method[nearest]


def _differing(
    record: RunRecord, others: Mapping[str, object], known: Traits, traits: Mapping[str, Traits]
) -> dict[str, tuple[object, object]]:
    """Settings known of both and not the same, those that make the method what it is left out."""
    values = {key: (setting_of(record, traits, key), other) for key, other in others.items()}
    return {
        key: pair
        for key, pair in values.items()
        if key not in known.settings and None not in pair and pair[0] != pair[1]
    }
