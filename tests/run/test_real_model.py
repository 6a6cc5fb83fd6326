"""The demo's promise, on the real embedded model."""

from __future__ import annotations

from pathlib import Path

import pytest

from peftscope.analysis.summary import summarise
from peftscope.cli.vocabulary import vocabulary
from peftscope.methods.catalog import BASE
from peftscope.plan.expand import expand
from peftscope.run.launch import launch
from peftscope.spec.reader import read_study
from peftscope.store.frame import examples_of, frame_of

DEMO = Path(__file__).resolve().parents[2] / "studies" / "demo.yaml"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_learns_something_beyond_doubt_on_the_real_model(tmp_path: Path) -> None:
    study = read_study(DEMO, vocabulary())
    runs = [run for run in expand(study) if run.method.name in (BASE, study.methods[0].name)]
    records = list(launch(runs, tmp_path, on_event=lambda run, stage, payload: None))
    assert [record.status for record in records] == ["ok", "ok"], [r.reason for r in records]
    rows = summarise(frame_of(records), examples_of(records), base=BASE)
    assert rows[0]["is_base"]
    assert rows[1]["gain_interval"][0] > 0.1
    trained = records[1].metrics
    assert trained["num_total_params"] - trained["num_trainable_params"] == 134_515_008
    assert trained["peak_train_memory_bytes"] > trained["base_memory_bytes"]
    assert records[0].weights_sha256 == records[1].weights_sha256
