"""A whole study by ``compare`` against every configuration it tried as a plain-loop process."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from speed_parts.bench import GENERAL_TOKENS, METHODS, NANO, Bench
from speed_parts.compared import Goal

__all__ = ["goals", "lines", "measure", "plain_total"]

TITLE = "A study"
MARK = 5.0
"""Times as fast as every configuration in full the plain way."""
BATCH = 8
TRAINED = ("ok", "eliminated", "diverged")
"""Of runs that a plain process would have trained, too."""


def measure(bench: Bench) -> dict[str, Any]:
    """Wall time of the study, of a plain process of every method, and what the others would take."""
    sizes = bench.sizes
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        seconds = _compare(bench, folder)
        told = bench.peftscope("study", folder=str(folder / "results"))
    runs = [run for run in told["runs"] if run["method"] != "base" and run["status"] in TRAINED]
    found: dict[str, Any] = {"steps": sizes.study_steps, "compare_s": seconds, "tiers": told["tiers"]}
    found["plain"] = _plain_runs(bench, runs)
    # The configs name the folder the base lies in, which is this machine's business.
    found["runs"] = [{name: value for name, value in run.items() if name != "peft"} for run in runs]
    found["plain_s"] = plain_total(runs, found["plain"])
    found["larger"] = _larger(bench, runs) if bench.has_time and sizes.model != NANO else None
    if found["larger"] is None and sizes.model != NANO:
        bench.problems.append(f"{sizes.model}: no time")
    return found


def _compare(bench: Bench, folder: Path) -> float:
    """Run the study; gives its seconds."""
    sizes, path = bench.sizes, folder / "study.yaml"
    study = {
        "name": "speed",
        "model": NANO,
        "task": {**sizes.study_task, "general_tokens": GENERAL_TOKENS},
        "methods": [METHODS.get(name, {"name": name}) for name in sizes.study_methods],
        "tuning": {"effort": "quick"},
        "seeds": list(sizes.seeds),
        "train": {"max_steps": sizes.study_steps, "batch_size": BATCH, "warmup_fraction": 0.1, "memory": "fast"},
    }
    path.write_text(json.dumps(study), encoding="utf-8")
    command = [sys.executable, "-m", "peftscope", "compare", str(path), "--out", str(folder / "results"), "--quiet"]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--threads", str(bench.threads)],
        check=False,
        capture_output=True,
        text=True,
        env=bench.environment(),
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"compare ended with {done.returncode}: {done.stderr[-300:]}")
    return time.perf_counter() - started


def _plain_runs(bench: Bench, runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """One final run of every method by the plain loop: its seconds and its score."""
    sizes = bench.sizes
    facts = bench.facts(sizes.study_task, (), model=NANO)
    answers: dict[str, Any] = {}
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(run["method"] for run in runs):
        finals = [run for run in runs if run["method"] == name and run["purpose"] == "final"]
        if not finals or finals[0]["peft"] is None:
            bench.problems.append(f"{name}: no final run to repeat")
            continue
        if found and not bench.has_time:
            bench.problems.append(f"{name}: no time for its plain run")
            continue
        done = bench.plain(
            model=facts["folder"],
            peft=finals[0]["peft"],
            rows=facts["rows"],
            steps=sizes.study_steps,
            batch_size=BATCH,
            learning_rate=finals[0]["learning_rate"],
            warmup_fraction=0.1,
            seed=finals[0]["seed"],
            prompts=facts["prompts"]["test"],
            max_new_tokens=sizes.study_task["max_new_tokens"],
            eval_batch_size=sizes.study_task["eval_batch_size"],
            end_ids=facts["end_ids"],
        )
        answers[name] = done["answers"]
        valid = len(facts["prompts"]["valid"]) / len(facts["prompts"]["test"])
        found[name] = {
            "final_s": done["process_s"],
            "trial_s": done["process_s"] - (1 - valid) * done["score_s"],
        }
    job = {"model": NANO, "task": sizes.study_task, "batch_size": BATCH}
    for name, scores in bench.peftscope("grade", **job, answers=answers)["scores"].items():
        found[name]["score"] = statistics.mean(scores)
    return found


def plain_total(runs: list[dict[str, Any]], plain: dict[str, dict[str, Any]]) -> float:
    """Seconds of every configuration the study tried, each trained in full by the plain loop.

    A trial that stopped early or paused is one configuration; methods that were not measured take the others' mean.
    """
    mean = {kind: statistics.mean(row[kind] for row in plain.values()) for kind in ("final_s", "trial_s")}
    kinds = {"final": "final_s", "trial": "trial_s"}
    return float(sum(plain.get(run["method"], mean)[kinds[run["purpose"]]] for run in runs))


def _larger(bench: Bench, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The same number of trials and final runs on the larger model, extrapolated on both sides from measured runs."""
    sizes, steps = bench.sizes, bench.sizes.slow_steps
    study = {
        "name": "larger",
        "model": sizes.model,
        "task": {**sizes.task, "general_tokens": GENERAL_TOKENS},
        "methods": [METHODS["lora"]],
        "seeds": [0],
        "train": {"max_steps": steps, "batch_size": sizes.batch_size, "memory": "fast"},
        "include_base": False,
    }
    with tempfile.TemporaryDirectory() as folder:
        ours = bench.peftscope("stages", study=study, folder=folder)["runs"][-1]
    ours["stages"].pop("baseline", None)  # once for all runs of a study
    facts = bench.facts(sizes.task, ("lora",))
    method = facts["methods"]["lora"]
    plain = bench.plain(
        model=facts["folder"],
        peft=method["peft"],
        rows=facts["rows"],
        steps=steps,
        batch_size=sizes.batch_size,
        learning_rate=method["learning_rate"],
        prompts=facts["prompts"]["test"],
        max_new_tokens=sizes.task["max_new_tokens"],
        eval_batch_size=sizes.eval_batch_size,
        end_ids=facts["end_ids"],
    )
    valid = len(facts["prompts"]["valid"]) / len(facts["prompts"]["test"])
    return {"steps": steps, **extrapolated(runs, sizes.study_steps, ours=ours, plain=plain, valid=valid)}


def extrapolated(
    runs: list[dict[str, Any]], full_steps: int, *, ours: dict[str, Any], plain: dict[str, Any], valid: float
) -> dict[str, float]:
    """Seconds both sides would take for as many runs.

    Args:
        runs: What the study did; of each the share of the steps counts.
        full_steps: Steps of a whole training there.
        ours: Seconds by stage of one of peftscope's final runs on the larger model.
        plain: Those of a plain run.
        valid: Validation prompts as a share of the test's.
    """
    whole, score = sum(ours["stages"].values()), ours["stages"].get("score", 0.0)
    # A trial loads, builds and scores the validation split; what follows a final run's score it has not.
    once = sum(ours["stages"].get(stage, 0.0) for stage in ("start", "load", "data", "build"))
    seconds = {"compare_s": 0.0, "plain_s": 0.0}
    for run in runs:
        final = run["purpose"] == "final"
        share = min(1.0, run["steps"] / full_steps)
        seconds["compare_s"] += whole if final else once + share * ours["train_time_s"] + valid * score
        seconds["plain_s"] += plain["process_s"] - (0.0 if final else (1 - valid) * plain["score_s"])
    return seconds


def same_top(found: dict[str, Any]) -> bool | None:
    """Whether the plain side's best method lies in the study's top tier; None where nothing was measured."""
    if not found["plain"] or not found["tiers"]:
        return None
    best = max(row["score"] for row in found["plain"].values())
    return any(row["score"] == best and name in found["tiers"][0] for name, row in found["plain"].items())


def goals(found: dict[str, Any]) -> list[Goal]:
    """The marks of this part."""
    gain = found["plain_s"] / found["compare_s"]
    told = [Goal(name="a study on nano-lm", value=gain, text=f"{gain:.1f} times as fast", least=MARK)]
    if found["larger"]:
        gain = found["larger"]["plain_s"] / found["larger"]["compare_s"]
        text = f"{gain:.1f} times"
        told.append(Goal(name="a study on the larger model, extrapolated", value=gain, text=text, least=MARK))
    same = same_top(found)
    text = "not measured" if same is None else "yes" if same else "no"
    return [*told, Goal(name="the plain loop's best is in the top tier", value=same, text=text, least=1)]


def lines(found: dict[str, Any]) -> list[str]:
    """The table of this part."""
    runs = found["runs"]
    trials = [run for run in runs if run["purpose"] == "trial"]
    short = sum(run["steps"] < found["steps"] for run in trials)
    rows = [
        f"`compare` on nano-lm: {found['compare_s'] / 60:.1f} minutes for {len(trials)} trials ({short} of them "
        f"stopped before their {found['steps']} steps) and {len(runs) - len(trials)} final runs, tuning and all. "
        f"Each of these {len(runs)} configurations trained in full and scored by a process of the plain loop: "
        f"{found['plain_s'] / 60:.1f} minutes, extrapolated from one process of each of {len(found['plain'])} methods.",
        "",
        "| method | plain process s | its score | study's scores | tier |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, row in found["plain"].items():
        ours = [run["score"] for run in runs if run["method"] == name and run["score"] is not None]
        tier = next((n for n, names in enumerate(found["tiers"], 1) if name in names), "–")
        told = " ".join(f"{score:.2f}" for score in ours)
        rows.append(f"| {name} | {row['final_s']:.1f} | {row['score']:.2f} | {told} | {tier} |")
    if larger := found["larger"]:
        rows += [
            "",
            f"As many runs of {larger['steps']} steps on the larger model, both sides extrapolated from a measured "
            f"LoRA run each: `compare` {larger['compare_s'] / 60:.0f} minutes, plain {larger['plain_s'] / 60:.0f}.",
        ]
    return rows
