"""A picture and its prompt are read together and cannot slip against each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from peftscope.errors import DataError
from peftscope.tasks.images.concepts import read_concept


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, one of them in a sub-folder, and a file that is none."""
    (tmp_path / "more").mkdir()
    for name in ("b.png", "a.JPG", "more/c.webp"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "notes.md").write_text("mine")
    return tmp_path


def _prompts(folder: Path, **options: Any) -> dict[str, str]:
    return {found.picture_id: found.prompt for found in read_concept(folder, **options)}


def test_one_prompt_is_for_all(folder: Path) -> None:
    assert _prompts(folder, prompt="a photo of sks cat") == dict.fromkeys(
        ["a.JPG", "b.png", "more/c.webp"], "a photo of sks cat"
    )


def test_a_list_follows_the_order_of_the_names(folder: Path) -> None:
    assert _prompts(folder, prompts=["one", "two", "three"]) == {"a.JPG": "one", "b.png": "two", "more/c.webp": "three"}
    with pytest.raises(DataError, match="3 pictures and 2 prompts"):
        read_concept(folder, prompts=["one", "two"])
    with pytest.raises(DataError, match="not both"):
        read_concept(folder, prompt="a", prompts=["one", "two", "three"])


def test_metadata_beside_the_pictures_are_read_in_any_order(folder: Path) -> None:
    rows = [{"file_name": "more/c.webp", "text": "three"}, {"file_name": "b.png", "text": "two"}]
    rows += [{"file_name": "a.JPG", "text": " one "}]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert _prompts(folder) == {"a.JPG": "one", "b.png": "two", "more/c.webp": "three"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"file_name": "z.png", "text": "x"}', "line 1: no picture 'z.png' beside it"),
        ('{"file_name": "b.png"}', "line 1: no text or prompt or caption in it; it has file_name"),
        ('{"file_name": "b.png", "text": 3}', "no text or prompt or caption"),
        ("[1]", "line 1: a mapping is wanted; given a list"),
        ("{", "line 1: not valid JSON"),
        ('{"file_name": "b.png", "text": "x"}\n{"file_name": "b.png", "text": "y"}', "stands in an earlier line, too"),
        ('{"file_name": "b.png", "text": "x"}', r"2 pictures \(a.JPG, more/c.webp\) without a prompt"),
        ('{"file_name": "b.png", "text": " "}', r"3 pictures \(a.JPG, b.png, more/c.webp\) without a prompt"),
    ],
)
def test_wrong_metadata_are_named_with_their_line(line: str, message: str, folder: Path) -> None:
    (folder / "metadata.jsonl").write_text(line)
    with pytest.raises(DataError, match=message):
        read_concept(folder)


def test_captions_beside_the_pictures_are_read(folder: Path) -> None:
    for name, text in (("a", "one"), ("b", "two\n"), ("more/c", "three")):
        (folder / f"{name}.txt").write_text(text)
    assert list(_prompts(folder).values()) == ["one", "two", "three"]
    (folder / "b.txt").unlink()
    with pytest.raises(DataError, match=r"1 picture \(b.png\) without a prompt"):
        read_concept(folder)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no picture in it"):
        read_concept(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read_concept(tmp_path / "none")
