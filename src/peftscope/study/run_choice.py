"""Which run of a study is taken, and where its weights lie; no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from peftscope.errors import SpecError
from peftscope.methods.catalog import card
from peftscope.schema.record import RunRecord
from peftscope.study.recommendation import best_run_of
from peftscope.study.results import StudyResults

if TYPE_CHECKING:
    from peftscope.study.study import Study

__all__ = ["OF_OTHERS", "adapter_folder", "best_run", "choice_text"]

OF_OTHERS = "others ran it, and its checkpoint is not here; run a study of your own"


def adapter_folder(folder: Path, record: RunRecord, *, must_exist: bool = True) -> Path:
    """Where the checkpoint of a run lies.

    Raises:
        SpecError: It is not there, and must be.
    """
    adapter = folder / "adapters" / record.run_id
    if must_exist and record.origin == "foreign":
        raise SpecError(record.run_id, [OF_OTHERS])
    if must_exist and not adapter.is_dir():
        raise SpecError(
            record.run_id, [f"its checkpoint is not there ({adapter}); {record.status}: a final run has one"]
        )
    return adapter


def best_run(study: Study) -> str:
    """Id of the recommended method's final run with the best validation loss, so that no test score picks it.

    Raises:
        SpecError: Nothing is recommended that was trained.
    """
    recommended = study.recommend()
    if not recommended.trains:
        raise SpecError(study.name, ["nothing that is trained is recommended; name a run"])
    assert recommended.choice is not None
    run_id, _ = best_run_of(recommended.results, recommended.choice)
    assert run_id is not None, "what is recommended has run"
    return run_id


def choice_text(results: StudyResults) -> str:
    """How a study came to what it recommends, in a sentence."""
    final = results.runs.query("purpose == 'final'")
    methods = sorted(title for title, name in set(zip(final["method"], final["card"])) if card(name).trains)
    return (
        f"what `peftscope recommend` takes of {len(methods)} methods that were trained under the same conditions "
        f"({', '.join(methods)}); of its seeds the one with the least validation loss"
    )
