"""What is published: a folder that loads anywhere, as it was shown, and nothing that is nobody's business."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM

import peftscope as ps
from peftscope.errors import HubError, MethodRefused, SpecError, StoreError
from peftscope.execution.execute import execute
from peftscope.schema.run import RunSpec
from peftscope.store.files import write_record
from peftscope.upstream.experiment import read_experiment
from pretend_hub import TOKEN, Hub, pretend_hub

REPOSITORY = "somebody/an-adapter"
BASE = "somebody/a-base"
NOBODY = 65534


@dataclass(frozen=True)
class Ran:
    """A study's folder with finished runs, by method."""

    folder: Path
    runs: dict[str, str]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, make_run: Callable[..., RunSpec]) -> Ran:
    """Two methods, one of them with two seeds, and a whole model."""
    folder = tmp_path_factory.mktemp("results-of-mine") / "mine"
    folder.mkdir()
    runs = {}
    for method, seed in (("hra", 1), ("hra", 0), ("lora", 0), ("full", 0)):
        record = execute(make_run(method, seed=seed, rate=1e-2), folder)
        assert record.status == "ok", record.reason
        write_record(folder, record)
        runs[method] = record.run_id
    return Ran(folder, runs)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that the commands of this process upload to, with a token that it knows."""
    with pretend_hub() as here:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", here.url)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield here


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_dry_run_writes_the_folder_and_opens_no_connection(
    ran: Ran, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    with monkeypatch.context() as patched:
        patched.setattr(socket.socket, "connect", refuse)
        shown = ps.publish(ran.folder, to=REPOSITORY, method="hra", model=BASE)
    assert hub.requests == []
    assert shown.folder == Path("results/published/somebody--an-adapter")
    names = {"README.md", "adapter_config.json", "adapter_model.safetensors", "front.png", "results.json", "tiers.png"}
    assert {path.name for path in shown.folder.iterdir()} == names
    text = shown.text(80)
    assert "a dry run, nothing was sent" in text
    assert all(name in text for name in names)
    assert f"--to {REPOSITORY} --method hra --model {BASE} --push" in shown.text(400)
    document = shown.document()
    assert (document["schema"], document["pushed"], document["commit"]) == ("peftscope.publish/1", False, None)
    assert {each["name"] for each in document["files"]} == names


def test_the_best_seed_of_a_method_is_taken_and_its_config_names_the_base_as_others_find_it(ran: Ran) -> None:
    shown = ps.publish(ran.folder, to=REPOSITORY, method="hra", model=BASE)
    records = [json.loads(path.read_text()) for path in (ran.folder / "records").glob("*.json")]
    best = min((r for r in records if r["spec"]["method"]["name"] == "hra"), key=lambda r: r["metrics"]["valid_loss"])
    weights = ran.folder / "adapters" / best["run_id"] / "adapter_model.safetensors"
    assert (shown.folder / "adapter_model.safetensors").read_bytes() == weights.read_bytes()
    config = json.loads((shown.folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == BASE
    assert not shown.warnings
    unnamed = ps.publish(ran.folder, to=REPOSITORY, method="hra")
    name = Path(records[0]["spec"]["model"]["source"]).name
    assert json.loads((unnamed.folder / "adapter_config.json").read_text())["base_model_name_or_path"] == name
    assert "--model" in unnamed.warnings[0]
    assert "base_model" not in yaml.safe_load((unnamed.folder / "README.md").read_text().split("---")[1])


def test_the_card_is_one_of_the_hubs_with_the_figures_of_the_study(ran: Ran) -> None:
    shown = ps.publish(ran.runs["lora"], study=ran.folder, to=REPOSITORY, model=BASE)
    card = ModelCard.load(shown.folder / "README.md")
    assert (card.data.base_model, card.data.library_name) == (BASE, "peft")
    assert card.data.tags == ["peftscope", "lora"]
    (result,) = card.data.eval_results
    figures = json.loads((shown.folder / "results.json").read_text())
    assert result.metric_value == pytest.approx(figures["run"]["metrics"]["test_score"], abs=1e-6)
    assert {row["method"] for row in figures["study"]["candidates"]} == {"hra", "lora", "full"}
    assert all({"score", "score_low", "score_high"} <= row.keys() for row in figures["study"]["candidates"])
    assert f'PeftModel.from_pretrained(base, "{REPOSITORY}")' in card.text
    assert "![" in card.text
    assert "(front.png)" in card.text


def test_nothing_of_this_machine_nor_of_the_data_is_published(
    ran: Ran, sums_file: Path, tmp_path: Path, hub: Hub
) -> None:
    ps.convert(ran.runs["hra"], tmp_path / "converted", study=ran.folder, score=False)
    own = ran.folder / "adapters" / ran.runs["hra"]
    (own / "optimizer.pt").write_bytes(b"state")
    (own / "training_args.bin").write_bytes(b"state")
    try:
        folders = [
            ps.publish(ran.runs["hra"], study=ran.folder, to=REPOSITORY, push=True).folder,
            ps.publish(tmp_path / "converted", to="somebody/converted", study=ran.folder, push=True).folder,
            ps.contribute(ran.folder).folder,
        ]
    finally:
        (own / "optimizer.pt").unlink()
        (own / "training_args.bin").unlink()
    files = {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    assert not {"optimizer.pt", "training_args.bin"} & {path.name for path in files}
    contents = [*files.values(), *(c for held in hub.repositories.values() for c in held.values())]
    places = {str(tmp_path), str(ran.folder), str(sums_file.parent), str(Path.home()), tempfile.gettempdir()}
    answers = {json.loads(line)["answer"] for line in sums_file.read_text().splitlines()}
    words = {*places, *answers}
    for content in contents:
        assert not [word for word in words if word.encode() in content or json.dumps(word)[1:-1].encode() in content]
    whose = "|".join({re.escape(socket.gethostname()), re.escape(getpass.getuser())})
    for path, content in files.items():
        if path.suffix in (".json", ".md"):
            assert not re.search(rf"\b({whose})\b", content.decode()), path


def test_what_arrives_is_the_folder_and_a_second_push_brings_it_up_to_date(ran: Ran, hub: Hub, tmp_path: Path) -> None:
    done = ps.publish(ran.folder, to=REPOSITORY, method="hra", model=BASE, push=True)
    assert hub.holds(REPOSITORY, done.folder)
    assert done.uploaded is not None
    assert done.uploaded.url == f"{hub.url}/{REPOSITORY}"
    assert "published" in done.text()
    assert len(hub.objects) == 3  # weights and pictures, which go apart
    hub.repositories[REPOSITORY] |= {"LICENSE": b"mine", "conversion.json": b"{}"}
    ps.publish(ran.folder, to=REPOSITORY, method="hra", model=BASE, push=True)
    assert hub.commits[1:] == [["conversion.json"]]  # the same files are not sent again; what is ours and old goes
    assert hub.repositories[REPOSITORY].pop("LICENSE") == b"mine"
    assert hub.holds(REPOSITORY, done.folder)
    ps.publish(ran.folder, to=REPOSITORY, method="lora", model=BASE, push=True)
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {*hub.commits[2]}
    assert hub.holds(REPOSITORY, done.folder)


def test_small_files_arrive_where_the_hub_keeps_them_together_and_uploads_by_xet_are_possible(
    ran: Ran, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    hub.keeps_large_files_apart = False
    done = ps.publish(ran.folder, to=REPOSITORY, method="lora", private=True, push=True)
    assert hub.holds(REPOSITORY, done.folder)
    assert hub.private[REPOSITORY]


def test_a_public_repository_gets_nothing_that_is_to_be_private(ran: Ran, hub: Hub) -> None:
    hub.repositories[REPOSITORY], hub.private[REPOSITORY] = {}, False
    with pytest.raises(HubError, match=r"is public already.*/settings"):
        ps.publish(ran.folder, to=REPOSITORY, method="lora", private=True, push=True)
    assert hub.repositories[REPOSITORY] == {}


@pytest.mark.parametrize(
    ("part", "status", "told"),
    [
        ("repos/create", 401, "hf auth login"),
        ("repos/create", 403, "may not write there"),
        ("/commit/", 409, "somebody else is changing"),
        ("/preupload/", 403, "may not write there"),
        ("info/lfs", 413, "as large"),
        ("repos/create", 418, "it answered 418"),
    ],
)
def test_what_the_hub_refuses_is_said_with_what_to_do(ran: Ran, hub: Hub, part: str, status: int, told: str) -> None:
    hub.refused[part] = status
    with pytest.raises(HubError, match=told) as error:
        ps.publish(ran.folder, to=REPOSITORY, method="lora", push=True)
    assert REPOSITORY in str(error.value)
    assert str(status) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_hub_that_cannot_be_reached_and_a_missing_token_are_said(
    ran: Ran, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peftscope.study.hub.get_token", lambda: None)
    with pytest.raises(HubError, match=r"nobody is logged in.*HF_TOKEN"):
        ps.publish(ran.folder, to=REPOSITORY, method="lora", push=True)
    assert hub.requests == []
    monkeypatch.setattr("peftscope.study.hub.get_token", lambda: TOKEN)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="cannot be reached"):
        ps.publish(ran.folder, to=REPOSITORY, method="lora", push=True)


def test_an_address_that_is_no_hub_is_said_to_be_none(ran: Ran, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretend_hub._Handler._of_hub", lambda *_: (200, ["a page of something else"]))
    with pytest.raises(HubError, match="HF_ENDPOINT"):
        ps.publish(ran.folder, to=REPOSITORY, method="lora", push=True)


def test_a_study_publishes_its_own_runs(ran: Ran) -> None:
    study = ps.Study.find(ran.folder)
    by_method, by_run = study.publish(REPOSITORY, method="lora"), study.publish("me/other", run=ran.runs["lora"][:8])
    weights = [each.folder / "adapter_model.safetensors" for each in (by_method, by_run)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert by_run.repeat is not None
    assert f"--study {ran.folder}" in by_run.repeat


@pytest.mark.parametrize("name", ["alone", "a/b/c", "a--b/c", "me/", "/me", "me/.git", "me/x y", "me/" + "x" * 97])
def test_a_name_no_repository_can_have_is_refused_before_anything_is_done(ran: Ran, name: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"USER/NAME|are allowed"):
        ps.publish(ran.folder, to=name, method="lora")
    assert not list(tmp_path.iterdir())


def test_every_wrong_argument_is_told_at_once(ran: Ran) -> None:
    with pytest.raises(SpecError) as error:
        ps.publish(ran.folder, to="x", method="hraa", model="/a/b", study=ran.folder)
    told = str(error.value)
    assert all(each in told for each in ("to: ", "model: ", "study: ", "did you mean 'hra'?"))
    with pytest.raises(SpecError, match="chooses from a study"):
        ps.publish(ran.folder / "adapters" / ran.runs["hra"], to=REPOSITORY, method="hra")


def test_what_peft_alone_cannot_load_is_refused_with_what_to_do(ran: Ran) -> None:
    with pytest.raises(MethodRefused, match="--format merged"):
        ps.publish(ran.runs["full"], study=ran.folder, to=REPOSITORY)
    start = ran.folder / "adapters" / ran.runs["lora"] / "initial_adapter.safetensors"
    start.write_bytes(b"")
    try:
        with pytest.raises(MethodRefused, match=f"peftscope convert {ran.runs['lora']}"):
            ps.publish(ran.runs["lora"], study=ran.folder, to=REPOSITORY)
    finally:
        start.unlink()


def test_a_folder_of_something_else_is_never_replaced(ran: Ran, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for place in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt", Path(), ran.folder):
        with pytest.raises(StoreError, match="nothing was written"):
            ps.publish(ran.folder, to=REPOSITORY, method="lora", output=place)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    published = ps.publish(ran.folder, to=REPOSITORY, method="lora", output="there").folder
    with pytest.raises(StoreError, match="holds what is to be published"):
        ps.publish(published, to=REPOSITORY, output=published)
    again = ps.publish(ran.folder, to=REPOSITORY, method="hra", output="there")
    assert json.loads((again.folder / "adapter_config.json").read_text())["peft_type"] == "HRA"


def test_what_convert_wrote_is_published_with_its_card_and_the_study_it_is_from(ran: Ran, tmp_path: Path) -> None:
    ps.convert(ran.runs["hra"], tmp_path / "converted", study=ran.folder, score=False, rank=4)
    shown = ps.publish(tmp_path / "converted", to=REPOSITORY, model=BASE, study=ran.folder)
    card = ModelCard.load(shown.folder / "README.md")
    assert card.data.base_model == BASE
    assert {"peftscope", "lora", "hra"} <= {*card.data.tags}
    assert "How near it is to the original" in card.text
    assert "What it was compared with" in card.text
    assert "THIS_FOLDER" not in card.text
    figures = json.loads((shown.folder / "results.json").read_text())
    assert figures["conversion"]["max_lora_rank"] == 4
    alone = ps.publish(tmp_path / "converted", to="somebody/other")
    assert not list(alone.folder.glob("*.png"))
    ps.convert(ran.runs["hra"], tmp_path / "merged", study=ran.folder, score=False, format="merged")
    (tmp_path / "merged" / "notes.txt").write_text("mine")
    whole = ps.publish(tmp_path / "merged", to="somebody/merged")
    names = {path.name for path in whole.folder.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md", "conversion.json"} <= names
    assert "notes.txt" not in names


def test_a_study_gives_experiments_that_the_benchmark_reads_and_results_without_answers(
    ran: Ran, tiny_folder: Path
) -> None:
    base = tiny_folder.name
    found = ps.contribute(ran.folder)
    place = found.folder / "method_comparison" / "MetaMathQA"
    experiments = sorted(path.parent for path in place.glob("experiments/*/*/training_params.json"))
    assert [path.relative_to(place / "experiments").as_posix() for path in experiments] == [
        f"full-finetuning/{base}-full-lr_0.01",
        f"hra/{base}-hra-lr_0.01",
        f"lora/{base}-lora-lr_0.01",
    ]
    for folder in experiments:
        read = read_experiment(folder)
        assert read.learning_rate == 0.01
        assert read.training_params["max_steps"] == 3
        assert "seed" not in json.loads((folder / "training_params.json").read_text())
    results = sorted(path.name for path in (place / "results").iterdir())
    assert results == [
        f"full-finetuning--{base}-full-lr_0.01.json",
        f"hra--{base}-hra-lr_0.01-seed_1.json",
        f"hra--{base}-hra-lr_0.01.json",
        f"lora--{base}-lora-lr_0.01.json",
    ]
    assert any(line.startswith("model_id") for line in found.found.differing)
    assert any(line.startswith("data: ") for line in found.found.differing)
    again = ps.import_results(place / "results", out="imported")
    assert {record.metrics["test_score"] for record in again.found.records} == {
        json.loads(path.read_text())["metrics"]["test_score"] for path in (ran.folder / "records").glob("*.json")
    }
    text = found.text(80)
    assert "nothing was sent" in text
    assert "cp -r" in text
    ps.contribute(ran.folder)  # takes the place of what it wrote before


LOADED = """
import json, os, sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

def load(base, adapter):
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()

base, adapter, user = sys.argv[1:]
if user != "same":
    load(base, adapter)  # the interpreter's own files need not be open to the other user: all is imported now
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
model = load(base, adapter)
with torch.no_grad():
    found = model(input_ids=torch.arange(3, 19)[None]).logits
print(json.dumps(found.flatten().tolist()[:400]))
"""


@pytest.fixture
def far() -> Iterator[Path]:
    """A folder that is not below the tests' own, which other users may enter."""
    folder = Path(tempfile.mkdtemp(prefix="another-machine-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["hra", "lora", "pissa", "eva"])
def test_a_published_folder_loads_elsewhere_for_another_user_with_the_same_outputs(
    make_run: Callable[..., RunSpec], hub: Hub, tmp_path: Path, far: Path, method: str
) -> None:
    record = execute(make_run(method, rate=1e-2), tmp_path / "mine")
    write_record(tmp_path / "mine", record)
    done = ps.publish(record.run_id, study=tmp_path / "mine", to=REPOSITORY, push=True)
    adapter = far / "adapter"
    adapter.mkdir()
    for name, content in hub.repositories[REPOSITORY].items():  # what arrived, not what lies here
        (adapter / name).write_bytes(content)
    opened = ps.Study.find(tmp_path / "mine").open(record.run_id)
    shutil.copytree(opened.record.spec.model.source, far / "base")
    user = str(NOBODY) if os.geteuid() == 0 else "same"
    for path in (far, *far.rglob("*")) if user != "same" else ():
        os.chown(path, NOBODY, NOBODY)
    shutil.rmtree(done.folder)
    environment = {
        "HOME": str(far), "HF_HUB_OFFLINE": "1", "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-c", LOADED, str(far / "base"), str(adapter), user]
    loaded = subprocess.run(command, cwd=far, env=environment, capture_output=True, text=True, check=False)
    assert loaded.returncode == 0, loaded.stderr[-3000:]
    with torch.no_grad():
        own = opened.model(input_ids=torch.arange(3, 19)[None]).logits.flatten()[:400]
    assert torch.allclose(torch.tensor(json.loads(loaded.stdout.splitlines()[-1])), own, atol=1e-6)
    alone = AutoModelForCausalLM.from_pretrained(far / "base")
    with torch.no_grad():
        assert not torch.allclose(alone(input_ids=torch.arange(3, 19)[None]).logits.flatten()[:400], own, atol=1e-3)
