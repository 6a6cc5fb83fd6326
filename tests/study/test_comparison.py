"""What commands that do runs say at the end."""

from __future__ import annotations

from pathlib import Path

from peftscope.store.files import read_records
from peftscope.study.comparison import comparison_of
from pretend_study import ACCURACY, make_study


def test_the_json_of_a_tuned_study_reports_rates_as_chosen(
    tmp_path: Path,
) -> None:
    study = make_study(tmp_path, {"base": 0.1, "oft": 0.5}, study={"name": "s", "tuning": {"trials": 2}})
    found = comparison_of(read_records(tmp_path), ACCURACY, folder=tmp_path, title="s", study=study)
    sources: dict[str, set[str]] = {}
    for run in found.document()["runs"]:
        source = run["method_facts"]["learning_rate_source"]
        sources.setdefault(run["spec"]["purpose"], set()).add(source or "none: not trained")
    assert sources == {
        "final": {"none: not trained", "chosen by tuning on validation data"},
        "trial": {"tried by tuning"},
    }


def test_a_warning_of_some_methods_alone_names_them(tmp_path: Path) -> None:
    study = make_study(tmp_path, {"base": 0.1, "lora": 0.4, "oft": 0.5}, study={"name": "s"})
    warned = {
        "base": ("of all", "of it alone"),
        "lora": ("of all", "of two"),
        "oft": ("of all", "of two", "oft: its own"),
    }
    ordered = sorted(read_records(tmp_path), key=lambda record: record.spec.method.title)
    records = [record.model_copy(update={"warnings": warned[record.spec.method.title]}) for record in ordered]
    found = comparison_of(records, ACCURACY, folder=tmp_path, title="s", study=study)
    assert set(found.warnings) == {"of all", "base: of it alone", "lora, oft: of two", "oft: its own"}
