"""The lines a terminal shows of a study under way, fitted to its width."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from peftscope.schema.live import RunState
from peftscope.schema.metric import MetricSpec
from peftscope.views.fit_width import fitted
from peftscope.views.line import one_line, shorten, value_text
from peftscope.views.progress.tally import Tally, counts_text, eta_text

__all__ = ["attempt_text", "clock_text", "loss_text", "progress_of", "run_lines", "study_line", "valid_text"]

BAR_CELLS = 10
COLON_CELLS = 2
LEAST_STUDY_CELLS = 4


def study_line(title: str, tally: Tally, width: int) -> Text:
    """Name of the study, its counts, and when it ends; shorter counts and no name where there is no room."""
    counts = tally.counts()
    end = "stopping" if tally.is_stopping else eta_text(tally.eta())
    shown, room = "", 0
    for words in (counts_text(counts), f"{tally.num_over} of {counts.total}"):
        shown = " · ".join(part for part in (words, end) if part)
        room = width - cell_len(shown) - COLON_CELLS
        if room >= -COLON_CELLS:
            break
    name = f"{shorten(one_line(title), room)}: " if room >= LEAST_STUDY_CELLS else ""
    line = Text.assemble((name, "bold"), shown)
    line.truncate(width, overflow="ellipsis")
    return line


def run_lines(states: Sequence[RunState], width: int, metric: MetricSpec | None) -> list[Text]:
    """One line per run under way, its parts in columns."""
    return fitted(
        [_cells(state, metric) for state in states],
        width,
        given_up=("bar", "time", "valid", "loss", "stage"),
        right=("progress", "time"),
        styles={"bar": "cyan"},
    )


def attempt_text(state: RunState) -> str:
    """The run's title, with the number of the attempt from the second on."""
    again = f" (attempt {state.num_attempts + 1})" if state.num_attempts else ""
    return one_line(state.title) + again


def loss_text(state: RunState) -> str:
    """The last step's loss."""
    return "" if state.loss is None else f"loss {state.loss:.3f}"


def valid_text(state: RunState, metric: MetricSpec | None) -> str:
    """The last validation's score."""
    return "" if state.valid_score is None else f"valid {value_text(state.valid_score, metric)}"


def clock_text(seconds: float) -> str:
    """Time gone by, as a clock shows it.

    >>> clock_text(75), clock_text(3700)
    ('1:15', '1:01:40')
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _cells(state: RunState, metric: MetricSpec | None) -> dict[str, str]:
    done, total = progress_of(state)
    return {
        "title": attempt_text(state),
        "stage": one_line(state.stage),
        "bar": _bar(done, total),
        "progress": f"{done}/{total}" if total else "",
        "loss": loss_text(state),
        "valid": valid_text(state, metric),
        "time": clock_text(state.elapsed_s),
    }


def progress_of(state: RunState) -> tuple[int, int]:
    """Steps or examples done in this stage, and of how many; 0 of 0 where nothing is counted."""
    if state.num_scored is not None and state.num_to_score:
        return state.num_scored, state.num_to_score
    if state.stage == "train" and state.step is not None and state.max_steps:
        return state.step, state.until or state.max_steps
    return 0, 0


def _bar(done: int, total: int) -> str:
    filled = min(BAR_CELLS, BAR_CELLS * done // total) if total else 0
    return "━" * filled + "╌" * (BAR_CELLS - filled) if total else ""
