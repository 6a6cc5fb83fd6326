"""Thousands of records are read as rows, and what is no record harms nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path

from peftscope.store.frame import frame_of
from peftscope.store.rows import RowReader, folder_state
from peftscope.study.run_documents import runs_document
from pretend_study import make_study

SHARES = {"base": 0.2, "lora": 0.6, "oft": 0.5}


def test_rows_agree_with_the_frame_of_whole_records(tmp_path: Path) -> None:
    from peftscope.store.files import read_records

    make_study(tmp_path / "s", SHARES)
    rows = {row.run_id: row for row in RowReader(tmp_path / "s").rows()}
    frame = frame_of(read_records(tmp_path / "s")).set_index("run_id")
    assert set(rows) == set(frame.index)
    for run_id, row in rows.items():
        other = frame.loc[run_id]
        assert (row.method, row.task, row.model, row.seed, row.purpose, row.status) == (
            other["method"], other["task"], other["model"], other["seed"], other["purpose"], other["status"],
        )  # fmt: skip
        assert all(other[name] == value for name, value in row.metrics.items())


def test_what_is_no_record_is_left_out_with_the_reason(tmp_path: Path) -> None:
    make_study(tmp_path / "s", SHARES)
    records = tmp_path / "s/records"
    count = len(RowReader(tmp_path / "s").rows())
    (records / "a.json").write_text("{broken", "utf-8")
    (records / "b.json").write_text("[]", "utf-8")
    (records / "c.json").write_text('{"run_id": "c", "spec": 7}', "utf-8")
    (records / "d.json").write_bytes(b"\xff\xfe\x00")
    (records / "e.json").mkdir()
    (records / "f.json").write_text("[" * 100_000, "utf-8")
    spec = {"method": {"name": "x"}, "task": {"name": "t"}, "model": {"source": "m"}, "seed": "one"}
    (records / "g.json").write_text(json.dumps({"run_id": "g", "spec": spec, "status": "ok"}), "utf-8")
    (records / "h.json").write_text(
        json.dumps({"run_id": "h", "spec": {**spec, "seed": 1e999}, "status": "ok"}), "utf-8"
    )
    odd_rate = {"run_id": "i", "spec": {**spec, "seed": 1, "learning_rate": math.nan}, "status": "ok"}
    (records / "i.json").write_text(json.dumps(odd_rate), "utf-8")
    reader = RowReader(tmp_path / "s")
    assert len(reader.rows()) == count
    assert [note.split(":")[1].split()[0] for note in reader.notes] == [f"{name}.json" for name in "abcdefghi"]


def test_what_is_left_out_names_the_field_that_is_wrong(tmp_path: Path) -> None:
    make_study(tmp_path / "s", SHARES)
    path = next((tmp_path / "s/records").iterdir())
    path.write_text(json.dumps({**json.loads(path.read_text()), "spec": 7}))
    reader = RowReader(tmp_path / "s")
    reader.rows()
    assert reader.notes == [f"left out: {path.name} is no record (spec: input should be a mapping; given 7)"]


def test_settings_are_told_as_they_are_elsewhere_on_the_page(tmp_path: Path) -> None:
    make_study(tmp_path / "s", SHARES)
    path = next((tmp_path / "s/records").iterdir())
    record = json.loads(path.read_text())
    record["spec"]["method"]["knobs"] = {"bias": "", "target": ["köpfe"], "none": {}, "r": 8}
    path.write_text(json.dumps(record))
    row = next(row for row in RowReader(tmp_path / "s").rows() if row.run_id == record["run_id"])
    knobs = {name: text for name, text in row.settings.items() if name.startswith("method.knobs")}
    assert knobs == {"method.knobs.bias": '""', "method.knobs.target": '["köpfe"]', "method.knobs.r": "8"}


def test_figures_that_are_none_are_left_out(tmp_path: Path) -> None:
    make_study(tmp_path / "s", SHARES)
    path = next((tmp_path / "s/records").iterdir())
    record = json.loads(path.read_text())
    record["metrics"] |= {"huge": 10**400, "odd": math.inf, "yes": True, "plain": 1.5}
    path.write_text(json.dumps(record))
    (metrics,) = (row.metrics for row in RowReader(tmp_path / "s").rows() if row.run_id == record["run_id"])
    assert metrics["plain"] == 1.5
    assert not {"huge", "odd", "yes"} & set(metrics)


def test_scores_of_several_metrics_are_not_called_by_the_name_of_one(tmp_path: Path) -> None:
    make_study(tmp_path / "s", SHARES)
    path = next((tmp_path / "s/records").iterdir())
    record = json.loads(path.read_text())
    record["metric"] = {"name": "loss", "unit": "task", "direction": "lower", "window": "w"}
    path.write_text(json.dumps(record))
    document = runs_document(tmp_path / "s", name="s", place="s")
    assert document["score"] is None
    assert "accuracy" not in document["axes"]["test_score"]["label"]


def test_a_second_reading_sees_what_has_changed(tmp_path: Path) -> None:
    make_study(tmp_path / "s", SHARES)
    reader = RowReader(tmp_path / "s")
    before, state = reader.rows(), folder_state(tmp_path / "s")
    path = tmp_path / "s/records" / f"{before[0].run_id}.json"
    record = json.loads(path.read_text())
    record["metrics"]["test_score"] = 0.123456
    path.write_text(json.dumps(record))
    after = reader.rows()
    assert folder_state(tmp_path / "s") != state
    assert next(row for row in after if row.run_id == before[0].run_id).metrics["test_score"] == 0.123456
    assert after[1] is before[1]


def test_a_record_written_in_another_form_is_read_whole(tmp_path: Path) -> None:
    make_study(tmp_path / "s", SHARES)
    plain = RowReader(tmp_path / "s").rows()
    for path in (tmp_path / "s/records").iterdir():
        path.write_text(json.dumps(json.loads(path.read_text())))
    assert RowReader(tmp_path / "s").rows() == plain
