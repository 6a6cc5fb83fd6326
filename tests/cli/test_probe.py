"""The command that says what methods can do."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from peftscope.methods.capabilities import table

Call = Callable[..., tuple[int, str, str]]


def test_the_table_is_shown_with_its_date_and_versions(call: Call) -> None:
    code, out, _ = call("probe", "oft")
    assert code == 0
    assert f"Probed {table().made} on small models, with peft {table().versions['peft']}" in out.replace("\n", " ")
    assert "hot-swap: ValueError: Hotswapping only supports LORA" in " ".join(out.split())


def test_one_capability_of_all_methods_is_told_with_reasons(call: Call) -> None:
    out = " ".join(call("probe", "--capability", "unmerge")[1].split())
    assert "merged and unmerged in place, base and outputs are what they were" in out
    assert "no: osf: NotImplementedError: OSF models do not support unmerging" in out


def test_the_json_document_holds_value_and_reason_of_each(call: Call) -> None:
    code, out, _ = call("probe", "lora", "prefix-tuning", "--json")
    document = json.loads(out)
    assert (code, document["schema"]) == (0, "peftscope.probe/1")
    assert document["capabilities"]["lora"]["merge"]["value"] == "yes"
    assert document["capabilities"]["lora"]["merge"]["reason"] is None
    assert document["capabilities"]["prefix-tuning"]["checkpointing"]["value"] == "no"
    assert "gradient checkpointing" in document["capabilities"]["prefix-tuning"]["checkpointing"]["reason"]


def test_a_users_model_is_probed_and_its_shape_told(call: Call) -> None:
    code, out, _ = call("probe", "ia3", "--model", "builtin:nano-lm", "--capability", "language-model,merge", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["model"] == "builtin:nano-lm"
    assert {name: of["value"] for name, of in document["capabilities"]["ia3"].items()} == {
        "language-model": "yes",
        "merge": "yes",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lorra",), "did you mean 'lora'?"),
        (("--capability", "mergee"), "did you mean 'merge'?"),
        (("--revision", "main"), "is of a model; say which"),
        (("--model", "nowhere/config.json"), "does not exist"),
        (("lora", "--model", "builtin:nano-lm", "--capability", "unet"), "unet is not about such a model"),
    ],
)
def test_a_wrong_request_is_told_with_what_is_allowed(arguments: tuple[str, ...], said: str, call: Call) -> None:
    code, _, err = call("probe", *arguments)
    assert code == 2
    assert said in err.replace("\n", " ")


def test_other_installed_versions_are_told(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peftscope.methods.capabilities.installed", lambda package: "9.9")
    assert "the table holds for peft" in call("probe", "lora")[2].replace("\n", " ")
