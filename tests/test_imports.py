"""Importing costs nothing but time: no device, network, environment variable or file is touched."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import os, socket, pkgutil, importlib, sys
import transformers, peft, datasets, torch, reasoning_gym, huggingface_hub, safetensors.torch, gguf  # not ours
OPTIONAL = {"bitsandbytes", "rouge_score", "mlflow", "wandb", "trackio"}
before, loaded = dict(os.environ), OPTIONAL & set(sys.modules)  # peft takes bitsandbytes where it is there
def refuse(*_, **__): raise AssertionError("a socket was opened")
socket.socket.connect = refuse
import peftscope
for module in pkgutil.walk_packages(peftscope.__path__, "peftscope."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert dict(os.environ) == before, set(dict(os.environ).items()) ^ set(before.items())
assert not torch.cuda.is_initialized()
assert OPTIONAL & set(sys.modules) == loaded
print("fine")
"""


def test_every_module_imports_without_touching_device_network_or_environment() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CODE], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "fine", done.stderr[-2000:]
