"""Answers a second: greedy scoring by peftscope against ``model.generate`` on fixed left-padded batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from speed_parts.bench import Bench
from speed_parts.compared import Goal, answer_differences, judged, ratio, ratio_text

__all__ = ["MARK", "goals", "lines", "measure"]

TITLE = "Scoring"
MARK = 3.0
"""Times as fast as the plain loop, stop rule apart."""
RULE = "early_stop"
"""Task option that ends an answer where its score is decided."""
SHARED = frozenset({"prompt-tuning"})
"""What puts virtual tokens before the padding in plain ``generate``: a prompt's distance to them then depends on the
longest prompt of its batch. The plain loop's answers are compared one by one, without padding."""


def measure(bench: Bench) -> dict[str, Any]:
    """Seconds of both sides on the same trained weights, and whether the answers are the same."""
    sizes = bench.sizes
    task = {**sizes.task, "test_size": sizes.scored_prompts, **({RULE: False} if _has_rule() else {})}
    facts = bench.facts(task, sizes.scored)
    found: dict[str, Any] = {
        "prompts": len(facts["prompts"]["test"]),
        "max_new_tokens": task["max_new_tokens"],
        "eval_batch_size": sizes.eval_batch_size,
        "methods": {name: {"plain": [], "peftscope": []} for name in sizes.scored},
    }
    for round_ in range(bench.repetitions):
        for name in sizes.scored:
            if round_ and not bench.has_time:
                bench.problems.append(f"{name}: no time for repetition {round_ + 1}")
                continue
            weights, row = trained(bench, facts, name), found["methods"][name]
            a = plain_answers(bench, facts, weights)
            b = our_answers(bench, task, weights)
            row["plain"].append(a["score_s"])
            row["peftscope"].append(b["score_s"])
            if not round_:
                row["scores"] = b["scores"]
                given = sum(answer["num_tokens"] for answer in b["answers"])
                row["tokens"] = {"plain": sum(map(len, a["answers"])), "peftscope": given}
                row["equality"] = _equality(bench, facts, name, weights, a["answers"], b["answers"])
        if not round_:
            found["rule"] = _with_rule(bench, facts, task, found["methods"][sizes.scored[0]]["scores"])
            found["batches"] = _other_batches(bench, facts, task)
    return found


def trained(bench: Bench, facts: dict[str, Any], name: str) -> dict[str, Any]:
    """Weights of a method trained for a few steps, for both sides; made once."""
    sizes, method = bench.sizes, facts["methods"][name]
    job = {
        "model": facts["folder"],
        "peft": method["peft"],
        "rows": facts["rows"],
        "steps": sizes.learned_steps,
        "batch_size": sizes.batch_size,
        "learning_rate": method["learning_rate"],
    }
    folder = bench.place(f"weights-{name}", job)
    if not (folder / "trained").exists():
        bench.plain(**job, save=str(folder))
        (folder / "trained").touch()
    if method["peft"] == "full":
        return {"model": str(folder), "source": str(folder), "adapter": None}
    return {"model": facts["folder"], "source": sizes.model, "adapter": str(folder)}


def plain_answers(bench: Bench, facts: dict[str, Any], weights: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """The plain loop's answers to the test prompts."""
    job = {
        "model": weights["model"],
        "adapter": weights["adapter"],
        "prompts": facts["prompts"]["test"],
        "max_new_tokens": bench.sizes.task["max_new_tokens"],
        "eval_batch_size": bench.sizes.eval_batch_size,
        "end_ids": facts["end_ids"],
    }
    return bench.plain(**{**job, **changed})


def our_answers(bench: Bench, task: dict[str, Any], weights: dict[str, Any], **job: Any) -> dict[str, Any]:
    """peftscope's answers to the test prompts."""
    given = {"model": weights["source"], "adapter": weights["adapter"], "task": task}
    return bench.peftscope("score", **{**given, "batch_size": bench.sizes.batch_size, **job})


def _equality(
    bench: Bench,
    facts: dict[str, Any],
    name: str,
    weights: dict[str, Any],
    wanted: list[list[int]],
    given: list[dict[str, Any]],
) -> dict[str, Any]:
    """Whether peftscope's answers are the plain loop's, except where two logits are as good as tied."""
    prompts, tokenizer = facts["prompts"]["test"], _tokenizer(facts["folder"])
    if name in SHARED:
        prompts = prompts[: bench.sizes.alone_prompts]
        given = given[: len(prompts)]
        wanted = plain_answers(bench, facts, weights, prompts=prompts, eval_batch_size=1)["answers"]

    def decode(ids: Any) -> str:
        return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    differences = answer_differences(wanted, given, decode)
    if differences:
        after = [[*prompts[d.row], *wanted[d.row][: d.place]] for d in differences]
        gaps = bench.plain(model=weights["model"], adapter=weights["adapter"], gaps_after=after)["gaps"]
        differences = [replace(d, gap=gap) for d, gap in zip(differences, gaps, strict=True)]
    return judged(len(wanted), differences)


def _with_rule(
    bench: Bench, facts: dict[str, Any], task: dict[str, Any], without: list[float]
) -> dict[str, Any] | None:
    """LoRA with the task's stop rule against the plain loop with and without the same texts as ``stop_strings``."""
    name = bench.sizes.scored[0]
    if not _has_rule():
        bench.problems.append(f"the task has no option {RULE}: scoring with a stop rule was not measured")
        return None
    weights = trained(bench, facts, name)
    a = plain_answers(bench, facts, weights, stop_strings=facts["stop_strings"] or None)
    b = our_answers(bench, {**task, RULE: True}, weights)
    told = bench.peftscope(
        "grade", model=bench.sizes.model, task=task, batch_size=bench.sizes.batch_size, answers={name: a["answers"]}
    )
    return {
        "method": name,
        "plain_with_rule": [a["score_s"]],
        "peftscope_with_rule": [b["score_s"]],
        "scores": len(without),
        "changed": sum(x != y for x, y in zip(without, b["scores"], strict=True)),
        "unlike_plain": sum(x != y for x, y in zip(told["scores"][name], b["scores"], strict=True)),
    }


def _other_batches(bench: Bench, facts: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    """LoRA in smaller batches on a few prompts, once, for information."""
    name, found = bench.sizes.scored[0], {}
    prompts = facts["prompts"]["test"][: bench.sizes.few_prompts]
    for size in bench.sizes.other_batches:
        if not bench.has_time:
            bench.problems.append(f"batches of {size}: no time")
            continue
        weights = trained(bench, facts, name)
        a = plain_answers(bench, facts, weights, prompts=prompts, eval_batch_size=size)
        options = {"prompts": prompts, "max_new_tokens": task["max_new_tokens"], "end_ids": facts["end_ids"]}
        b = our_answers(bench, task, weights, batch_size=size, **options)
        found[str(size)] = {"plain": [a["score_s"]], "peftscope": [b["score_s"]], "prompts": len(prompts)}
    return found


def _has_rule() -> bool:
    from peftscope.tasks.text.options import MathOptions

    return RULE in MathOptions.model_fields


def _tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(Path(folder))


def goals(found: dict[str, Any]) -> list[Goal]:
    """The marks of this part."""
    told = []
    for name, row in found["methods"].items():
        faster = ratio(row["plain"], row["peftscope"])
        told.append(
            Goal(name=f"scoring, {name}", value=faster["median"], text=f"{ratio_text(faster)} times", least=MARK)
        )
    beyond = [row["equality"]["different"] for row in found["methods"].values()]
    answers = sum(row["equality"]["answers"] for row in found["methods"].values())
    ties = sum(row["equality"]["near_ties"] for row in found["methods"].values())
    told.append(
        Goal(
            name="scoring, other answers",
            value=sum(beyond),
            text=f"{sum(beyond)} of {answers}, and {ties} at near ties",
            most=0,
        )
    )
    if rule := found["rule"]:
        plain = found["methods"][rule["method"]]["plain"]
        for name, times in (("without", plain), ("with", rule["plain_with_rule"])):
            ours = rule["peftscope_with_rule"]
            faster = ratio(times[: len(ours)], ours)
            told.append(
                Goal(
                    name=f"scoring with the stop rule, against plain {name} it",
                    value=faster["median"],
                    text=f"{ratio_text(faster)} times",
                )
            )
        text = f"{rule['changed']} of {rule['scores']}; {rule['unlike_plain']} unlike plain with the rule"
        told.append(Goal(name="scores changed by the stop rule", value=rule["changed"], text=text, most=0))
    return told


def lines(found: dict[str, Any]) -> list[str]:
    """The table of this part."""
    rows = [
        f"{found['prompts']} prompts, up to {found['max_new_tokens']} new tokens, batches of "
        f"{found['eval_batch_size']}; the same weights on both sides. An answer that differs where the reference's two "
        "largest logits are within 1e-4 is a near tie.",
        "",
        "| method | plain s | peftscope s | times as fast | tokens of both | same answers | near ties | others |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in found["methods"].items():
        equal = row["equality"]
        rows.append(
            f"| {name} | {_seconds(row['plain'])} | {_seconds(row['peftscope'])} | "
            f"{ratio_text(ratio(row['plain'], row['peftscope']))} | "
            f"{row['tokens']['plain']} {row['tokens']['peftscope']} | {equal['same']} of {equal['answers']} | "
            f"{equal['near_ties']} | {equal['different']} |"
        )
    for size, row in found["batches"].items():
        rows.append(
            f"| {next(iter(found['methods']))}, batches of {size}, {row['prompts']} prompts | "
            f"{_seconds(row['plain'])} | {_seconds(row['peftscope'])} | "
            f"{ratio_text(ratio(row['plain'], row['peftscope']))} | – | – | – | – |"
        )
    if any(name in SHARED for name in found["methods"]):
        rows += [
            "",
            "Of prompt tuning some of the plain loop's prompts were answered one by one for the comparison: in its "
            "batches the distance between virtual tokens and prompt depends on the other prompts. Timed are its "
            "batches, in which it writes other answers, so that the ratio is of times for different answers.",
        ]
    return rows


def _seconds(times: list[float]) -> str:
    return " ".join(f"{seconds:.1f}" for seconds in times)
