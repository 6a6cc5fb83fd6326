"""What commands that do runs say at the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peftscope.cli.runs import Manner, Outcome, conclude
from peftscope.store.files import read_records
from pretend_study import ACCURACY, make_study


def test_the_document_of_a_tuned_study_says_that_rates_were_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path, {"base": 0.1, "oft": 0.5}, study={"name": "s", "tuning": {"trials": 2}})
    outcome = Outcome(
        command="compare", title="s", folder=tmp_path, records=read_records(tmp_path), metric=ACCURACY, study=study
    )
    conclude(outcome, Manner(json_output=True))
    sources: dict[str, set[str]] = {}
    for run in json.loads(capsys.readouterr().out)["runs"]:
        source = run["technique"]["learning_rate_source"]
        sources.setdefault(run["spec"]["purpose"], set()).add(source or "none: not trained")
    assert sources == {
        "final": {"none: not trained", "chosen by tuning on validation data"},
        "trial": {"tried by tuning"},
    }
