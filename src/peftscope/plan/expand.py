"""A study -> the runs it asks for."""

from __future__ import annotations

from peftscope.methods.catalog import BASE, card
from peftscope.spec.run import RunSpec
from peftscope.spec.study import MethodSpec, StudySpec

__all__ = ["expand"]


def expand(study: StudySpec) -> list[RunSpec]:
    """Methods × learning rates × seeds, the untouched base first.

    Seeds go round last, so that a study stopped half-way has every method once before any twice. A method that
    cannot run gets a run all the same, which records why.
    """
    with_base = study.include_base or any(method.name == BASE for method in study.methods)
    runs = [_run(study, MethodSpec(name=BASE), None, study.seeds[0])] if with_base else []
    for seed in study.seeds:
        for method in study.methods:
            if method.name != BASE:
                runs += [_run(study, method, rate, seed) for rate in _rates(method)]
    return runs


def _rates(method: MethodSpec) -> tuple[float | None, ...]:
    if method.learning_rates is not None:
        return method.learning_rates
    rate = card(method.name).rate
    return (rate.default if rate is not None else None,)


def _run(study: StudySpec, method: MethodSpec, learning_rate: float | None, seed: int) -> RunSpec:
    # The rates to try belong to the study; a run has one, and the others must not change its id.
    return RunSpec(
        model=study.model,
        task=study.task,
        method=method.model_copy(update={"learning_rates": None}),
        learning_rate=learning_rate,
        seed=seed,
        train=study.train,
        measure=study.measure,
    )
