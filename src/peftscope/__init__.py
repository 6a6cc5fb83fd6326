"""Find the PEFT method that is best for your model, your data and your limits.

>>> import peftscope as ps
>>> study = ps.Study(name="first", model="builtin:nano-lm", task="math", methods=["lora", "oft"])
>>> study
Study('first', folder='results/first')

``study.run()`` trains and scores every method under the same conditions; ``study.recommend()`` says which to take.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from peftscope.errors import PeftscopeError
    from peftscope.study.conversion import ConvertedAdapter
    from peftscope.study.conversion_plan import plan_conversion
    from peftscope.study.experiment import run_experiment
    from peftscope.study.functions import predict_memory
    from peftscope.study.import_export import import_results
    from peftscope.study.method_list import MethodList
    from peftscope.study.probing import Capabilities
    from peftscope.study.publication import contribute, publish
    from peftscope.study.study import Study

__version__ = "0.1.0"

__all__ = [
    "PeftscopeError",
    "Study",
    "__version__",
    "contribute",
    "convert",
    "import_results",
    "methods",
    "plan_conversion",
    "predict_memory",
    "probe",
    "publish",
    "run_experiment",
]

_PLACES = {
    "PeftscopeError": "peftscope.errors",
    "Study": "peftscope.study.study",
    "contribute": "peftscope.study.publication",
    "import_results": "peftscope.study.import_export",
    "plan_conversion": "peftscope.study.conversion_plan",
    "predict_memory": "peftscope.study.functions",
    "publish": "peftscope.study.publication",
    "run_experiment": "peftscope.study.experiment",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: importing the package itself costs milliseconds."""
    if name in _CALLABLE:
        return import_module(f"peftscope.{name}")
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Methods(ModuleType):
    """The package of methods, which can be called: ``peftscope.methods()`` lists them."""

    def __call__(self, name: str | None = None, *, family: str | None = None) -> MethodList:
        """Methods by name, each with its card; ``study.functions.methods`` says more."""
        from peftscope.study.functions import methods

        return methods(name, family=family)


class _Convert(ModuleType):
    """The package of conversions, which can be called."""

    def __call__(self, adapter: str | Path, output: str | Path, **wishes: Any) -> ConvertedAdapter:
        """An adapter of any method as a plain LoRA; ``study.conversion.convert`` says more."""
        from peftscope.study.conversion import convert

        return convert(adapter, output, **wishes)


class _Probe(ModuleType):
    """The package of probes, which can be called."""

    def __call__(
        self, model: str | None = None, methods: str | Sequence[str] | None = None, **wishes: Any
    ) -> Capabilities:
        """What methods can do; ``study.probing.probe`` says more."""
        from peftscope.study.probing import probe

        return probe(model, methods, **wishes)


_CALLABLE: dict[str, type[ModuleType]] = {"methods": _Methods, "convert": _Convert, "probe": _Probe}
"""Packages whose name is a function of the front door, too."""


class _Package(ModuleType):
    """Makes packages callable when they are imported, which is when they become an attribute here."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _CALLABLE and type(value) is ModuleType:
            value.__class__ = _CALLABLE[name]
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
