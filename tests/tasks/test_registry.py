"""Tasks by name."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from peftscope import plugins
from peftscope.errors import SpecError
from peftscope.schema.study import TaskSpec
from peftscope.tasks import registry
from peftscope.tasks.base import TaskContext
from peftscope.tasks.registry import TaskEntry, create, options_model, task_names
from peftscope.tasks.text.options import MathOptions, OwnDataOptions
from tiny import tiny_tokenizer


def test_the_built_in_tasks_are_registered():
    assert {"math", "own-data"} <= set(task_names())
    assert options_model("math") is MathOptions
    assert options_model("own-data") is OwnDataOptions


def test_names_and_options_are_read_without_torch():
    code = (
        "import sys; from peftscope.tasks.registry import options_model, task_names; "
        "[options_model(n) for n in task_names()]; "
        "print({'torch', 'transformers', 'datasets', 'peft', 'reasoning_gym'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_an_unknown_task_suggests_the_closest_name():
    with pytest.raises(SpecError, match=r"unknown task 'maths'; did you mean 'math'\?"):
        options_model("maths")


def test_every_wrong_option_is_named_at_once():
    spec = TaskSpec(name="math", options={"sorce": "files", "answer": "middle", "max_new_tokens": 0})
    with pytest.raises(SpecError) as caught:
        create(spec, TaskContext(processor=tiny_tokenizer()))
    assert len(caught.value.problems) == 3
    assert "did you mean 'source'" in str(caught.value)


def test_a_plugin_task_is_found_but_cannot_replace_a_built_in(monkeypatch):
    points = [
        EntryPoint("toy", "tasks.test_registry:TOY", registry.TASKS.group),
        EntryPoint("math", "tasks.test_registry:TOY", registry.TASKS.group),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    with pytest.warns(UserWarning, match="'math' of .* is left out: the name is taken"):
        assert "toy" in task_names()
    with pytest.warns(UserWarning, match="left out"):
        assert options_model("toy") is MathOptions
    assert options_model("math") is MathOptions


TOY = TaskEntry(task="tasks.toy:RegressionTask", options="peftscope.tasks.text.options:MathOptions")
