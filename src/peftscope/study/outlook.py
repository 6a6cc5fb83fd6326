"""What a study offers and takes, told before it starts."""

from __future__ import annotations

from collections.abc import Mapping

from peftscope.methods.catalog import BASE
from peftscope.schema.seeds import SeedPlan
from peftscope.schema.study import StudySpec
from peftscope.tuning.check_result import CheckResult
from peftscope.tuning.expand import num_configurations
from peftscope.tuning.racing import races
from peftscope.views.units import bytes_text

__all__ = ["data_line", "price_line", "race_lines", "seed_lines", "training_lines", "tuning_lines"]


def training_lines(study: StudySpec | None, checked: CheckResult) -> list[str]:
    """How long a training is; nothing of runs without a study, which may differ."""
    if study is None:
        return []
    train = study.train
    drawn = train.max_steps * train.batch_size * train.accumulation
    is_packed = checked.epoch_size != checked.sizes["train"]
    shared = f" ({checked.sizes['train']:,} samples packed into {checked.epoch_size:,})" if is_packed else ""
    return [
        f"training: {train.max_steps:,} steps of {train.batch_size * train.accumulation} "
        f"{'rows' if is_packed else 'samples'}{shared} are {drawn:,}, "
        f"{drawn / checked.epoch_size:.2g} times through the data"
    ]


def data_line(sizes: Mapping[str, int]) -> str:
    """How many examples there are.

    >>> data_line({"train": 1000, "valid": 50, "test": 100})
    'data: 1,000 examples to train on, 50 to validate, 100 to test'
    """
    train, valid, test = (f"{sizes.get(split, 0):,}" for split in ("train", "valid", "test"))
    return f"data: {train} examples to train on, {valid} to validate, {test} to test"


def tuning_lines(study: StudySpec) -> list[str]:
    """What tuning offers and costs, told before it starts; nothing of a study without."""
    tuning = study.tuning
    if tuning is None:
        return []
    effort = tuning.protocol
    if effort is None:
        return [
            f"tuning with {tuning.trials} trials and one seed: the best learning rate may lie at the edge of what is "
            "tried, and equally good methods may look different; 'effort: standard' goes on until it is bracketed"
        ]
    seeds = "1 seed" if effort.num_seeds == 1 else f"{effort.num_seeds} seeds"
    return [
        f"tuning effort '{effort.name}': up to {effort.num_short} short and {effort.num_full} full trials a method, "
        f"{seeds}; costs about {effort.price:.1f} full trainings each. In simulated studies equally good methods "
        f"were called different in {effort.false_difference:.0%}, and tuning lost {effort.points_lost:.1f} points on "
        f"average, {effort.worst_lost:.1f} for the worst of eight"
    ]


def seed_lines(study: StudySpec) -> list[str]:
    """What more seeds where they decide may cost, told before it starts; nothing of a study with a list of seeds."""
    plan = study.seeds
    if not isinstance(plan, SeedPlan):
        return []
    count = num_configurations(study)
    return [
        f"seeds: {plan.first} of each method ({count * plan.first} final runs), then more for those between which "
        f"they decide, up to {plan.most} of each ({count * plan.most} final runs at most); looked at with "
        f"{', '.join(map(str, plan.counts[:-1]))} and {plan.counts[-1]} seeds, with one error for all looks"
    ]


def race_lines(study: StudySpec) -> list[str]:
    """That methods may be eliminated, told before it starts; nothing of a study without a race."""
    if not races(study):
        return []
    return [
        f"race: from the second of {len(study.first_seeds)} seeds on, a method ends that another is detectably better "
        "than in score, memory, time and checkpoint alike; '--no-race' trains all to the end"
    ]


def price_line(study: StudySpec, checked: CheckResult) -> str:
    """How many trainings and steps a study takes and what its adapters take on disk; how long, its first step tells."""
    final = num_configurations(study) * len(study.first_seeds)
    tuning = study.tuning
    each = 0.0 if tuning is None else float(tuning.trials or 0) if tuning.protocol is None else tuning.protocol.price
    searched = each * sum(method.name != BASE for method in study.methods)
    trainings = f"{final} final trainings" + (f" and tuning worth {searched:.0f}" if searched else "")
    steps = round((final + searched) * study.train.max_steps)
    sizes = {forecast.footprint.method: forecast.footprint.checkpoint_bytes for forecast in checked.forecasts}
    known = [sizes.get(method.title) for method in study.methods if method.name != BASE]
    rates = [len(method.learning_rates or (None,)) for method in study.methods if method.name != BASE]
    total = sum((size or 0) * count for size, count in zip(known, rates)) * len(study.first_seeds)
    disk = f"; their adapters take {bytes_text(total)} on disk" if total else ""
    about = "about " if searched else ""
    return f"price: {trainings}, {about}{steps:,} steps{disk}; how long that is, the first step says"
