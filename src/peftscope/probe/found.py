"""What a check says: yes with its figures, or no with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable

from peftscope.capture import Failure, capture
from peftscope.methods.capabilities import Finding
from peftscope.probe.specimen import EXACT

__all__ = ["attempted", "no", "same", "unknown", "yes"]

ADVICE = r"; (?:name other targets, or )?leave it out of the methods"
WRAPPED = rf"^[\w+-]+ (?:does not fit this model: (.*){ADVICE}|cannot be merged: (.*))$"
"""How a method's refusal begins and ends, of which only the reason is told."""
LONGEST = 220
"""Letters of a reason."""


def yes(**figures: float) -> Finding:
    """It can, with what was measured; figures are rounded, so that two probes on one machine agree."""
    return Finding(value="yes", figures={name: _rounded(value) for name, value in figures.items()})


def no(reason: str) -> Finding:
    """It cannot."""
    return Finding(value="no", reason=_brief(reason))


def unknown(reason: str) -> Finding:
    """Nobody knows."""
    return Finding(value="unknown", reason=_brief(reason))


def same(away: float, what: str) -> Finding:
    """Yes where outputs differ by no more than rounding.

    Args:
        away: Distance, as a share of what the adapter does.
        what: That is not the same, if it is not.
    """
    if away <= EXACT:
        return yes(error=away)
    return no(f"{what} by {away:.2g} of what the adapter does" if away < 1e6 else f"{what}: they are not finite")


def attempted(check: Callable[[], Finding]) -> Finding:
    """What a check says; what a library raises on the way is a no, lack of memory or of a package an unknown."""
    found: list[Finding] = []
    failure = capture(lambda: found.append(check()))
    return found[0] if failure is None else _of_failure(failure)


def _of_failure(failure: Failure) -> Finding:
    reason = failure.reason
    lacks = (
        failure.status == "oom" or reason.startswith(("ModuleNotFoundError", "ImportError")) or "pip install" in reason
    )
    return unknown(reason) if lacks else no(reason)


def _brief(reason: str) -> str:
    """One line, without addresses and places of files, which differ from run to run."""
    line = re.sub(WRAPPED, r"\1\2", " ".join(reason.split()))
    line = re.sub(r"0x[0-9a-f]{6,}", "0x…", line)
    line = re.sub(r"(?:/[\w.+-]+){2,}/?", lambda found: found[0].rstrip("/").rpartition("/")[2], line)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1].rstrip()}…"


def _rounded(value: float) -> float:
    """To two digits; errors of rounding alone to their order."""
    return float(f"{value:.0e}") if 0 < value < 1e-3 else float(f"{value:.2g}")
