"""What a stranger meets who publishes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pretend_study import make_study

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def columns() -> int:
    """Width of the terminal."""
    return 80


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A folder as peft writes it, with what it leaves beside it in training."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    save_file({"base_model.model.a.lora_A.weight": torch.zeros(2, 2)}, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "base_model_name_or_path": f"{tmp_path}/models/base", "target_modules": "/x/.*/y"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    matter = f"base_model: {tmp_path}/models/base\nlicense: mit\ntags: [theirs]"
    (folder / "README.md").write_text(f"---\n{matter}\n---\n\nTheir own words, from {tmp_path}/notes/a.txt.\n")
    (folder / "optimizer.pt").write_bytes(b"state")
    return folder


def test_an_adapter_of_others_is_shown_as_it_would_be_sent(call: Call, adapter: Path, tmp_path: Path) -> None:
    code, out, err = call("publish", "theirs", "--to", "somebody/theirs", "--model", "somebody/base")
    assert code == 0, err
    assert "somebody/theirs (public): a dry run, nothing was sent" in out
    assert "peftscope publish theirs --to somebody/theirs --model somebody/base --push" in out
    folder = tmp_path / "results/published/somebody--theirs"
    names = {"README.md", "adapter_config.json", "adapter_model.safetensors", "results.json"}
    assert {path.name for path in folder.iterdir()} == names
    card = (folder / "README.md").read_text()
    assert "license: mit" in card
    assert "base_model: somebody/base" in card
    assert "Their own words, from a.txt." in card
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["target_modules"]) == ("somebody/base", "/x/.*/y")


def test_the_document_is_one_and_the_command_can_be_given_again(call: Call, adapter: Path) -> None:
    for _ in range(2):
        code, out, err = call("publish", "theirs", "--to", "somebody/theirs", "--private", "-o", "out", "--json")
        document = json.loads(out)
        assert (code, err) == (0, "")
        assert document["schema"] == "peftscope.publish/1"
        assert (document["repository"], document["private"], document["pushed"]) == ("somebody/theirs", True, False)
        assert document["base_model"] == "base"
        assert "--model" in document["warnings"][0]
        assert document["to_push"] == "peftscope publish theirs --to somebody/theirs --output out --private --push"


def test_results_of_a_study_are_written_for_a_pull_request(call: Call, tmp_path: Path) -> None:
    make_study(tmp_path / "results/mine", {"base": 0.2, "lora": 0.6, "oft": 0.5}, num_outputs=2)
    code, out, err = call("publish", "results/mine", "--results")
    assert code == 0, err
    assert "MetaMathQA: 2 experiments, 6 results; nothing was sent" in out
    assert "not as the benchmark has it" in out
    assert "cp -r results/published/mine--benchmark/method_comparison peft/" in out
    assert all(len(line) <= 80 for line in out.splitlines() if "cp -r" not in line and "open a pull" not in line)
    folder = tmp_path / "results/published/mine--benchmark/method_comparison/MetaMathQA"
    assert len(list((folder / "results").iterdir())) == 6
    assert "What is 1 + 1" not in "".join(path.read_text() for path in folder.rglob("*.json"))
    code, out, _ = call("publish", "results/mine", "--results", "--json")
    document = json.loads(out)
    assert code == 0
    assert (document["schema"], document["num_results"]) == ("peftscope.publish/1", 6)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["publish", "theirs"], "--to: say which repository"),
        (["publish", "theirs", "--to", "theirs"], "USER/NAME"),
        (["publish", "theirs", "--to", "a/b", "--method", "lora"], "--method: chooses from a study"),
        (["publish", "theirs", "--to", "a/b", "--results"], "--to: is of an adapter on the hub"),
        (["publish", "theirs", "--results"], "holds no records"),
        (["publish", "nothing", "--to", "a/b"], "there are no records"),
        (["publish", "nothing", "--results"], "no such study"),
        (["publish", "results/mine", "--to", "a/b", "--method", "lroa"], "did you mean 'lora'?"),
        (["publish", "results/mine", "--to", "a/b", "--method", "lora"], "its checkpoint is not there"),
        (["publish", "results/mine", "--to", "a/b", "--study", "results/mine"], "--study: says where a run lies"),
        (["publish", "results/own", "--results"], "of the task own-data; the public benchmark"),
        (["publish", "empty", "--to", "a/b"], "neither the adapter_config.json of an adapter"),
        (["publish", "broken", "--to", "a/b"], "cannot be read"),
        (["publish", "pickled", "--to", "a/b"], "safetensors alone"),
        (["publish", "theirs", "--to", "a/b", "--output", "theirs"], "holds what is to be published"),
        (["publish", "theirs", "--to", "a/b", "--output", "empty/x.txt"], "nothing was written"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(
    call: Call, adapter: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    if "results/mine" in arguments:
        make_study(tmp_path / "results/mine", {"lora": 0.6, "oft": 0.5})
    if "results/own" in arguments:
        options = {"name": "own-data", "train": "x.csv", "prompt": "{a}", "target": "b"}
        make_study(tmp_path / "results/own", {"lora": 0.6}, study={"task": options})
    for name in ("empty", "broken", "pickled"):
        (tmp_path / name).mkdir()
    (tmp_path / "empty" / "x.txt").write_text("mine")
    for name in ("broken", "pickled"):
        (tmp_path / name / "adapter_config.json").write_text("{" if name == "broken" else "{}")
    (tmp_path / "broken" / "adapter_model.safetensors").write_bytes(b"")
    code, out, err = call(*arguments)
    assert code == 2
    assert out == ""
    assert told in " ".join(err.split())
    assert "Traceback" not in err
