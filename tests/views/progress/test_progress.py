"""People and programs are told how a study gets on."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from peftscope.schema.metric import MetricSpec
from peftscope.tuning.job import Job
from peftscope.views.progress.display import STOPPING, LiveProgress, LogProgress, progress_for
from peftscope.views.progress.events import Events, print_events
from peftscope.views.progress.lines import run_lines
from peftscope.views.progress.reporter import Reporter
from pretend import a_record, a_run, a_state

ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="")
HOSTILE = "[red]x[/red] [/] \x1b[2J\n" + "long " * 30
TRAINING: dict[str, Any] = {"stage": "train", "step": 12, "max_steps": 32, "step_time_s": 2.0, "loss": 1.25}


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Shown:
    """A display and what it has printed."""

    def __init__(self, kind: type[LiveProgress] | type[LogProgress], width: int = 80, height: int = 24) -> None:
        self.stream = io.StringIO()
        self.clock = Clock()
        self.console = Console(
            file=self.stream,
            width=width,
            height=height,
            force_terminal=kind is LiveProgress,
            color_system="standard",
            legacy_windows=False,
        )
        self.display = kind("demo", console=self.console, metric=ACCURACY, clock=self.clock)

    @property
    def printed(self) -> str:
        return self.stream.getvalue()

    def drawn(self) -> list[str]:
        """The live lines as they stand."""
        options = self.console.options
        return [
            "".join(part.text for part in line).rstrip() for line in self.console.render_lines(self.display, options)
        ]


def test_a_terminal_shows_the_study_and_one_line_per_active_run() -> None:
    shown, runs = Shown(LiveProgress, width=100), [a_run("base"), a_run("lora"), a_run("oft"), a_run("dora")]
    display = shown.display
    display.planned(runs, [a_record(runs[0])], 2)
    display.started(runs[1], a_state(runs[1], worker=0))
    display.started(runs[2], a_state(runs[2], worker=1))
    display.moved(runs[1], a_state(runs[1], **TRAINING, elapsed_s=30, valid_score=0.4))
    display.moved(runs[2], a_state(runs[2], worker=1, stage="score", num_scored=5, num_to_score=25, elapsed_s=70))
    shown.clock.now += 5
    header, first, second = shown.drawn()
    display.closed()
    assert header.startswith("demo: 1 done · 2 running · 1 to do · ETA over ")
    assert first.split() == [
        *("lora", "lr", "0.0003", "seed", "0"),
        *("train", "━━━╌╌╌╌╌╌╌", "12/32", "loss", "1.250", "valid", "40.0", "%", "0:35"),
    ]
    assert second.split() == ["oft", "lr", "0.0003", "seed", "0", "score", "━━╌╌╌╌╌╌╌╌", "5/25", "1:15"]


def test_ended_runs_are_printed_and_failures_are_red_with_reason() -> None:
    shown, runs = Shown(LiveProgress, width=120), [a_run("base"), a_run("lora"), a_run("dora")]
    display = shown.display
    display.planned(runs, [], 1)
    display.started(runs[1], a_state(runs[1]))
    shown.clock.now += 75
    display.ended(runs[1], a_record(runs[1]))
    display.started(runs[2], a_state(runs[2]))
    display.ended(runs[2], a_record(runs[2], "oom", reason="no memory left\nin line 3"))
    display.stopping()
    assert "stopping" in shown.drawn()[0]
    display.closed()
    assert "[1/3] lora lr 0.0003 seed 0: ok (75 s) accuracy 48.0 %" in shown.printed
    assert "\x1b[31m[2/3] dora lr 0.0003 seed 0: oom (under 1 s) no memory left\x1b[0m" in shown.printed
    assert "in line 3" not in shown.printed
    assert f"\x1b[33m{STOPPING}\x1b[0m" in shown.printed


def test_runs_finished_earlier_are_summarised_in_one_line() -> None:
    runs = [a_run(seed=seed) for seed in range(7)]
    for kind in (LiveProgress, LogProgress):
        shown = Shown(kind)
        found = [a_record(run) for run in runs[:5]] + [a_record(runs[5], "refused")]
        shown.display.planned(runs, found, 1)
        shown.display.closed()
        assert "6 of 7 runs are done already (1 refused)" in shown.printed
        assert "[1/7]" not in shown.printed


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
@pytest.mark.parametrize("kind", [LiveProgress, LogProgress])
def test_hostile_labels_and_narrow_terminals_do_not_break_the_display(
    kind: type[LiveProgress] | type[LogProgress], width: int
) -> None:
    shown, runs = Shown(kind, width=width), [a_run(label=HOSTILE), a_run(label="模型" * 20, seed=1)]
    display = shown.display
    display.planned(runs, [], 2)
    for worker, run in enumerate(runs):
        display.started(run, a_state(run, worker=worker, num_attempts=1))
        display.moved(run, a_state(run, worker=worker, **TRAINING, valid_score=0.4, elapsed_s=4000))
    if isinstance(display, LiveProgress):
        lines = shown.drawn()
        assert len(lines) == 3
        assert all(cell_len(line) <= width for line in lines)
        assert "[red]" in lines[1] or width == 20
    display.ended(runs[0], a_record(runs[0], "error", reason=HOSTILE))
    display.closed()
    assert "[red]x" in shown.printed
    assert "\x1b[2J" not in shown.printed  # a label does not drive the terminal


def test_a_narrow_terminal_still_shows_distinguishable_runs() -> None:
    states = [a_state(a_run("lora", seed=seed), **TRAINING, valid_score=0.5) for seed in (0, 11)]
    for width in (44, 60, 80, 120):
        lines = [line.plain for line in run_lines(states, width, ACCURACY)]
        assert [line.startswith(state.title) for line, state in zip(lines, states)] == [True, True], (width, lines)
        assert all("12/32" in line for line in lines)


def test_runs_beyond_the_terminal_height_are_counted() -> None:
    shown, runs = Shown(LiveProgress, height=8), [a_run(seed=seed) for seed in range(20)]
    shown.display.planned(runs, [], 20)
    for worker, run in enumerate(runs):
        shown.display.started(run, a_state(run, worker=worker))
    lines = shown.drawn()
    shown.display.closed()
    assert len(lines) == 7
    assert lines[-1] == "… and 15 more"


def test_a_log_has_lines_for_starts_ends_and_every_minute() -> None:
    shown, run = Shown(LogProgress), a_run()
    display = shown.display
    display.planned([run, a_run("dora")], [], 1)
    display.upcoming([Job(run=a_run("dora"))], 2)
    display.started(run, a_state(run))
    for step in range(1, 131):  # a step a second
        shown.clock.now += 1
        state = {"stage": "train", "step": step, "max_steps": 130, "step_time_s": 1.0, "loss": 1.25}
        display.moved(run, a_state(run, **state, elapsed_s=step))
    display.ended(run, a_record(run))
    display.closed()
    lines = [line.split(" ", 1)[1] for line in shown.printed.splitlines()]
    assert lines[0].startswith("demo: 2 runs, 20")
    assert lines[1:] == [
        "lora lr 0.0003 seed 0: started",
        "a step takes 1.0 s: over 4 min for the 2 runs to do",  # once, with the first step
        "lora lr 0.0003 seed 0: train, step 60 of 130, loss 1.250, ETA over 3 min",
        "lora lr 0.0003 seed 0: train, step 120 of 130, loss 1.250, ETA over 2 min",
        "[1/2] lora lr 0.0003 seed 0: ok (2 min) accuracy 48.0 % · ETA 75 s",
    ]


def _events() -> tuple[Events, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    return Events("demo", print_events(stream), clock=clock), stream, clock


def _parsed(stream: io.StringIO) -> list[dict[str, Any]]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in stream.getvalue().splitlines()]


def test_json_lines_are_single_events_and_steps_are_throttled() -> None:
    events, stream, clock = _events()
    run, other = a_run(label=HOSTILE), a_run("dora")
    events.planned([run, other], [a_record(other)], 1)
    events.started(run, a_state(run))
    for step in range(1, 33):
        clock.now += 0.25
        events.moved(run, a_state(run, **{**TRAINING, "step": step, "loss": float("nan")}))
    events.moved(run, a_state(run, stage="score"))
    events.stopping()
    events.ended(run, a_record(run, metrics={"test_score": float("inf")}))
    events.closed()
    events.closed()
    lines = _parsed(stream)
    assert {line["schema"] for line in lines} == {"peftscope.event/1"}
    assert all(line["time"] and line["study"] == "demo" for line in lines)
    kinds = [line["event"] for line in lines]
    assert kinds == ["planned", "started", "stage", *["step"] * 5, "stage", "stopping", "ended", "closed"]
    steps = [line for line in lines if line["event"] == "step"]
    assert [line["step"] for line in steps] == [2, 10, 18, 26, 32]
    assert all(line["loss"] is None and line["run_id"] == run.run_id for line in steps)
    assert all(line["eta_s"] is not None for line in steps)
    ended = lines[-2]
    assert (ended["status"], ended["score"], ended["num_done"], ended["took_s"]) == ("ok", None, 2, 8.0)
    assert lines[0]["runs"][1] == {"run_id": other.run_id, "title": other.title, "status": "ok"}


def test_the_last_step_of_an_aborted_run_is_reported() -> None:
    events, stream, clock = _events()
    run = a_run()
    events.started(run, a_state(run))
    for step in (1, 2, 3):
        clock.now += 0.1
        events.moved(run, a_state(run, **{**TRAINING, "step": step}))
    events.ended(run, a_record(run, "diverged"))
    assert [(line["event"], line.get("step")) for line in _parsed(stream)][1:] == [
        ("stage", 1), ("step", 2), ("step", 3), ("ended", None),
    ]  # fmt: skip


def test_a_closed_output_pipe_does_not_end_the_study() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    events = Events("demo", print_events(Gone()))
    events.stopping()
    events.closed()


def test_quiet_shows_nothing_and_a_pipe_gets_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as CI sets it: still no terminal
    assert Reporter(quiet=True).listeners("x", ACCURACY) == []
    (events,) = Reporter(progress=False, on_event=print_events()).listeners("x", ACCURACY)
    assert isinstance(events, Events)
    log = progress_for(title="x")
    assert isinstance(log, LogProgress)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(progress_for(title="x"), LiveProgress)
    log.planned([a_run()], [], 1)
    out, err = capsys.readouterr()
    assert out == ""
    assert "1 run, " in err
