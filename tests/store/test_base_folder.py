"""Where a study's relative paths are taken from is remembered beside its records, and moves with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from peftscope.store.base_folder import base_folder, remember_base_folder


def test_a_project_may_move_with_its_results(tmp_path: Path) -> None:
    (tmp_path / "old/studies").mkdir(parents=True)
    (tmp_path / "old/results/x").mkdir(parents=True)
    remember_base_folder(tmp_path / "old/results/x", tmp_path / "old/studies")
    (tmp_path / "old").rename(tmp_path / "new")
    assert base_folder(tmp_path / "new/results/x") == tmp_path / "new/studies"


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "elsewhere/deep/results").mkdir(parents=True)
    (tmp_path / "results").symlink_to(tmp_path / "elsewhere/deep/results")
    (tmp_path / "results/x").mkdir()
    remember_base_folder(tmp_path / "results/x", tmp_path / "studies")
    assert base_folder(tmp_path / "results/x") == tmp_path / "studies"
    assert base_folder(tmp_path / "elsewhere/deep/results/x") == tmp_path / "studies"


def test_where_nobody_knows_it_is_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert base_folder(tmp_path / "x") == tmp_path
    (tmp_path / "x").mkdir()
    (tmp_path / "x/base_folder").write_text("../gone\n")
    assert base_folder(tmp_path / "x") == tmp_path
