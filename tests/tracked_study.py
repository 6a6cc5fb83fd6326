"""A study told to a real tracker, then read back with the tracker's own means; prints what was found as JSON.

Run as a program, so that what the trackers leave in a process (threads, services, settings) stays out of the tests':
``python tracked_study.py mlflow``, in the folder the tracker shall write to.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from peftscope.execution.trackers import tracker_for
from peftscope.schema.live import RunState
from peftscope.schema.record import Artefact, RunRecord
from peftscope.schema.run import RunSpec

PROJECT = "demo study"
RUNS = {
    name: RunSpec(model="builtin", task={"name": "math"}, method=method, learning_rate=1e-3, seed=seed)
    for name, method, seed in (("a", "lora", 0), ("b", "lora", 1), ("c", "oft", 0))
}
CALLED: list[str] = []


def state(name: str, *, attempts: int = 0, **reached: Any) -> RunState:
    run = RUNS[name]
    return RunState(
        run_id=run.run_id,
        title=run.title,
        worker=0,
        num_workers=2,
        num_attempts=attempts,
        started_at="2026-01-01T00:00:00+00:00",
        updated_at="2026-01-01T00:00:00+00:00",
        **reached,
    )


def record(name: str, status: Any, **parts: Any) -> RunRecord:
    return RunRecord(run_id=RUNS[name].run_id, spec=RUNS[name], status=status, **parts)


def tell(tracker: str) -> None:
    """Two runs at once, of which one is killed and tried again and one diverges; one is refused unstarted."""
    picture = Path("study") / "samples" / "a.png"
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8), (200, 30, 30)).save(picture)
    to = tracker_for(tracker, project=PROJECT, folder=Path("study"), warn=sys.exit)
    to.planned(list(RUNS.values()), [], 2)
    for name in "ab":
        to.started(RUNS[name], state(name))
        to.moved(RUNS[name], state(name, stage="load"))
    for step in (1, 2):
        for name in "ab":
            to.moved(RUNS[name], state(name, stage="train", step=step, max_steps=2, loss=ord(name) + step))
    to.moved(RUNS["b"], state("b", stage="validate", step=2, max_steps=2, loss=100.0, valid_score=0.25))
    to.moved(RUNS["b"], state("b", stage="score", step=2, max_steps=2, loss=100.0, valid_score=0.25))
    to.ended(RUNS["a"], record("a", "killed", reason="ended by SIGKILL"))
    to.started(RUNS["a"], state("a", attempts=1))
    to.moved(RUNS["a"], state("a", attempts=1, stage="train", step=1, max_steps=2, loss=0.5))
    to.ended(RUNS["b"], record("b", "diverged", reason="loss is NaN"))
    to.ended(RUNS["c"], record("c", "refused", reason="cannot run on this model"))
    metrics = {"test_score": 0.75, "num_trainable_params": 921_600, "forgetting": None}
    left = (
        Artefact(name="samples", path="samples/a.png", about="a red square"),
        Artefact(name="gone", path="samples/b.png", about="a file that somebody deleted"),
    )
    to.ended(RUNS["a"], record("a", "ok", metrics=metrics, artefacts=left))
    to.closed()


def mlflow_runs() -> Iterator[dict[str, Any]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name(PROJECT)
    for run in client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]):
        history = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
        tags = {key.removeprefix("peftscope."): value for key, value in run.data.tags.items()}
        yield {
            "title": run.info.run_name,
            "group": tags["group"],
            "tags": [tags["run_id"], tags["method"], tags["study"]],
            "attempt": tags["attempt"],
            "config": run.data.params,
            "loss": [(m.step, m.value) for m in history.get("step/loss", [])],
            "valid": [(m.step, m.value) for m in history.get("step/valid_score", [])],
            "final": {key: value for key, value in run.data.metrics.items() if not key.startswith("step/")},
            "status": tags["status"],
            "reason": tags.get("reason"),
            "word": run.info.status,
            "pictures": [artifact.path for artifact in client.list_artifacts(run.info.run_id)],
        }


def trackio_runs() -> Iterator[dict[str, Any]]:
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    for run in trackio.Api().runs(PROJECT):
        rows = SQLiteStorage.get_logs(PROJECT, run.name, run_id=run.id)
        end, config = rows[-1], run.config
        yield {
            "title": run.name,
            "group": config["_Group"],
            "tags": [config["run_id"], config["method"], config["study"]],
            "attempt": config["attempt"],
            "config": config,
            "loss": [(row["step"], row["step/loss"]) for row in rows if "step/loss" in row],
            "valid": [(row["step"], row["step/valid_score"]) for row in rows if "step/valid_score" in row],
            "final": {k: v for k, v in end.items() if k not in ("step", "timestamp", "status", "reason", "samples")},
            "pictures": ["a.png" for row in rows if row.get("samples", {}).get("_type") == "trackio.image"],
            "status": end["status"],
            "reason": end.get("reason"),
            "word": None,
        }


def wandb_runs() -> Iterator[dict[str, Any]]:
    for path in sorted(Path("wandb").glob("offline-run-*/*.wandb")):
        found: dict[str, Any] = {"loss": [], "valid": [], "config": {}, "pictures": []}
        summary: dict[str, Any] = {}
        for entry in wandb_records(path):
            if entry.HasField("run"):
                found |= {
                    "title": entry.run.display_name,
                    "group": entry.run.run_group,
                    "tags": list(entry.run.tags),
                    "project": entry.run.project,
                }
                found["config"] |= wandb_items(entry.run.config.update)
            elif entry.HasField("history"):
                row = {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in entry.history.item
                }
                if row.get("samples/_type", row.get("samples", {}).get("_type")) == "image-file":
                    found["pictures"].append("a.png")
                for name, key in (("loss", "step/loss"), ("valid", "step/valid_score")):
                    found[name] += [(row["_step"], row[key])] if key in row else []
            elif entry.HasField("summary"):
                summary |= wandb_items(entry.summary.update)
            elif entry.HasField("exit"):
                found["word"] = entry.exit.exit_code
        found["attempt"] = found["config"]["attempt"]
        found["status"], found["reason"] = summary.pop("status"), summary.pop("reason")
        found["final"] = {k: v for k, v in summary.items() if not k.startswith(("_", "step/", "samples"))}
        yield found


def wandb_items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of an offline run: a LevelDB log (blocks of 32 KiB; crc, length, kind before every piece)."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), 7, b""
    while at < len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or its last piece
            entry = Record()
            entry.ParseFromString(whole)
            yield entry
            whole = b""


def watch_network() -> None:
    """Note who is called, and let nobody be reached."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            CALLED.append(str(address))
            raise ConnectionRefusedError(address)
        connect(self, address)

    socket.socket.connect = refuse  # type: ignore[method-assign]


if __name__ == "__main__":
    watch_network()
    tell(sys.argv[1])
    runs = list({"mlflow": mlflow_runs, "trackio": trackio_runs, "wandb": wandb_runs}[sys.argv[1]]())
    print(json.dumps({"runs": runs, "called": CALLED}, default=str))
