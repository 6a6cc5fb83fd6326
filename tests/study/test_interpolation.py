"""Less of an adapter: the ends are what the records say, what is measured stays, and what means nothing is not told."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from peftscope.errors import DataError, MethodRefused, SpecError
from peftscope.execution.execute import execute
from peftscope.methods.catalog import card
from peftscope.schema.record import RunRecord
from peftscope.schema.request import Request
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MethodSpec
from peftscope.store.files import read_records, record_path, write_record
from peftscope.study import strength_measuring
from peftscope.study.interpolation import Interpolation, interpolate
from peftscope.study.results import results_of
from peftscope.study.strengths import key_of
from peftscope.study.study import Study

STRENGTHS = "0,0.5,1"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions with answers, scored by loss: every digit of it tells two models apart."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"q": f"{a} plus {b}?", "a": f"{a + b}"}) for a in range(8) for b in range(8)))
    return path


@pytest.fixture(scope="module")
def trained(rows: Path, make_run: Callable[..., RunSpec], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the base, a method of two seeds and one that cannot be merged."""
    folder = tmp_path_factory.mktemp("study")
    like = make_run()
    options = {
        "train": str(rows), "prompt": "{q}\n", "target": "a", "metric": "loss", "valid_size": 8, "test_size": 24,
        "max_length": 64, "general_tokens": 200, "general_text": like.task.options["general_text"],
    }  # fmt: skip
    task = like.task.model_copy(update={"name": "own-data", "options": options})
    train = like.train.model_copy(update={"max_steps": 30, "batch_size": 8})
    for name, seed, rate in (("base", 0, None), ("hra", 0, 3e-2), ("hra", 1, 3e-2), ("prompt-tuning", 0, 1e-2)):
        method = MethodSpec(name=name)
        run = like.model_copy(update={"task": task, "train": train, "method": method, "seed": seed})
        record = execute(run.model_copy(update={"learning_rate": rate}), folder)
        assert record.status == "ok", record.reason
        write_record(folder, record)
    return folder


@pytest.fixture
def study(trained: Path, tmp_path: Path) -> Path:
    """The same folder, to be written to."""
    return Path(shutil.copytree(trained, tmp_path / "study"))


def _measured(folder: Path, **parts: object) -> Interpolation:
    return interpolate(folder, Request("interpolate"), **{"method": "hra", "strengths": STRENGTHS, **parts})  # type: ignore[arg-type]


def _records(folder: Path, method: str) -> list[RunRecord]:
    return [r for r in read_records(folder) if r.spec.method.name == method]


def test_strength_0_is_the_bases_record_and_1_the_runs_to_the_last_digit(study: Path) -> None:
    found = _measured(study)
    assert found.deviations == ()
    assert not found.has_problems
    (base,) = _records(study, "base")
    stored = {p.stem: json.loads(p.read_text()) for p in (study / "strengths").glob("*.json")}
    ends = {"base-0.0": base, **{f"{r.run_id}-1.0": r for r in _records(study, "hra")}}
    assert set(stored) == {*ends, *(f"{run}-0.5" for run in found.runs)}
    for name, record in ends.items():
        scores = {e["example_id"]: e["score"] for e in stored[name]["test"]}
        assert scores == {e.example_id: e.score for e in record.examples}
        assert len(scores) == 24
        for metric in ("forgetting", "drift", "general_loss"):
            assert stored[name]["metrics"][metric] == record.metrics[metric]
        valid = [e["score"] for e in stored[name]["valid"]]
        assert sum(valid) / len(valid) == record.metrics["valid_score"]
    assert found.curve.points[0].score.value == pytest.approx(base.metrics["test_score"])


def test_the_curve_goes_from_base_to_adapter_and_a_share_of_the_gain_has_its_strength(study: Path) -> None:
    found = _measured(study, keep="80%")
    curve = found.curve
    losses = [point.score.value for point in curve.points]
    assert losses == sorted(losses, reverse=True)
    assert curve.is_gain_detectable
    assert curve.num_seeds == 2
    kept = [point.kept for point in curve.points]
    assert all(share is not None for share in kept)
    assert found.strength is not None
    assert 0.0 < found.strength < 1.0
    assert curve.strength is not None
    assert curve.strength.low is not None
    assert curve.strength.high is not None
    assert curve.strength.low <= found.strength <= curve.strength.high
    assert curve.chosen is not None
    assert curve.chosen.gain.value == pytest.approx(losses[0] - curve.chosen.score.value)
    assert curve.points[1].forgetting is not None
    assert curve.points[1].forgetting.interval is not None
    text = " ".join(found.text().split())
    assert "of the gain and costs" in text
    assert "Strength 0 is the base and 1 the adapter, as their records have them, to the last digit." in text
    document = found.document()
    assert document["schema"] == "peftscope.interpolate/1"
    assert [point["strength"] for point in document["strengths"]] == [0.0, 0.5, 1.0]
    assert document["exact"] is True
    assert document["chosen_on"] == "valid"
    json.dumps(document)


def test_a_second_call_measures_only_what_is_missing(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _measured(study).num_measured == 5  # the base once, for both seeds
    again = _measured(study)
    assert again.num_measured == 0
    assert again.curve == _measured(study, strengths=[0.5]).curve
    wanted: list[list[float]] = []
    own = strength_measuring.measure_strengths

    def noted(record: RunRecord, folder: Path, strengths: list[float], **how: object) -> None:
        wanted.append(list(strengths))
        own(record, folder, strengths, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(strength_measuring, "measure_strengths", noted)
    assert _measured(study, strengths="0.25,0.5").num_measured == 2
    assert wanted == [[0.25], [0.25]]


def test_what_was_measured_before_an_interruption_is_kept(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(line: str) -> None:
        if "strength 0.5" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _measured(study, told=broken)
    assert sorted(p.stem.rsplit("-", 1)[1] for p in (study / "strengths").glob("*.json")) == ["0.0", "1.0"]
    assert _measured(study).num_measured == 3


def test_measured_strengths_of_another_training_or_damaged_ones_are_measured_anew(study: Path) -> None:
    _measured(study)
    first, second = _records(study, "hra")
    attempt = first.attempts[-1].model_copy(update={"ended_at": "2031-01-01T00:00:00+00:00"})
    record_path(study, first.run_id).write_text(
        first.model_copy(update={"attempts": (attempt,)}).model_dump_json(by_alias=True)
    )
    (study / "strengths" / f"{second.run_id}-0.5.json").write_text("{")
    assert _measured(study).num_measured == 3


def test_what_the_ends_are_not_is_told(study: Path) -> None:
    (first, _) = _records(study, "hra")
    changed = {**first.metrics, "forgetting": 0.5}
    record_path(study, first.run_id).write_text(
        first.model_copy(update={"metrics": changed}).model_dump_json(by_alias=True)
    )
    found = _measured(study)
    assert found.has_problems
    (told,) = found.deviations
    assert f"Strength 1 of seed {first.spec.seed} is not its record's to the last digit: forgetting" in told
    assert found.document()["exact"] is False


def test_an_adapter_that_is_gone_is_left_out_and_told(study: Path) -> None:
    gone = _records(study, "hra")[1].run_id
    shutil.rmtree(study / "adapters" / gone)
    found = _measured(study)
    assert found.missing == (gone,)
    assert found.has_problems
    assert "The adapters of 1 of 2 seeds are not kept" in found.text()
    assert "One seed" in found.text()
    for folder in (study / "adapters").iterdir():
        shutil.rmtree(folder)
    with pytest.raises(SpecError, match="no adapter of hra is kept"):
        _measured(study)


def test_what_cannot_be_interpolated_or_asked_for_is_refused_with_the_reason(study: Path) -> None:
    with pytest.raises(MethodRefused, match="prompt-tuning has no strengths between 0 and 1"):
        _measured(study, method="prompt-tuning")
    with pytest.raises(SpecError, match=r"did you mean 'hra'"):
        _measured(study, method="hrra")
    with pytest.raises(SpecError) as caught:
        _measured(study, strengths="0,1.5,x", keep="0%")
    text = str(caught.value)
    assert "1.5: must be from 0 (the base) to 1" in text
    assert "'x' is not what is wanted" in text
    assert "keep: 0%: must be a share above 0 %" in text


def test_changes_that_do_not_lead_to_the_adapter_are_refused(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (record,) = _records(study, "prompt-tuning")
    monkeypatch.setattr(strength_measuring, "card_with_strengths", lambda record: card(record.spec.method.name))
    with pytest.raises(MethodRefused, match=r"the base misses 100 % of what the adapter does"):
        strength_measuring.measure_strengths(record, study, [0.5], done=lambda point: None)


def test_other_data_than_the_runs_are_refused(study: Path, rows: Path) -> None:
    text = rows.read_text()
    try:
        rows.write_text(text.replace("plus", "and"))
        with pytest.raises(DataError, match="no longer those"):
            _measured(study)
    finally:
        rows.write_text(text)


def test_seeds_with_splits_of_their_own_have_a_base_each(study: Path) -> None:
    record = _records(study, "hra")[0]
    own = record.model_copy(update={"spec": record.spec.model_copy(update={"vary_split": True})})
    assert (key_of(record, 0.0), key_of(record, 0.5)) == ("base", record.run_id)
    assert (key_of(own, 0.0), key_of(own, 0.5)) == (record.run_id, record.run_id)


def test_the_python_call_takes_the_recommended_method(study: Path) -> None:
    found = Study.load(study).interpolate(strengths=(0.5,), keep=0.5)
    assert found.method == Study.load(study).recommend().choice == "hra"
    assert found.curve.keep == 0.5
    assert repr(found).startswith("study: hra between base (0) and adapter (1), 2 seeds")


def _forgets(study: Path, by_strength: dict[float, float]) -> None:
    """Have every adapter forget what is said, at every strength that was measured."""
    for record in _records(study, "hra"):
        metrics = {**record.metrics, "forgetting": by_strength[1.0]}
        text = record.model_copy(update={"metrics": metrics}).model_dump_json(by_alias=True)
        record_path(study, record.run_id).write_text(text)
    for path in (study / "strengths").glob("*.json"):
        point = json.loads(path.read_text())
        point["metrics"]["forgetting"] = by_strength[point["strength"]]
        path.write_text(json.dumps(point))


def test_a_share_of_the_base_to_keep_offers_less_of_an_adapter(study: Path) -> None:
    forgotten = {0.0: 0.0, 0.5: 0.04, 1.0: 0.2}
    _forgets(study, forgotten)
    before = Study.load(study).recommend(keep_of_base="92%")
    assert before.choice != "hra"
    told = {topic.title: " ".join(topic.lines) for topic in before.topics}
    assert f"'peftscope interpolate {study} --method hra' measures it" in told["Kept by less of an adapter"]
    assert [(each.method, each.point) for each in before.at_strength] == [("hra", None)]
    assert "prompt-tuning" not in {each.method for each in before.at_strength}
    _measured(study)
    _forgets(study, forgotten)
    after = Study.load(study).recommend(keep_of_base=0.92)
    (offer,) = after.at_strength
    bound = -math.log(0.92)
    assert offer.point is not None
    assert offer.point.strength == pytest.approx(0.5 + 0.5 * (bound - 0.04) / 0.16)
    assert not offer.point.is_measured
    assert offer.point.base_kept is not None
    assert offer.point.base_kept.value == pytest.approx(0.92)
    assert "hra at strength 0.64 keeps 92.0 % of the base and" in " ".join(after.text().split())
    assert "forgetting ≤ 0.083, which keeps 92 % of the base" in " ".join(after.text().split())
    document = after.document()
    assert document["keep_of_base"] == 0.92
    assert document["limits"]["forgetting"] == pytest.approx(bound)
    assert document["at_strength"][0]["base_kept"] == pytest.approx(0.92)
    assert Study.load(study).recommend(keep_of_base="80%").at_strength == ()  # at full strength it keeps as much
    assert Study.load(study).recommend(keep_of_base="80%").choice == "hra"


@pytest.mark.parametrize("given", ["95", "1.5", "0%", "abc", 95, 0.0])
def test_a_share_of_the_base_that_is_none_is_refused(study: Path, given: str | float) -> None:
    with pytest.raises(SpecError, match="keep_of_base"):
        Study.load(study).recommend(keep_of_base=given)


def test_a_share_of_the_base_and_a_limit_on_forgetting_exclude_each_other(study: Path) -> None:
    with pytest.raises(SpecError, match="give one of the two"):
        Study.load(study).recommend(keep_of_base=0.95, max_forgetting=0.1)
    assert results_of(study).records
