"""The bundle for a machine with an accelerator: what goes in, what stays out, what is refused."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import accelerator_bundle as bundle  # noqa: E402
import thin_wheel  # noqa: E402

sys.path.remove(str(SCRIPTS))

NEEDS = {
    "own": [
        "torch>=2.8",
        "pandas>=3.0",
        "small",
        "packed>=1; extra == 'quantized'",
        "winonly; sys_platform == 'win32'",
    ],
    "small": ["Tiny_Part>=1", "pandas"],
    "pandas": ["numpy>=2"],
}


def requirements_of(name: str) -> Sequence[str]:
    return NEEDS.get(name, [])


def test_packages_already_installed_are_excluded_with_their_dependencies() -> None:
    found = bundle.choose(["own"], requirements_of, {"torch": "2.11.0+cu130", "pandas": "3.1.1"})
    assert found.bundled == ("own", "small", "tiny-part")
    assert found.left_out == ("pandas", "torch")


def test_packages_too_old_on_the_machine_are_bundled() -> None:
    found = bundle.choose(["own"], requirements_of, {"torch": "2.11.0", "pandas": "2.3.0", "numpy": "2.5.2"})
    assert "pandas" in found.bundled
    assert found.left_out == ("numpy", "torch")


def test_extras_are_bundled_when_asked_for() -> None:
    found = bundle.choose(["own[quantized]"], requirements_of, {"torch": None, "pandas": None})
    assert found.bundled == ("own", "packed", "small", "tiny-part")


@pytest.mark.parametrize("machine", [{"torch": "2.1.0", "pandas": None}, {"pandas": None}])
def test_a_machine_whose_pytorch_would_be_replaced_is_refused(machine: dict[str, str | None]) -> None:
    with pytest.raises(bundle.Refused, match=r"own needs torch>=2\.8, and the machine has (2\.1\.0|none)"):
        bundle.choose(["own"], requirements_of, machine)


@pytest.mark.parametrize("name", ["torch", "triton", "nvidia_cublas", "torchvision"])
def test_wheels_that_are_part_of_a_pytorch_are_refused(name: str) -> None:
    wheels = {"small-1.0-py3-none-any.whl": 10, f"{name}-2.0-cp312-cp312-manylinux_2_28_x86_64.whl": 10}
    with pytest.raises(bundle.Refused, match=f"^{name}-2.0.* would replace the machine's PyTorch"):
        bundle.check_wheels(wheels)


def test_wheels_of_another_python_are_refused() -> None:
    bundle.check_wheels({"a-1-cp312-cp312-manylinux_2_28_x86_64.whl": 1, "b-1-cp310-abi3-manylinux_2_28_x86_64.whl": 1})
    bundle.check_wheels({"c-1-py2.py3-none-any.whl": 1, "d-1-py312-none-any.whl": 1})
    with pytest.raises(bundle.Refused, match=r"a-1-cp311.*not for Python 3\.12"):
        bundle.check_wheels({"a-1-cp311-cp311-linux_x86_64.whl": 1})


def test_a_bundle_over_the_limit_is_rejected_naming_the_largest_wheels() -> None:
    with pytest.raises(bundle.Refused, match=r"46\.0 MB, more than 45 MB; the largest: big-1\S* 44\.0 MB"):
        bundle.check_wheels({"big-1-py3-none-any.whl": 44_000_000, "small-1-py3-none-any.whl": 2_000_000})


def test_bundled_versions_are_the_pinned_versions() -> None:
    assert bundle.pinned(["small"], "# all\nsmall==1.2\n") == ["small==1.2"]
    with pytest.raises(bundle.Refused, match="no version of other"):
        bundle.pinned(["other"], "small==1.2\n")


def test_the_default_target_machine_has_pytorch_but_not_peft() -> None:
    machine = bundle.read_machine(bundle.MACHINE.read_text(encoding="utf-8"))
    assert machine["torch"] == "2.11.0"
    assert "peft" not in machine


def test_our_wheel_leaves_out_the_image_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[str] = []

    def build(name: str, folder: Path) -> None:
        packed.extend(str(path.relative_to(name)) for path in Path(name).rglob("*"))

    monkeypatch.setattr(bundle, "_build", build)
    bundle._build_own(tmp_path)
    assert "src/peftscope/models/nano_lm/model.safetensors" in packed
    assert not [name for name in packed if "nano_t2i" in name]


def packed_wheel(path: Path, names: Sequence[str]) -> str:
    """Write a wheel of these files; gives the name of its list."""
    record = "fast-1.0.dist-info/RECORD"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
        archive.writestr(record, "".join(f"{name},,{len(name)}\n" for name in [*names, record]))
    return record


def held_and_listed(path: Path, record: str) -> tuple[list[str], list[str]]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist(), [row[0] for row in csv.reader(io.StringIO(archive.read(record).decode()))]


def test_a_thinned_wheel_lists_exactly_its_remaining_libraries(tmp_path: Path) -> None:
    wheel = tmp_path / "fast-1.0-py3-none-any.whl"
    names = ["fast/code.py", "fast/libfast_cpu.so", "fast/libfast_cuda118.so", "fast/libfast_cuda130.so"]
    record = packed_wheel(wheel, names)
    thin_wheel.keep_libraries(wheel, ("cpu", "cuda130"))
    assert held_and_listed(wheel, record) == ([names[0], names[1], names[3], record],) * 2


def test_folders_left_out_of_a_wheel_are_not_listed(tmp_path: Path) -> None:
    wheel = tmp_path / "fast-1.0-py3-none-any.whl"
    names = ["fast/code.py", "fast/old/code.py", "fast/older.py", "fast/old/deep/code.py"]
    record = packed_wheel(wheel, names)
    thin_wheel.leave_out_folders(wheel, ("fast/old",))
    assert held_and_listed(wheel, record) == ([names[0], names[2], record],) * 2


def test_the_folders_left_out_of_diffusers_are_not_imported() -> None:
    loaded = "import sys; from diffusers import Flux2KleinPipeline, AutoencoderKLFlux2; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    unwanted = [folder.replace("/", ".") for folder in bundle.LEFT_OUT_FOLDERS["diffusers"]]
    assert "diffusers.pipelines.flux2" in done.stdout.split()
    assert not [name for name in done.stdout.split() if name.startswith(tuple(unwanted))]
