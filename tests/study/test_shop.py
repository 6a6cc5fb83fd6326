"""The shop says of every method what is known, ranks none, and its studies run when they are filled in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from peftscope.methods.catalog import cards
from peftscope.schema.reader import load_yaml, read_study
from peftscope.study.shop import shop_document
from peftscope.study.study import Study
from peftscope.study.vocabulary import vocabulary

NOT_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")
HOSTILE = (
    'say "yes": {text}',
    "it's: 'so' # not a comment",
    "C:\\new\\table",
    "- a: [b, {c}]",
    "Grüße, 你好, 🦥, \u2028 and \u200d \x85 \x7f\x9f\ufeff",
    "line\nline\ttab\\n",
    "%YAML !!python/object &a *a | >",
    "  spaces  ",
    "null",
    "1e-4",
    "{{model}}",
    "",
)


@pytest.fixture(scope="module")
def shop() -> dict[str, Any]:
    return shop_document()


def written(value: str) -> str:
    """A text as JSON, without what YAML does not take as it stands."""
    return NOT_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def filled(study: dict[str, Any], methods: list[str], **values: str) -> str:
    """A template filled in as the page does it, in one pass."""
    given = {field["key"]: values.get(field["key"], field["value"]) for field in study["fields"]}
    texts = {key: written(value) for key, value in given.items()} | {"methods": json.dumps(methods)}
    template: str = study["template"]
    parts = template.split("{{")
    return parts[0] + "".join(texts[part.partition("}}")[0]] + part.partition("}}")[2] for part in parts[1:])


def test_the_document_is_plain_json_with_every_card_in_the_catalogs_order(shop: dict[str, Any]) -> None:
    json.dumps(shop, allow_nan=False)
    assert [card["name"] for card in shop["cards"]] == list(cards())
    capabilities = [of["name"] for of in shop["capabilities"]]
    for card in shop["cards"]:
        assert list(card["able"]) == capabilities
        assert set(card["able"].values()) <= {"yes", "no", "unknown"}
        assert set(card["reasons"]) <= set(capabilities)
        assert card["family"] in shop["families"]
        assert card["snippets"]


def test_what_a_method_scored_says_how_often_it_was_tried(shop: dict[str, Any]) -> None:
    tasks = {task["key"] for task in shop["tasks"]}
    assert tasks == {"text", "images"}
    found = {card["name"]: card["measured"] for card in shop["cards"]}
    lora = found["lora"]["text"]
    assert lora["tries"] == len(lora["points"]) > 1
    assert lora["text"].startswith(f"best of {lora['tries']} configurations: ")
    assert lora["best"] == max(point["value"] for point in lora["points"])
    assert lora["low"] < lora["best"] < lora["high"]
    one = found["dora"]["text"]
    assert one["text"].startswith("one configuration: ")
    assert one["points"][0]["runs"] == lora["points"][0]["runs"] == 2, "run again in July"
    assert lora["high"] - lora["best"] > one["high"] - one["best"], "more tries, wider intervals"
    assert found["kasa"] == {}


def test_image_scores_were_never_repeated_and_have_no_interval(shop: dict[str, Any]) -> None:
    images = [card["measured"]["images"] for card in shop["cards"] if "images" in card["measured"]]
    assert images
    for of in images:
        assert of["low"] is None
        assert "no interval" in of["text"]
        assert all(point["runs"] == 1 for point in of["points"]), "published twice, run once"
    about = next(task["about"] for task in shop["tasks"] if task["key"] == "images")
    assert "no intervals" in about


def test_costs_are_told_as_the_command_tells_them(shop: dict[str, Any]) -> None:
    lora = next(card for card in shop["cards"] if card["name"] == "lora")
    assert lora["figures"]["latency"].endswith("×")
    assert "MB each" in lora["figures"]["adapters-32"]


def test_adoption_is_told_of_the_methods_that_were_counted(shop: dict[str, Any]) -> None:
    told = {card["name"]: card["adoption"] for card in shop["cards"] if card["adoption"]}
    assert set(told) == {"lora", "loha", "dora", "adalora"}
    assert "20,509 of 20,834" in told["lora"]
    assert "95.0 %" in " ".join(shop["adoption"]["lines"])


@pytest.mark.parametrize("name", ["text", "images"])
def test_a_template_as_it_stands_is_a_valid_study(shop: dict[str, Any], name: str, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(filled(shop["study"][name], ["lora", "rslora", "oft"]), "utf-8")
    spec = read_study(file, vocabulary())
    assert [method.name for method in spec.methods] == ["lora", "rslora", "oft"]
    assert spec.train.max_steps in (200, 400)


@pytest.mark.parametrize("name", ["text", "images"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_is_written_into_a_field_arrives_as_it_was_written(shop: dict[str, Any], name: str, hostile: str) -> None:
    study = shop["study"][name]
    values = {field["key"]: hostile for field in study["fields"]}
    read = load_yaml(filled(study, ["lora", "no"], **values))
    assert read["name"] == read["model"] == read["task"]["prompt"] == read["train"]["max_steps"] == hostile
    assert read["methods"] == ["lora", "no"]
    assert read["task"]["name"] in ("own-data", "concept")


@pytest.mark.slow
def test_a_filled_in_study_of_pictures_runs(shop: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "my photos"
    folder.mkdir()
    for i in range(6):
        Image.new("RGB", (64, 64), (40 * i, 100, 200 - 30 * i)).save(folder / f"{i}.png")
    values = {
        "name": "pictures",
        "model": "builtin:nano-t2i",
        "pictures": "my photos",
        "resolution": "64",
        "encoder": "efficientnet-lite0",
        "steps": "2",
    }
    file = tmp_path / "study.yaml"
    file.write_text(filled(shop["study"]["images"], ["oft"], **values), "utf-8")
    read = Study.load(file).spec.model_dump(mode="json", exclude_defaults=True)
    short = {**read, "tuning": None, "seeds": [0]}
    short["task"] = {**read["task"], "source": str(folder), "num_inference_steps": 2}
    study = Study(short, out=tmp_path / "results")
    study.run(quiet=True)
    assert {record.status for record in study.results().records} == {"ok"}
