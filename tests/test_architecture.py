"""Promises about the code itself: who may import whom, and what importing may cost."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "peftscope"
ROOMS = (
    "errors", "schema", "capture", "plugins", "store", "analysis", "methods", "models", "tasks", "training", "measures",
    "upstream", "footprint", "tuning", "execution", "convert", "probe", "views", "study", "web", "cli",
)  # fmt: skip
FILES = sorted(SOURCE.rglob("*.py"))


def _room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_package_imports_only_from_packages_listed_above_it(path: Path) -> None:
    room = _room(path)
    if room in ("__init__", "__main__"):
        return
    for name in _imports(path):
        if name.startswith("peftscope."):
            other = name.split(".")[1]
            if other in ROOMS:
                assert ROOMS.index(other) <= ROOMS.index(room), f"{room} imports {name}"


def test_every_module_belongs_to_a_listed_package() -> None:
    assert {_room(path) for path in FILES} - {"__init__", "__main__"} <= set(ROOMS)


@pytest.mark.parametrize("room", ["schema", "store", "analysis", "errors", "capture"])
def test_torch_free_packages_do_not_import_torch(room: str) -> None:
    for path in FILES:
        if _room(path) == room:
            assert not any(re.match(r"(torch|transformers|peft)(\.|$)", name) for name in _imports(path)), path


def test_commands_parse_call_and_print() -> None:
    allowed = (
        "peftscope.cli",
        "peftscope.study",
        "peftscope.views",
        "peftscope.schema",
        "peftscope.errors",
        "peftscope.web",
    )
    for path in FILES:
        if _room(path) == "cli":
            foreign = {
                name for name in _imports(path) if name.startswith("peftscope.") and not name.startswith(allowed)
            }
            assert not foreign, f"{path.name} imports {foreign}"


def test_reading_a_study_loads_neither_torch_nor_peft() -> None:
    code = (
        "import sys; from peftscope.study.vocabulary import vocabulary; import peftscope.cli; vocabulary();"
        "from peftscope.tasks.registry import options_model; options_model('math');"
        "print([m for m in ('torch', 'transformers', 'peft', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_method_names_appear_only_in_the_methods_package() -> None:
    from peftscope.methods.catalog import cards

    # `full` and `base` are words; the rest of the names are unmistakable
    names = {name for name in cards() if name not in ("full", "base")}
    for path in FILES:
        # the public benchmark's file format calls an optimizer by a method's name
        if _room(path) == "methods" or path.name in ("experiment.py", "training_params.py"):
            continue
        literals = {n.value for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Constant)}
        assert not names & {v for v in literals if isinstance(v, str)}, path


OF_A_KIND = re.compile(r"[Tt]okenizer|input_ids|CAUSAL_LM|\bgreedy|\b[Ll]ogits|decode_latency|attention_mask")
KNOWS_KINDS = ("models", "tasks/text", "methods/catalog", "upstream")
"""Where words of one kind of model belong: its own module, tasks of texts, cards, and others' file formats."""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_model_specific_terms_appear_only_in_packages_for_that_model_kind(path: Path) -> None:
    place = path.relative_to(SOURCE).as_posix()
    if not place.startswith(KNOWS_KINDS):
        text = path.read_text("utf-8").replace('"tokenizers",', "")  # a package whose version is noted
        found = OF_A_KIND.search(text)
        assert found is None, f"{found[0]!r}, line {text[: found.start()].count(chr(10)) + 1}"


def test_the_scheduler_knows_neither_processes_nor_devices() -> None:
    for path in (SOURCE / "execution").glob("*.py"):
        text = path.read_text("utf-8")
        assert not {name for name in _imports(path) if name.startswith("multiprocessing")}, path
        assert "CUDA_VISIBLE_DEVICES" not in text, path


def test_names_of_registered_plugins_appear_only_in_module_and_registry() -> None:
    from peftscope.measures.registry import MEASUREMENTS
    from peftscope.models.kinds.registry import KINDS
    from peftscope.tasks.registry import TASKS

    # what experiment folders of the public benchmark are about are these two tasks
    own = {
        "math": ("upstream", "study/experiment.py"),
        "concept": ("upstream", "study/experiment.py", "tasks/images"),
        # a task names the kinds it is learned on, and those its metrics are of
        **dict.fromkeys(KINDS.built_in, ("models/kinds", "tasks/registry.py", "tasks/images/metric_names.py")),
    }
    for name in (*KINDS.built_in, *TASKS.built_in):
        for path in FILES:
            place = path.relative_to(SOURCE).as_posix()
            if place.startswith(("tasks/text", "tasks/registry.py", *own.get(name, ()))):
                continue
            literals = {n.value for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Constant)}
            assert name not in literals, f"{place} names {name}"
    assert all(entry.measurement.startswith("peftscope.measures.") for entry in MEASUREMENTS.built_in.values())


def test_every_exception_is_caught_in_one_place_only() -> None:
    places = [p.name for p in FILES if re.search(r"except (Base)?Exception\b|except:", p.read_text("utf-8"))]
    assert places == ["capture.py"]


def test_no_file_exceeds_400_lines_or_is_named_like_utils() -> None:
    for path in FILES:
        assert len(path.read_text("utf-8").splitlines()) <= 400, path
        assert path.stem not in ("utils", "util", "common", "helpers", "misc"), path


def test_source_files_contain_no_absolute_home_path() -> None:
    for path in FILES:
        assert not re.search(r"/(home|root|Users|work)/", path.read_text("utf-8")), path
