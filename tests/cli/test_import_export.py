"""What a stranger meets who brings results along, or takes them elsewhere."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from peftscope.errors import SpecError
from peftscope.study.folder import study_folder
from published import image_result, text_result

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def columns() -> int:
    """Width of the terminal."""
    return 80


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder with results of both benchmarks; one failed, one is a formula to a spreadsheet."""
    failed = text_result(experiment_name="vera/x", error_msg="CUDA out of memory. Tried", peft_config=None)
    failed["train_info"] |= {"status": "canceled", "metrics": []}
    formula = text_result(experiment_name='=HYPERLINK("x")|[red]', seed=1)
    for name, document in {
        "MetaMathQA/a": text_result(),
        "MetaMathQA/b": failed,
        "MetaMathQA/c": formula,
        "image-gen/a": image_result(),
    }.items():
        path = tmp_path / "theirs" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
    return tmp_path / "theirs"


def test_import_reports_its_results_and_repeating_it_adds_nothing(call: Call, theirs: Path, tmp_path: Path) -> None:
    code, out, err = call("import-results", str(theirs))
    assert code == 0, err
    assert "4 records (3 of MetaMathQA, 1 of image-gen), 4 written: results/theirs" in out
    assert "lora/llama-rank8" in out
    assert "0.625" in out
    assert "vera/x lr 0.0001 seed 0: oom: CUDA out of memory" in out
    assert "no intervals" in out
    before = {p: p.read_bytes() for p in (tmp_path / "results/theirs/records").iterdir()}
    code, out, _ = call("import-results", str(theirs))
    assert code == 0
    assert "all there already" in out
    assert {p: p.read_bytes() for p in (tmp_path / "results/theirs/records").iterdir()} == before


def test_a_single_benchmark_can_be_imported_and_reported_as_json(call: Call, theirs: Path) -> None:
    code, out, _ = call("import-results", str(theirs / "image-gen"), "--out", "there", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["schema"] == "peftscope.import-results/1"
    assert document["counts"] == {"image-gen": 1}
    assert (document["folder"], document["num_records"], document["num_written"]) == ("there", 1, 1)
    (run,) = document["runs"]
    assert run["origin"] == "foreign"
    assert run["single"] is True
    assert "foreign" not in run


def test_exporting_imported_results_gives_the_original_files(call: Call, theirs: Path, tmp_path: Path) -> None:
    call("import-results", str(theirs))
    code, out, _ = call("export", "results/theirs", "--layout", "upstream", "--to", "out", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["schema"] == "peftscope.export/1"
    assert len(document["files"]) == document["num_records"] == 4
    assert json.loads((tmp_path / "out/MetaMathQA/lora--llama-rank8.json").read_text()) == text_result()
    assert json.loads((tmp_path / "out/image-gen/lora--flux-default.json").read_text()) == image_result()
    code, out, _ = call("import-results", "out", "--out", "results/theirs")
    assert "all there already" in out


def test_the_csv_lists_every_run_and_no_spreadsheet_formula(call: Call, theirs: Path, tmp_path: Path) -> None:
    call("import-results", str(theirs))
    code, out, _ = call("export", "results/theirs", "--csv", "-")
    assert code == 0
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(out))}
    assert len(rows) == 4
    assert '\'=HYPERLINK("x")|[red]' in rows
    plain, failed = rows["lora/llama-rank8"], rows["vera/x"]
    assert plain["checkpoint_bytes"] == "4200001"  # a count, though another run has none
    assert float(plain["test_score"]) == 0.625
    assert plain["quality_protocol"]
    assert (failed["status"], failed["test_score"]) == ("oom", "")
    assert "out of memory" in failed["reason"]
    code, out, _ = call("export", "results/theirs", "--csv", "sub/runs.csv")
    assert code == 0
    assert (tmp_path / "sub/runs.csv").read_text().count("\n") == 5


def test_markdown_ranks_within_equal_conditions_and_includes_failures(call: Call, theirs: Path) -> None:
    call("import-results", str(theirs))
    code, out, _ = call("export", "results/theirs", "--markdown", "-")
    assert code == 0
    assert out.count("**") == 4  # two tables, one per benchmark
    lines = [line for line in out.splitlines() if line.startswith("|")]
    assert any('=HYPERLINK("x")\\|[red]' in line for line in lines)
    assert any("vera/x" in line and "| oom |" in line for line in lines)
    assert "- vera/x lr 0.0001 seed 0: oom: CUDA out of memory" in out


def test_the_results_folder_is_found_from_the_study_file(call: Call, theirs: Path, tmp_path: Path) -> None:
    call("import-results", str(theirs))
    (tmp_path / "study.yaml").write_text("name: theirs\nmethods: [this is not checked]\n")
    assert study_folder(Path("study.yaml")) == Path("results/theirs")
    code, out, _ = call("export", "study.yaml", "--csv", "-")
    assert code == 0
    assert out.count("\n") == 5


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ("results/thiers", "did you mean results/theirs?"),
        ("theirs-", "did you mean results/theirs?"),
        ("results", "did you mean results/theirs?"),
        ("stduy.yaml", "did you mean study.yaml?"),
        ("study.yaml", "'peftscope compare study.yaml' makes them"),
        ("list.yaml", "no 'name'"),
        ("up.yaml", "no 'name'"),
        ("broken.yaml", "not a readable study"),
    ],
)
def test_a_path_without_records_is_named_with_nearby_alternatives(
    given: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/theirs/records").mkdir(parents=True)
    for name, text in {"study": "name: other", "list": "[1]", "up": "name: ..", "broken": "a: ["}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        study_folder(Path(given))
    assert given in str(caught.value)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["import-results", "nowhere"], "no such folder"),
        (["import-results", "file.json"], "give a folder"),
        (["import-results", "empty"], "no result files"),
        (["import-results", "broken"], "broken.json: not valid JSON"),
        (["import-results", "theirs", "--out", "file.json"], "choose another folder"),
        (["export", "results/theirs"], "nothing asked for"),
        (["export", "results/theirs", "--layout", "upstraem", "--to", "x"], "did you mean 'upstream'?"),
        (["export", "results/theirs", "--layout", "upstream"], "needs --to"),
        (["export", "results/theirs", "--to", "file.json"], "choose another folder"),
        (["export", "results/theirs", "--csv", "-", "--json"], "would print into one another"),
        (["export", "results/theirs", "--csv", "-", "--markdown", "-"], "would print into one another"),
        (["export", "bare", "--csv", "-"], "nothing to export"),
        (["export"], "study"),
    ],
)
def test_wrong_requests_end_with_exit_code_2_and_no_traceback(
    arguments: list[str], part: str, call: Call, theirs: Path, tmp_path: Path
) -> None:
    (tmp_path / "file.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare/records").mkdir(parents=True)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/broken.json").write_text("{")
    if arguments[0] == "export":
        call("import-results", str(theirs))
    code, out, err = call(*arguments)
    assert code == 2
    assert part in err
    assert "Traceback" not in err
    assert ("peftscope.error/1" in out) if "--json" in arguments else not out


def test_published_results_fit_80_columns_and_are_all_exported_again(
    call: Call, shared_data: Path, tmp_path: Path
) -> None:
    code, out, _ = call("import-results", str(shared_data / "published"))
    assert code == 0
    assert "77 records (52 of MetaMathQA, 25 of image-gen), 77 written" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "osf/llama-3.2-3B-rank128" in out
    call("export", "results/published", "--to", "out")
    assert len(list((tmp_path / "out").glob("*/*.json"))) == 77
