from __future__ import annotations

import pytest
import torch

from peftscope.errors import ModelError
from peftscope.models import device as devices


@pytest.mark.parametrize("kind", ["cuda", "xpu", "mps"])
def test_auto_device_selects_an_available_accelerator(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device(kind))
    assert devices.choose_device("auto").type == devices.choose_device(kind).type == kind
    assert devices.choose_device("cpu").type == "cpu"
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    assert devices.choose_device("auto").type == "cpu"


def test_an_unavailable_device_is_rejected_with_the_available_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available_devices", lambda: ("mps", "cpu"))
    with pytest.raises(ModelError, match=r"'cuda' is not on this machine; it has mps, cpu"):
        devices.choose_device("cuda")


def test_auto_dtype_is_bfloat16_only_on_accelerators_that_support_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr(devices, "has_bfloat16", lambda device: True)
    assert devices.choose_dtype("auto", gpu) == torch.bfloat16
    assert devices.choose_dtype("auto", torch.device("cpu")) == torch.float32
    monkeypatch.setattr(devices, "has_bfloat16", lambda device: False)
    assert devices.choose_dtype("auto", gpu) == torch.float32
    assert devices.choose_dtype("float16", gpu) == torch.float16


def test_autocast_computes_in_bfloat16() -> None:
    cpu = torch.device("cpu")
    with devices.autocast(cpu):
        assert torch.nn.Linear(4, 4)(torch.ones(1, 4)).dtype == torch.bfloat16


def test_the_cpu_reports_no_memory_peaks_and_needs_no_synchronization() -> None:
    cpu = torch.device("cpu")
    devices.synchronize(cpu)
    devices.reset_memory_peaks(cpu)
    assert devices.memory_peaks(cpu) is None


def test_memory_peaks_distinguish_allocated_from_reserved_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 10)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 30)
    assert devices.memory_peaks(torch.device("cuda")) == devices.MemoryPeaks(allocated_bytes=10, reserved_bytes=30)
