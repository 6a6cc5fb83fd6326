"""A study drafted from data: every format is read as it comes, what is odd is counted, and the study runs as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from peftscope.errors import DataError, SpecError
from peftscope.models.kinds.causal_lm.loading import load_tokenizer
from peftscope.schema.study import ModelSpec, TaskSpec
from peftscope.study.study import Study
from peftscope.tasks.base import TaskContext
from peftscope.tasks.registry import create

NANO = "builtin:nano-lm"
THINGS = ("parcel", "ticket", "invoice", "router", "key", "badge")
TEAMS = ("post", "desk", "shop")
ROWS = [{"text": f"The {THINGS[i % 6]} number {i} is late", "team": TEAMS[i // 2 % 3]} for i in range(90)]
TURNS = [
    {"messages": [{"role": "user", "content": row["text"]}, {"role": "assistant", "content": row["team"]}]}
    for row in ROWS
]
PAIRS = [{"prompt": row["text"], "completion": row["team"]} for row in ROWS]


def _csv(rows: Sequence[dict[str, Any]], delimiter: str) -> str:
    header = delimiter.join(rows[0])
    return "\n".join([header, *(delimiter.join(f'"{value}"' for value in row.values()) for row in rows)]) + "\n"


def _lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(ROWS), path)


def _arrow(path: Path) -> None:
    import pyarrow as pa

    table = pa.Table.from_pylist(ROWS)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "train.csv").write_text(_csv(ROWS[:70], ","))
    (path / "test.jsonl").write_bytes(_lines(ROWS[70:]))
    (path / "README.md").write_text("not rows")


def _share_gpt(row: dict[str, str]) -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": row["text"]}, {"from": "gpt", "value": row["team"]}]}


FORMATS: dict[str, Callable[[Path], object]] = {
    "lines.jsonl": lambda path: path.write_bytes(_lines(ROWS)),
    "lines.json": lambda path: path.write_bytes(_lines(ROWS)),
    "list.json": lambda path: path.write_text(json.dumps(ROWS)),
    "keyed.json": lambda path: path.write_text(json.dumps({"version": 1, "data": ROWS}, indent=1)),
    "comma.csv": lambda path: path.write_text(_csv(ROWS, ",")),
    "semicolon.csv": lambda path: path.write_text(_csv(ROWS, ";"), encoding="utf-8-sig"),
    "tab.tsv": lambda path: path.write_text(_csv(ROWS, "\t")),
    "windows.csv": lambda path: path.write_bytes(_csv(ROWS, ",").replace("late", "spät").encode("cp1252")),
    "utf16.csv": lambda path: path.write_text(_csv(ROWS, ","), encoding="utf-16"),
    "rows.parquet": _parquet,
    "rows.arrow": _arrow,
    "folder": _folder,
    "messages.jsonl": lambda path: path.write_bytes(_lines(TURNS)),
    "sharegpt.json": lambda path: path.write_text(json.dumps([_share_gpt(row) for row in ROWS])),
    "pairs.jsonl": lambda path: path.write_bytes(
        _lines([{"prompt": r["text"], "completion": r["team"]} for r in ROWS])
    ),
    "talk.jsonl": lambda path: path.write_bytes(
        _lines([{"prompt": t["messages"][:1], "completion": t["messages"][1:]} for t in TURNS])
    ),
    "alpaca.json": lambda path: path.write_text(
        json.dumps([{"instruction": "Which team?", "input": r["text"], "output": r["team"]} for r in ROWS])
    ),
    "preferred.jsonl": lambda path: path.write_bytes(
        _lines([{"prompt": r["text"], "chosen": r["team"], "rejected": "none"} for r in ROWS])
    ),
    "plain.jsonl": lambda path: path.write_bytes(_lines([{"text": f"{r['text']}, says {r['team']}."} for r in ROWS])),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_drafted_into_a_study_that_can_be_prepared(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    FORMATS[name](path)
    draft = Study.draft(path, model=NANO)
    options = {key: value for key, value in draft.spec["task"].items() if key != "name"}
    task = create(
        TaskSpec(name="own-data", options=options), TaskContext(processor=load_tokenizer(ModelSpec(source=NANO)))
    )
    assert task.size("train") + task.size("valid") + task.size("test") == 90
    assert task.metric.name == ("held_out_loss" if name == "plain.jsonl" else "exact_match")
    assert yaml.safe_load(draft.yaml) == draft.spec
    assert name == "plain.jsonl" or task.show("test", 0).target in TEAMS
    assert draft.study.spec.task.name == "own-data"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["semicolon.csv", "messages.jsonl", "folder", "preferred.jsonl"])
def test_a_drafted_study_runs_as_it_is(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    FORMATS[name](path)
    study = tmp_path / f"{path.stem}.yaml"

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "peftscope", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    drafted = call("init", "--data", name, "--model", NANO)
    assert drafted.returncode == 0, drafted.stderr
    short = study.read_text().replace("[lora, rslora, oft, ia3]", "[lora]").replace("effort: quick", "trials: 1")
    study.write_text(short.replace("max_steps: ", "max_steps: 3 #"))
    done = call("compare", study.name, "--quiet")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / path.stem / "records").is_dir()


MESSY: dict[str, tuple[list[dict[str, Any]], str]] = {
    "gaps": ([*ROWS, {"text": "x y", "team": None}, {"text": "z", "team": float("nan")}],
             "2 of 92 rows have no target (rows 91, 92)"),
    "gap words": ([*ROWS, *({"text": f"q {i}", "team": "nan"} for i in range(4))],
                  "4 of 94 rows have the target 'nan', a word that programs write for a gap (rows 91, 92, 93, …)"),
    "repeats": ([*ROWS, *ROWS[:2]], "2 of 92 rows repeat another row word for word (rows 91, 92)"),
    "contradictions": ([*ROWS, {"text": "same", "team": "post"}, {"text": "Same ", "team": "desk"}],
                       "2 of 92 rows have a prompt that stands with several different targets (rows 91, 92)"),
    "marks": ([*ROWS, {"text": "<|im_start|>user hi", "team": "post"}],
              "1 of 91 rows hold marks of a model's format, such as <|im_start|> (row 91)"),
    "control": ([*ROWS, {"text": "a\x00b", "team": "post"}],
                "1 of 91 rows hold control characters or signs that could not be decoded (row 91)"),
    "open ends": ([*TURNS, {"messages": TURNS[0]["messages"] + [{"role": "user", "content": "And?"}]}],
                  "1 of 91 rows end in turns without an answer, which are left out (row 91)"),
    "digits": ([*ROWS, {"text": "१२ late", "team": "post"}],
               "1 of 91 rows hold digits of another script (devanagari) (row 91)"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MESSY)
def test_what_is_odd_is_counted_with_its_rows(kind: str, tmp_path: Path) -> None:
    rows, said = MESSY[kind]
    (tmp_path / "d.jsonl").write_bytes(_lines(rows))
    draft = Study.draft(tmp_path / "d.jsonl", model=NANO)
    assert said in draft.oddities, draft.oddities
    assert said in draft.text(width=300)
    assert draft.document()["oddities"] == list(draft.oddities)


def test_a_majority_label_is_told_and_scored_by_class(tmp_path: Path) -> None:
    rows = [{**row, "team": "post" if i % 20 else "desk"} for i, row in enumerate(ROWS)]
    (tmp_path / "d.jsonl").write_bytes(_lines(rows))
    draft = Study.draft(tmp_path / "d.jsonl", model=NANO)
    assert draft.spec["task"]["metric"] == "macro_f1"
    assert "2 labels: 'post' 85, 'desk' 5; always giving the commonest is right in 94.4 %" in draft.found


@pytest.mark.parametrize(
    ("target", "metric"),
    [
        (lambda i: str(3 * i), "numeric"),
        (lambda i: f"First {i}, then double.\n#### {2 * i}", "numeric"),
        (lambda i: json.dumps({"id": i, "late": True}), "json"),
        (lambda i: f"number {i} of them", "exact_match"),
        (lambda i: f"Parcel {i} " + "was brought to another house and comes back soon. " * 2, "loss"),
    ],
)
def test_the_metric_follows_from_the_answers(target: Callable[[int], str], metric: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(
        _lines([{"question": r["text"], "answer": target(i)} for i, r in enumerate(ROWS)])
    )
    assert Study.draft(tmp_path / "d.jsonl", model=NANO).spec["task"]["metric"] == metric


def test_test_rows_that_stand_in_training_are_told_exactly_and_nearly(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(_lines(ROWS))
    leaked = [
        ROWS[3],
        {"text": "The parcel number 999 is late!", "team": "post"},
        {"text": "New words", "team": "desk"},
    ]
    (tmp_path / "test.jsonl").write_bytes(_lines(leaked))
    draft = Study.draft(tmp_path, model=NANO)
    assert "test: 1 of 3 rows ask what a training row asks (row 1)" in draft.oddities
    assert "test: 1 of 3 rows ask what a training row asks but for numbers or signs (row 2)" in draft.oddities


def test_a_draft_is_not_written_over_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("My tickets.csv").write_text(_csv(ROWS, ","))
    written = Study.draft("My tickets.csv", model=NANO).write()
    assert written.path == Path("my-tickets.yaml")
    text = written.path.read_text()
    assert text.startswith("# prompt from 'text', answer 'team'; 90 rows")
    assert (
        "# Run it with: peftscope compare my-tickets.yaml; what it takes, peftscope plan my-tickets.yaml says" in text
    )
    with pytest.raises(SpecError, match="is there already"):
        Study.draft("My tickets.csv", model=NANO).write()
    Study.draft("My tickets.csv", model=NANO).write(force=True)


def test_a_draft_written_elsewhere_names_its_data_as_seen_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"ticket {n},{('red', 'blue')[n % 2]}" for n in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]))
    (tmp_path / "a").mkdir()
    (tmp_path / "c/d").mkdir(parents=True)
    first = Study.draft("rows.csv", model=NANO).write("a/s.yaml")
    assert first.spec["task"]["train"] == "../rows.csv"
    second = first.write("c/d/s.yaml")
    assert second.spec["task"]["train"] == "../../rows.csv"
    assert second.study.base == Path("c/d")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing.csv", None, "no such file or folder"),
        ("odd.csv", "colour,weight,price\nred,1,2\n", "which column is the prompt"),
        ("targets.jsonl", '{"question": "a", "answer": null}\n', "no row has an answer"),
        ("folder/valid.csv", "text,team\na,b\n", "none of valid.csv is called train"),
    ],
)
def test_data_that_cannot_be_drafted_are_refused_with_the_reason(
    name: str, content: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        Study.draft(path.parent if "/" in name else path, model=NANO)


def test_a_data_set_of_the_hub_is_read_by_its_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the hub's library reading a local folder in the place of a hub id."""
    import datasets

    folder = tmp_path / "store"
    folder.mkdir()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.Dataset.from_list(ROWS[:70]).to_parquet(folder / "train-00000-of-00001.parquet")
    datasets.Dataset.from_list(ROWS[70:]).to_parquet(folder / "validation-00000-of-00001.parquet")
    load, names = datasets.load_dataset, datasets.get_dataset_split_names
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **options: load(str(folder), **options))
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda path: names(str(folder)))
    draft = Study.draft("someone/tickets", model=NANO)
    task = draft.spec["task"]
    assert (task["dataset"], task["train"], task["valid"]) == ("someone/tickets", "train", "validation")
    assert "20 validation rows" in draft.found[0]
