"""What the README shows is what came out."""

from __future__ import annotations

import re
from pathlib import Path

from peftscope.schema.reader import load_yaml, study_from
from peftscope.study.vocabulary import vocabulary

ROOT = Path(__file__).resolve().parents[1]


def test_the_readmes_table_is_the_committed_output_of_the_demo() -> None:
    output = (ROOT / "benchmarks" / "demo_table.md").read_text(encoding="utf-8")
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert " ".join(output.split("\n\n")[1].split()) in readme
    expected = re.search(r"with that allowed for, expect ([\d.]+ %)", " ".join(output.split()))
    assert expected is not None
    assert f"expect {expected[1]}" in readme


def test_the_readmes_pictures_and_their_table_are_the_committed_output_of_their_study() -> None:
    output = (ROOT / "benchmarks" / "nano_t2i_table.md").read_text(encoding="utf-8")
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert " ".join(output.split("\n\n")[1].split()) in readme
    assert (ROOT / "docs" / "images" / "nano-t2i-methods.png").is_file()


def test_every_study_in_the_readme_is_read() -> None:
    vocabulary_ = vocabulary()
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        study_from(load_yaml(block), vocabulary_, source="README.md")
