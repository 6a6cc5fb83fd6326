"""Every command and example in the README and in the documentation does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]*?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
WIDE = {"COLUMNS": "120", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, kw_only=True)
class Block:
    """Something a reader may copy."""

    language: str
    text: str
    mark: str
    """What is said of it in a comment before it."""

    @property
    def runs(self) -> bool:
        return self.language in ("console", "python", "yaml") and not self.mark.startswith("not run")


def _blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(language=m["language"], text=m["text"], mark=m["mark"] or "") for m in BLOCK.finditer(text)]


def _run(block: Block, folder: Path) -> None:
    """Do what a reader would do with a block, in the order of the page."""
    if block.language == "yaml":
        name = block.text.split("\n", 1)[0].removeprefix("# ").strip()
        (folder / name).write_text(block.text, encoding="utf-8")
        return
    if block.language == "python":
        _call([sys.executable, "-c", block.text], folder)
        return
    for line in block.text.splitlines():
        words = line.split("#", 1)[0].split()
        if words:
            assert words[0] == "peftscope", f"only our own commands are run: {line}"
            _call([sys.executable, "-m", *words], folder)


def _call(command: list[str], folder: Path) -> None:
    environment = {**os.environ, **WIDE}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a reader has followed the quick start."""
    folder = tmp_path_factory.mktemp("reader")
    for block in _blocks(ROOT / "docs" / "quickstart.md"):
        if block.runs:
            _run(block, folder)
    return folder


@pytest.mark.slow
def test_the_quick_start_leads_to_a_recommendation_and_a_loaded_adapter(quickstart: Path) -> None:
    assert (quickstart / "results" / "first" / "report" / "report.html").is_file()
    assert list((quickstart / "results" / "first" / "adapters").glob("*/adapter_config.json"))


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if p.stem != "quickstart"], ids=lambda page: page.stem)
def test_every_command_and_example_of_a_page_works(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for block in _blocks(page):
        if block.runs:
            after = block.mark.startswith("study of")
            _run(block, request.getfixturevalue("quickstart") if after else tmp_path)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.stem)
def test_commands_and_options_that_are_named_exist(page: Path) -> None:
    import typer

    from peftscope.cli import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for block in _blocks(page):
        if block.language != "console":
            continue
        for line in block.text.splitlines():
            words = line.split("#", 1)[0].split()
            if not words or words[0] != "peftscope":
                continue
            known = {
                option
                for parameter in commands[words[1]].params
                for option in (*parameter.opts, *parameter.secondary_opts)
            }
            assert {word.split("=")[0] for word in words[2:] if word.startswith("--")} <= known, line


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(tmp_path / "html")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for page in ("quickstart", "options", "metrics", "python"):
        assert (tmp_path / "html" / f"{page}.html").exists() or page == "metrics"
    options = (tmp_path / "html" / "options.html").read_text(encoding="utf-8")
    assert "train.max_steps" in options
    assert "tuning.effort" in options
