"""A study: what the user asks to compare, and everything that can be asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peftscope.errors import SpecError
from peftscope.schema.reader import read_study, study_from
from peftscope.schema.request import Request
from peftscope.schema.study import StudySpec
from peftscope.store.base_folder import base_folder
from peftscope.store.study import read_stored_study
from peftscope.study.folder import RESULTS, find_record, study_folder
from peftscope.study.published import is_published, place_of
from peftscope.study.vocabulary import vocabulary

if TYPE_CHECKING:
    from peftscope.study.check import StudyCheck
    from peftscope.study.comparison import Comparison
    from peftscope.study.draft import Draft
    from peftscope.study.import_export import Exported
    from peftscope.study.interpolation import Interpolation
    from peftscope.study.publication import Publication
    from peftscope.study.recommendation import StudyRecommendation
    from peftscope.study.repetition import Repetition
    from peftscope.study.report import Report
    from peftscope.study.requirements import Amount
    from peftscope.study.results import StudyResults
    from peftscope.study.run_details import RunDetails
    from peftscope.study.running import RunOptions
    from peftscope.study.status import StudyStatus
    from peftscope.study.trained import TrainedRun
    from peftscope.views.progress.reporter import Reporter

__all__ = ["Study"]


class Study:
    """Methods compared on one model and one task; the same study whether it is started here or by the command.

    Records, adapters and logs lie in its folder; whatever is asked of the study is read from there.

    Args:
        spec: The study as a mapping, with the keys of a study.yaml; keyword arguments are added to it.
        out: Folder of the study; ``results/NAME`` where None.
        fields: Keys of a study.yaml: ``name``, ``model``, ``task``, ``methods``, ``train``, ``tuning``, ``seeds``, …

    Raises:
        SpecError: With every problem in it, the nearest name and what is allowed.

    >>> study = Study(name="first", model="builtin:nano-lm", task="math", methods=["lora", "oft"])
    >>> study.folder.as_posix(), [method.title for method in study.spec.methods]
    ('results/first', ['lora', 'oft'])
    """

    def __init__(
        self, spec: Mapping[str, Any] | StudySpec | None = None, *, out: str | Path | None = None, **fields: Any
    ) -> None:
        if not isinstance(spec, StudySpec):
            spec = study_from({**(spec or {}), **fields}, vocabulary(), source="study")
        elif fields:
            raise SpecError("study", ["a StudySpec takes no further fields; give a mapping"])
        self._spec: StudySpec | None = spec
        self.folder = Path(out) if out is not None else RESULTS / spec.name
        self.place = self.folder
        self.base = Path()
        """Folder that relative paths of model and data are taken from: the study file's, or the working folder."""

    @classmethod
    def load(cls, path: str | Path, *, out: str | Path | None = None) -> Study:
        """Read a study.yaml, or open a folder of results.

        Args:
            path: The file, the folder, or the name of published results; no ``spec`` where it was imported.
            out: Folder of a file's results; ``results/NAME`` where None.

        Raises:
            SpecError: It is none of these, or has problems.
        """
        path = Path(path)
        if path.is_dir() or is_published(path):
            return cls.find(path, needs_records=False)
        study = cls(read_study(path, vocabulary()), out=out)
        study.place, study.base = path if out is None else study.folder, path.parent
        return study

    @classmethod
    def find(cls, path: str | Path, *, needs_records: bool = True) -> Study:
        """Open a study by its file or folder for what lies in its folder, whatever its file says by now.

        Args:
            path: The file, the folder, or the name of published results.
            needs_records: Whether a study that has been started and has no records yet will not do.

        Raises:
            SpecError: There is none; names the nearest.
        """
        study = cls.__new__(cls)
        study.place = Path(path)
        study.folder = study_folder(study.place, needs_records=needs_records)
        study._spec = read_stored_study(study.folder, [])
        study.base = base_folder(study.folder)
        return study

    @staticmethod
    def draft(data: str | Path, *, model: str | None = None) -> Draft:
        """Look at data, say what is odd in them, and draft a study that runs as it is.

        Args:
            data: A file, a folder of files, or the id of a data set of the hub.
            model: The base; ``builtin:smollm2-135m`` where None.

        Raises:
            DataError: There are no such data, they cannot be read, or their columns do not tell prompt and answer.
            ModelError: The model cannot be found.
        """
        from peftscope.study.draft import draft

        return draft(data, model=model)

    @property
    def spec(self) -> StudySpec:
        """What is compared, and how.

        Raises:
            SpecError: It is a folder of imported results.
        """
        if self._spec is None:
            raise SpecError(str(self.place), ["holds results of others, and no study that could be run"])
        return self._spec

    @property
    def name(self) -> str:
        """Its name."""
        return self._spec.name if self._spec is not None else self.folder.resolve().name

    def __repr__(self) -> str:
        return f"Study({self.name!r}, folder={str(place_of(self.folder))!r})"

    def check(self, *, workers: int | None = None, threads: int | None = None, try_all: bool = False) -> StudyCheck:
        """Validate the shared model and data, cache the prepared data, predict every method's memory; train nothing.

        Args:
            workers: Runs at once.
            threads: Threads of each.
            try_all: Refuse nothing that is predicted not to fit.

        Raises:
            PeftscopeError: The data, the model or the folder is not as it should be.
        """
        from peftscope.study.check import check
        from peftscope.study.running import RunOptions

        return check(self.spec, self.folder, RunOptions(workers=workers, threads=threads, try_all=try_all), self.base)

    def run(
        self,
        *,
        workers: int | None = None,
        threads: int | None = None,
        executor: str = "local",
        try_all: bool = False,
        track: str | None = None,
        quiet: bool = False,
        on_event: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Comparison:
        """Train and score every method; a second call finishes what is missing. Blocks, with progress shown.

        An interrupt (Ctrl-C, a notebook's stop button) ends the runs under way after their current step, a second one
        at once; either way the next call goes on where this one stopped.

        Args:
            workers: Runs at once; one per accelerator, or one on the CPU, where None.
            threads: Threads of each; the cores shared out where None.
            executor: Where runs are executed: ``local``, or one that a package adds.
            try_all: Try what is predicted not to fit, too.
            track: Report to a tracker as well: ``trackio``, ``mlflow`` or ``wandb``.
            quiet: Show no progress.
            on_event: Called with each event, as ``compare --json-lines`` prints them.

        Raises:
            PeftscopeError: The data, the model or the folder is not as it should be; nothing was trained.
            KeyboardInterrupt: It was stopped.
        """
        from peftscope.study.running import RunOptions
        from peftscope.views.progress.reporter import Reporter

        options = RunOptions(workers=workers, threads=threads, executor=executor, track=track, try_all=try_all)
        return self.run_with(options, Reporter(quiet=quiet, on_event=on_event))

    def run_with(self, options: RunOptions, reporter: Reporter, *, across: bool = False) -> Comparison:
        """``run`` with its options gathered, for front ends that report in their own way."""
        from peftscope.study.comparison import comparison_of
        from peftscope.study.running import do_runs

        done = do_runs(self.spec, self.folder, title=self.name, options=options, reporter=reporter, base=self.base)
        return comparison_of(
            done.records, done.metric, folder=self.folder, title=self.name, study=done.study, across=across
        )

    def status(self, *, height: int | None = None) -> StudyStatus:
        """What is done, under way, failed and still to do, and when it ends; also from another process.

        Args:
            height: Lines there are to show it in; None shows every run.
        """
        from peftscope.study.status import status_of

        return status_of(self.folder, height=height)

    def results(self, *, margin: float | None = None, across: bool = False) -> StudyResults:
        """Tidy frames of runs, examples and pairs, and the verdict on them.

        Args:
            margin: Difference of scores that does not matter, in the score's unit; 0.02 of a share where None.
            across: Whether to judge runs of different conditions together.

        Raises:
            SpecError: No final run has ended yet.
            StoreError: No record can be read.
        """
        from peftscope.study.results import results_of

        return results_of(self.place, margin=margin, across=across)

    def recommend(
        self,
        *,
        max_memory: Amount | None = None,
        max_checkpoint: Amount | None = None,
        max_time: Amount | None = None,
        max_latency: Amount | None = None,
        max_forgetting: Amount | None = None,
        keep_of_base: Amount | None = None,
        limits: Mapping[str, Amount] | None = None,
        min_score: Amount | None = None,
        mergeable: bool = False,
        quantizable: bool = False,
        servable: str | Sequence[str] = (),
        prefer: str | Iterable[str] = ("score",),
        margin: Amount | None = None,
        have: str | None = None,
        across: bool = False,
    ) -> StudyRecommendation:
        """Which method to take, what is as good, and how sure that is.

        Amounts are written as on the command line (``12GB``, ``30min``, ``40%``), or are numbers in bytes, seconds,
        nats per token, or the score's unit.

        Args:
            max_memory: At the peak of training; ``max_checkpoint``: the saved adapter; ``max_time``: of training;
                ``max_latency``: of a decoding step at batch 1; ``max_forgetting``: rise of the loss on general text.
            keep_of_base: Least share of the base to keep, exp(-forgetting); ``limits``: of other quantities, by name.
            min_score: Least score.
            mergeable: Only methods that merge into the base; ``quantizable``: that train on a quantized one.
            servable: Only methods that ``vllm``, ``llama.cpp`` or ``diffusers`` loads as a LoRA, once converted.
            prefer: Quantities, the most important first; ``margin``: difference of scores that does not matter.
            have: Method the user has, LoRA where None; ``across``: whether to judge runs of other conditions, too.

        Raises:
            SpecError: A requirement cannot be read, or no final run has ended yet.
            StoreError: No record can be read.
        """
        from peftscope.study.recommendation import recommend_from
        from peftscope.study.requirements import Requirements

        named = {"memory": max_memory, "checkpoint": max_checkpoint, "time": max_time, "latency": max_latency}
        requirements = Requirements(
            costs={**named, "forgetting": max_forgetting, **(limits or {})},
            keep_of_base=keep_of_base,
            min_score=min_score,
            mergeable=mergeable,
            quantizable=quantizable,
            servable=servable,
            prefer=prefer if isinstance(prefer, str) else tuple(prefer),
            margin=margin,
            have=have,
        )
        return recommend_from(self.place, requirements, Request("recommend"), across=across)

    def report(self, path: str | Path | None = None, *, margin: Amount | None = None, across: bool = False) -> Report:
        """Write one page that works offline, its plots as pictures, its tables as files.

        Args:
            path: Folder for the files; ``report`` in the study's where None.
            margin: Difference of scores that does not matter.
            across: Whether to judge runs of different conditions together.

        Raises:
            SpecError: No final run has ended yet.
            StoreError: A record cannot be read, or the folder is not writable.
        """
        from peftscope.study.report import report_of

        folder = None if path is None else Path(path)
        return report_of(self.place, folder, Request("report"), margin=margin, across=across)

    def show(self, run: str) -> RunDetails:
        """One run: what it was, how it ended, its metrics, curve and outputs, and how to repeat it.

        Args:
            run: Its id, or the first letters of it.

        Raises:
            SpecError: There is none, or more than one.
        """
        from peftscope.study.run_details import details_of

        folder, record = find_record(run, self.folder)
        return details_of(record, folder)

    def rerun(self, run: str, *, threads: int | None = None, quiet: bool = False) -> Repetition:
        """Repeat a run from its record alone, and compare.

        Args:
            run: Its id, or the first letters of it.
            threads: Those of the run where None.
            quiet: Show no progress.

        Raises:
            SpecError: There is none, or it was imported.
            PeftscopeError: Model or data are not as they should be.
        """
        from peftscope.study.repetition import repeat
        from peftscope.views.progress.reporter import Reporter

        folder, record = find_record(run, self.folder)
        return repeat(record, folder, threads=threads, reporter=Reporter(quiet=quiet))

    def open(self, run: str | None = None) -> TrainedRun:
        """The trained model of a run with its processor, ready to use.

        Args:
            run: Its id, or the first letters of it; the best seed of the recommended method where None.

        Raises:
            SpecError: There is no such run, or it has no adapter.
            ModelError: The base cannot be loaded.
            StoreError: The adapter is missing or damaged.
        """
        from peftscope.study.trained import open_run

        return open_run(self, run)

    def publish(
        self, to: str, *, run: str | None = None, method: str | None = None, push: bool = False, **wishes: Any
    ) -> Publication:
        """Write what is published of the recommended method to a folder; with ``push`` upload it to the hub.

        Args:
            to: Repository: ``USER/NAME``.
            run: Id of another run; ``method`` another method, of which the best seed is taken.
            wishes: ``model``, ``output`` and ``private``, as ``peftscope.publish`` takes them.

        Raises:
            PeftscopeError: There is no such run, the folder cannot be written, or the hub refuses.
        """
        from peftscope.study.publication import publish

        adapter, study = (self.place, None) if run is None else (run, self.folder)
        return publish(adapter, to=to, method=method, study=study, push=push, **wishes)

    def interpolate(
        self, method: str | None = None, strengths: Iterable[Amount] = (0, 0.25, 0.5, 0.75, 1), keep: Amount = 0.9
    ) -> Interpolation:
        """Measure a method's adapters between base and adapter: how much gain is left, and how much is forgotten.

        Args:
            method: Of the study; what is recommended where None.
            strengths: Of the adapters' change, from 0 (the base) to 1; ``keep``: share of the gain that is to be kept.

        Raises:
            PeftscopeError: An argument is wrong, model, data or adapters are not as they were, or do not merge.
        """
        from peftscope.study.interpolation import interpolate

        return interpolate(self.place, Request("interpolate"), method=method, strengths=strengths, keep=keep)

    def export(
        self,
        *,
        to: str | Path | None = None,
        csv: str | Path | None = None,
        markdown: str | Path | None = None,
    ) -> Exported:
        """Write the records as result files of the PEFT benchmark, as CSV or as Markdown.

        Args:
            to: Folder for one file per run; ``csv``: file with a row per run.
            markdown: File with the runs' tables.

        Raises:
            SpecError: Nothing is asked for, or there is nothing to export.
        """
        from peftscope.study.import_export import export_study

        given = [None if place is None else Path(place) for place in (to, csv, markdown)]
        return export_study(self.folder, Request("export"), to=given[0], csv=given[1], markdown=given[2])
