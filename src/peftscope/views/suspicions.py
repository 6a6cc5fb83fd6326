"""What speaks against taking scores for learning, in words."""

from __future__ import annotations

from collections.abc import Sequence

from peftscope.analysis.suspicions import Suspicion

__all__ = ["suspicion_lines"]

SHOWN = 6


def suspicion_lines(found: Sequence[Suspicion]) -> list[str]:
    """One line for each."""
    return [_line(suspicion) for suspicion in found]


def _line(found: Suspicion) -> str:
    names = ", ".join(found.methods[:SHOWN])
    if len(found.methods) > SHOWN:
        names += f" and {len(found.methods) - SHOWN} more"
    verb = "gives" if len(found.methods) == 1 else "give"
    share = f"{100 * found.value:.1f} %"
    match found.kind:
        case "constant":
            return f"{names} {verb} one and the same answer to every test row: nothing about the rows was learned."
        case "majority":
            return (
                f"Always giving the commonest answer of the training rows would score {share}; not detectably above "
                f"that: {names}."
            )
        case "none_right":
            return (
                "Not one test row was answered rightly by any method: look at the answers (peftscope show) before "
                "believing that; a stop string, the metric or the prompt's form may be to blame."
            )
        case "given_away":
            return f"The answer stands in the prompt of every test row, and {names} {verb} it back: is that the task?"
        case "unreachable":
            return (
                f"{share} of the test answers have more tokens than max_new_tokens allows and can never be given: "
                "raise task.max_new_tokens."
            )
        case "cut_off":
            return f"Up to {share} of the answers did not end within max_new_tokens ({names})."
        case "run_on":
            return (
                f"Up to {share} of the answers run on into what the next prompt would be ({names}); they are scored up "
                "to there."
            )
