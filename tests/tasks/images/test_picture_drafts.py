"""A study drafted from a folder of pictures runs as it is, and says what is odd in the folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from peftscope.errors import DataError
from peftscope.study.study import Study
from peftscope.tasks.images.drafting import draft_concept, holds_pictures


def pictures(folder: Path, sizes: list[tuple[int, int]], suffix: str = ".png") -> Path:
    folder.mkdir(exist_ok=True)
    for number, size in enumerate(sizes):
        Image.new("RGB", size, (20 * number, 90, 30)).save(folder / f"{number}{suffix}")
    return folder


def test_a_folder_of_pictures_is_told_from_one_of_tables(tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", [(80, 80)] * 3)
    assert holds_pictures(photos)
    for number in range(3):
        (photos / f"{number}.txt").write_text("a photo", "utf-8")
    assert holds_pictures(photos)
    tables = tmp_path / "tables"
    tables.mkdir()
    for name in ("train.csv", "valid.csv", "test.csv"):
        (tables / name).write_text("a,b\n1,2\n", "utf-8")
    pictures(tables, [(8, 8)])
    assert not holds_pictures(tables)
    assert not holds_pictures(tables / "train.csv")
    assert not holds_pictures(tmp_path / "nothing")


def test_without_prompts_one_is_made_of_the_folders_name(tmp_path: Path) -> None:
    drafted = draft_concept(pictures(tmp_path / "grey_sloth-toy", [(600, 700)] * 5))
    assert drafted.options["prompt"] == "a photo of sks grey sloth toy"
    assert drafted.options["class_prompts"] == ["a photo of a grey sloth toy"]
    assert all("sks grey sloth toy" in prompt for prompt in drafted.options["test_prompts"])
    assert drafted.options["resolution"] == 512
    assert any("only 5 pictures" in line for line in drafted.oddities)


def test_prompts_beside_the_pictures_are_taken(tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", [(80 + number, 100) for number in range(9)])
    for number in range(9):
        (photos / f"{number}.txt").write_text(f"photo {number}", "utf-8")
    drafted = draft_concept(photos)
    assert "prompt" not in drafted.options
    assert "test_prompts" not in drafted.options
    assert drafted.options["resolution"] == 64
    assert drafted.oddities == ()


def test_what_is_odd_in_the_pictures_is_told(tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", [(300, 300)] * 7 + [(100, 90), (900, 300)])
    (photos / "again.png").write_bytes((photos / "0.png").read_bytes())
    lines = draft_concept(photos).oddities
    assert any("2 pictures stand there more than once (0.png = again.png)" in line for line in lines)
    assert any("1 are smaller than 256 px" in line and "7.png" in line for line in lines)
    assert any("1 lose more than half" in line and "8.png" in line for line in lines)


def test_a_folder_that_cannot_be_split_or_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 pictures; .*3 at least"):
        draft_concept(pictures(tmp_path / "two", [(80, 80)] * 2))
    broken = pictures(tmp_path / "broken", [(80, 80)] * 4)
    (broken / "2.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"2\.png"):
        draft_concept(broken)


def test_a_drafted_study_of_pictures_reads_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "photos", [(80, 80)] * 5)
    (tmp_path / "studies").mkdir()
    written = Study.draft("photos").write("studies/photos.yaml")
    assert written.path == Path("studies/photos.yaml")
    study = Study.load("studies/photos.yaml")
    assert study.spec.model.source == "black-forest-labs/FLUX.2-klein-base-4B"
    assert study.spec.task.name == "concept"
    assert study.spec.task.options["source"] == "../photos"
    assert study.spec.train.checkpointing
