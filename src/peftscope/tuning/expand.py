"""A study -> the runs it asks for."""

from __future__ import annotations

from collections.abc import Sequence

from peftscope.methods.catalog import BASE, card
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MethodSpec, StudySpec

__all__ = ["base_run", "expand", "num_configurations", "one_of_each", "rates_of", "run_of"]


def expand(study: StudySpec) -> list[RunSpec]:
    """Methods × learning rates × seeds, the untouched base first; of a plan of seeds the first ones.

    Seeds go round last, so that a study stopped half-way has every method once before any twice. A method that
    cannot run gets a run all the same, which records why.
    """
    base = base_run(study)
    runs = [base] if base is not None else []
    for seed in study.first_seeds:
        for method in study.methods:
            if method.name != BASE:
                runs += [run_of(study, method, rate, seed) for rate in rates_of(method)]
    return runs


def one_of_each(runs: Sequence[RunSpec]) -> list[RunSpec]:
    """The first run of every method."""
    return list({run.method.title: run for run in reversed(runs)}.values())[::-1]


def base_run(study: StudySpec) -> RunSpec | None:
    """The run of the untouched base; None where the study does not ask for it."""
    asked = [method for method in study.methods if method.name == BASE]
    if not study.include_base and not asked:
        return None
    return run_of(study, MethodSpec(name=BASE), None, study.first_seeds[0])


def run_of(study: StudySpec, method: MethodSpec, learning_rate: float | None, seed: int) -> RunSpec:
    """One final run of a study."""
    # What is to be tried belongs to the study; a run has one of it, and the others must not change its id.
    return RunSpec(
        model=study.model,
        task=study.task,
        method=method.model_copy(update={"learning_rates": None, "search": {}}),
        learning_rate=learning_rate,
        seed=seed,
        train=study.train,
        measure=study.measure,
        vary_split=study.vary_split,
    )


def num_configurations(study: StudySpec) -> int:
    """Methods with their learning rates, without the untouched base."""
    return sum(len(method.learning_rates or (None,)) for method in study.methods if method.name != BASE)


def rates_of(method: MethodSpec) -> tuple[float | None, ...]:
    """Learning rates a method runs with: those given, or its card's."""
    if method.learning_rates is not None:
        return method.learning_rates
    rate = card(method.name).rate
    return (rate.default if rate is not None else None,)
