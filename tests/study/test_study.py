"""Promises of the front door: what the commands know, a script and a notebook can ask."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import peftscope as ps
from peftscope.errors import SpecError


def test_importing_costs_milliseconds_and_loads_nothing_heavy() -> None:
    code = "import peftscope, sys; print([m for m in ('torch', 'pandas', 'rich', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    line = next(line for line in done.stderr.splitlines() if line.endswith(" peftscope"))
    assert int(line.split("|")[1]) < 100_000, line


def test_methods_can_be_listed_though_the_package_of_that_name_is_imported() -> None:
    from peftscope.methods import catalog

    assert ps.methods()["lora"] is catalog.card("lora")
    assert set(ps.methods(family="orthogonal").frame()["name"]) <= set(catalog.cards())
    with pytest.raises(SpecError, match="did you mean 'orthogonal'"):
        ps.methods(family="orthogonl")


def test_a_study_with_problems_names_them_all() -> None:
    with pytest.raises(SpecError) as caught:
        ps.Study(name="x", model="m", task="maths", methods=["lorra"])
    assert "did you mean 'lora'?" in str(caught.value)
    assert "did you mean 'math'?" in str(caught.value)


def test_a_check_predicts_every_method_and_trains_nothing(fields: dict[str, object], tmp_path: Path) -> None:
    found = ps.Study(fields, out=tmp_path / "checked").check()
    assert [entry["name"] for entry in found.document()["methods"]] == ["base", "lora", "ia3"]
    assert found.metric.name in found.text()
    assert not (tmp_path / "checked" / "records").exists()
