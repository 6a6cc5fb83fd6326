"""One experiment folder in the layout of the public benchmark, on its own model and data or on others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from peftscope.errors import SpecError
from peftscope.methods.adapter_config import method_name
from peftscope.schema.override import override
from peftscope.schema.study import TaskSpec
from peftscope.study.comparison import Comparison, comparison_of
from peftscope.study.folder import RESULTS
from peftscope.study.running import RunOptions, do_runs
from peftscope.tuning.job import Job
from peftscope.upstream.experiment import Experiment, read_experiment, to_run_spec
from peftscope.views.progress.reporter import Reporter

__all__ = ["run_experiment"]


def run_experiment(
    folder: str | Path,
    *,
    model: str | None = None,
    data: str | Path | None = None,
    test_data: str | Path | None = None,
    seed: int | None = None,
    settings: Sequence[str] = (),
    out: str | Path | None = None,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
) -> Comparison:
    """Run one experiment folder of the public benchmark.

    Args:
        folder: Holds adapter_config.json, training_params.json or both.
        model: Base model instead of the experiment's own.
        data: Training rows (JSONL, CSV, Parquet) instead of MetaMathQA; of an image experiment, a folder of pictures.
        test_data: Test rows; a part of ``data`` where None.
        seed: Instead of the experiment's own.
        settings: Any others, such as ``train.max_steps=10``.
        out: Folder for record and adapter; ``results/NAME`` where None.
        options: How it is executed; ``workers`` is 1.
        reporter: Shows how it gets on; on stderr where None.

    Raises:
        SpecError: The folder or a setting is not as it should be.
        PeftscopeError: Model or data are not as they should be.
    """
    reporter = reporter or Reporter()
    notes: list[str] = []
    if test_data is not None and data is None:
        raise SpecError(str(folder), ["test data need training rows beside them (data)"])
    experiment = read_experiment(Path(folder))
    spec = to_run_spec(
        experiment,
        method_name=method_name(experiment.peft_config, experiment.training_params),
        task=None if data is None else _task(experiment, data, test_data),
        seed=seed,
        warn=notes.append,
    )
    if model is not None:  # dtype, quantization and attention stay the experiment's
        spec = spec.model_copy(update={"model": spec.model.model_copy(update={"source": model, "revision": None})})
    spec = override(spec, list(settings))
    reporter.notice(f"note: {line}" for line in dict.fromkeys(notes))
    name = experiment.name.replace("/", "--")
    place = Path(out) if out is not None else RESULTS / name
    done = do_runs([Job(run=spec)], place, title=name, options=options or RunOptions(workers=1), reporter=reporter)
    return comparison_of(done.records, done.metric, folder=place, title=name)


def _task(experiment: Experiment, data: str | Path, test_data: str | Path | None) -> TaskSpec:
    """The benchmark's task on other data.

    Raises:
        SpecError: Test data are given beside a folder of pictures, which is split.
    """
    if experiment.benchmark == "image-gen":
        if test_data is not None:
            raise SpecError(str(data), ["a folder of pictures is split into training and test; leave test data out"])
        return TaskSpec(name="concept", options={"source": str(data)})
    test = {} if test_data is None else {"test": str(test_data)}
    return TaskSpec(name="math", options={"source": "files", "train": str(data), **test})
