"""Whatever stands in a file of the user's or of others', there is one list of problems, soon, and no traceback."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peftscope.errors import PeftscopeError
from peftscope.measures.registry import metric_specs
from peftscope.methods.adapter_config import method_name
from peftscope.methods.build import BuildContext, build
from peftscope.methods.catalog import card
from peftscope.methods.checkpoint import load, save
from peftscope.schema.reader import read_study
from peftscope.schema.record import Attempt, CurvePoint, ExampleOutcome, MethodFacts, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MethodSpec
from peftscope.store.files import read_record
from peftscope.study.run_details import RunDetails
from peftscope.study.vocabulary import vocabulary
from peftscope.upstream.experiment import read_experiment, to_run_spec
from peftscope.upstream.results_in import Names, read_upstream
from published import image_result, text_result
from tiny import tiny_llama

SOON_S = 1.0
EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

STUDY: dict[str, Any] = {
    "name": "mine",
    "model": {"source": "builtin:nano-lm", "dtype": "float32"},
    "task": {"name": "own-data", "train": "rows.csv", "prompt": "{text}", "target": "label", "max_new_tokens": 4},
    "methods": ["lora", {"name": "oft", "knobs": {"oft_block_size": 8}, "learning_rates": [1e-3]}],
    "seeds": [0, 1],
    "tuning": {"effort": "quick"},
    "train": {"max_steps": 3, "batch_size": 2, "schedule": "cosine"},
    "measure": {"latency": False},
}
ADAPTER: dict[str, Any] = {
    "peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM",
    "rank_pattern": {"q_proj": 4}, "bias": "none",
}  # fmt: skip
TRAINING: dict[str, Any] = {
    "model_id": "meta-llama/Llama-3.2-3B", "dtype": "bfloat16", "max_seq_length": 768, "batch_size": 4,
    "max_steps": 50, "eval_steps": 25, "optimizer_kwargs": {"lr": 1e-4, "weight_decay": 0.1}, "seed": 0,
}  # fmt: skip
HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 10**30, 2**63, 10**400, 1e308, float("inf"), float("nan"), -0.0, 1e-320]),
    st.sampled_from(["", " ", "lora", "a" * 3000, "../../x", "\x00", "\x1b[31m", "{text", "{0}", "1e999", "\ud800"]),
    st.sampled_from([[], {}, [[]], {"": None}, [None], {"name": {}}, [1, "a", None], {"a": {"b": {"c": []}}}]),
    st.text(max_size=20),
    st.integers(),
    st.floats(),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _places(inner, (*path, key))


def mutated(document: dict[str, Any]) -> st.SearchStrategy[Any]:
    """The document with one to three of its values replaced, taken out, or with one more beside them."""
    places = list(_places(document))
    change = st.tuples(
        st.sampled_from(places), st.sampled_from(["replace", "remove", "add"]), HOSTILE.map(copy.deepcopy)
    )

    def apply(changes: list[tuple[tuple[Any, ...], str, Any]]) -> Any:
        found = copy.deepcopy(document)
        for (*way, last), how, hostile in changes:
            value = copy.deepcopy(hostile)
            inner: Any = found
            with suppress(KeyError, IndexError, TypeError, AttributeError):  # an earlier change took it away
                for key in way:
                    inner = inner[key]
                if how == "replace":
                    inner[last] = value
                elif how == "remove":
                    del inner[last]
                elif isinstance(inner, dict):
                    inner[value if isinstance(value, str) else "further"] = value
                else:
                    inner.append(value)
        return found

    return st.one_of(st.lists(change, min_size=1, max_size=3).map(apply), HOSTILE.map(copy.deepcopy))


@contextmanager
def soon_and_named() -> Iterator[None]:
    """What is inside ends within a second, and with one of our own errors if with any."""
    began, errors = time.process_time(), []
    try:
        yield
    except PeftscopeError as error:
        errors.append(str(error))
    assert all(0 < len(message) < 20_000 for message in errors), "a message is to be read"
    assert time.process_time() - began < SOON_S


def _text(document: Any) -> bytes:
    return json.dumps(document).encode("utf-8", errors="surrogatepass")


def _as_yaml(document: Any) -> bytes:
    return yaml.safe_dump(document, allow_unicode=True).encode("utf-8", errors="surrogatepass")


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """What is imported late is not what is timed."""
    with TemporaryDirectory() as place, suppress(PeftscopeError):
        path = Path(place) / "study.yaml"
        path.write_bytes(_as_yaml(STUDY))
        read_study(path, vocabulary())
        read_experiment(Path(place))


@EXAMPLES
@given(document=mutated(STUDY), write=st.sampled_from([_text, _as_yaml]))
def test_any_study_file_is_read_or_refused_with_its_problems(document: Any, write: Callable[[Any], bytes]) -> None:
    with TemporaryDirectory() as place:
        path = Path(place) / "study.yaml"
        path.write_bytes(write(document))
        vocabulary()
        with soon_and_named():
            read_study(path, vocabulary())


@pytest.mark.parametrize(
    "change",
    [
        {"methods": ["a" * 100_000]}, {"name": "a" * 100_000}, {"task": {"name": "a" * 100_000}},
        {"task": {"name": "own-data", "prompt": "a" * 100_000}}, {"train": {"max_steps": 10**4000}},
        {"train": {"schedule": "a" * 100_000}}, {"seeds": ["a" * 10_000] * 10}, {"methods": [{"name": "\ud800"}]},
    ],
)  # fmt: skip
def test_long_values_are_refused_with_a_message_that_can_be_read(change: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_bytes(_text({**STUDY, **change}))
    with soon_and_named():
        read_study(tmp_path / "study.yaml", vocabulary())
        raise AssertionError("refused")


@pytest.mark.parametrize("name", ["adapter_config.json", "training_params.json"])
@pytest.mark.parametrize("depth", [60, 600, 5000])
def test_deep_nesting_is_refused(name: str, depth: int, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"a":' * depth + "1" + "}" * depth)
    with pytest.raises(PeftscopeError):
        read_experiment(tmp_path)


def test_numbers_that_cannot_be_written_out_are_refused(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_bytes(_as_yaml(STUDY) + b"seeds: [0x" + b"f" * 5000 + b"]\n")
    text = (tmp_path / "study.yaml").read_text().replace("seeds:\n- 0\n- 1\n", "")
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(PeftscopeError, match="a number of about 6021 digits"):
        read_study(tmp_path / "study.yaml", vocabulary())


@EXAMPLES
@given(data=st.binary(max_size=400))
def test_any_bytes_for_a_study_are_refused(data: bytes) -> None:
    with TemporaryDirectory() as place:
        path = Path(place) / "study.yaml"
        path.write_bytes(data)
        with soon_and_named():
            read_study(path, vocabulary())
            raise AssertionError("no such bytes are a study")


@EXAMPLES
@given(adapter=st.one_of(st.none(), mutated(ADAPTER)), training=st.one_of(st.none(), mutated(TRAINING)))
def test_any_experiment_folder_is_read_or_refused_with_its_problems(adapter: Any, training: Any) -> None:
    with TemporaryDirectory() as place:
        folder = Path(place) / "lora" / "mine"
        folder.mkdir(parents=True)
        for name, content in (("adapter_config.json", adapter), ("training_params.json", training)):
            if content is not None:
                (folder / name).write_bytes(_text(content))
        with soon_and_named():
            experiment = read_experiment(folder)
            name = method_name(experiment.peft_config, experiment.training_params)
            to_run_spec(experiment, method_name=name, warn=lambda line: None)


def _record() -> dict[str, Any]:
    spec = RunSpec(model="m", task={"name": "math"}, method="lora", learning_rate=1e-4)
    record = RunRecord(
        run_id=spec.run_id,
        spec=spec,
        status="ok",
        attempts=(Attempt(started_at="x", ended_at="y", status="ok", traceback="t", environment={"num_threads": 1}),),
        method_facts=MethodFacts(tuner_class="x", adapted_modules=("a",), peft_config={"peft_type": "LORA"}),
        metrics={"test_score": 0.1, "train_time_s": 3.5, "drift": None},
        missing={"drift": "not asked for"},
        curve=(CurvePoint(step=1, learning_rate=1e-4, train_loss=1.0, train_time_s=0.7, valid_score=0.2),),
        examples=(ExampleOutcome(example_id="a", score=1.0, output="4"),),
    )
    found: dict[str, Any] = json.loads(record.model_dump_json(by_alias=True))
    return found


@EXAMPLES
@given(document=mutated(_record()))
def test_any_record_is_shown_or_refused(document: Any) -> None:
    with TemporaryDirectory() as place:
        path = Path(place) / "records" / "a.json"
        path.parent.mkdir()
        path.write_bytes(_text(document))
        with soon_and_named():
            shown = RunDetails(record=read_record(path), folder=Path(place)).text(width=80)
            assert all(c.isprintable() or c == "\n" for c in shown)


@EXAMPLES
@given(document=st.one_of(mutated(text_result()), mutated(image_result())))
def test_any_published_result_is_imported_or_refused(document: Any) -> None:
    with TemporaryDirectory() as place:
        (Path(place) / "a.json").write_bytes(_text(document))
        with soon_and_named():
            read_upstream(Path(place), Names(method_name=method_name, metrics=tuple(metric_specs())))


@cache
def _adapter() -> dict[str, bytes]:
    with TemporaryDirectory() as place:
        context = BuildContext(seed=0, max_steps=2, learning_rate=1e-3, warn=lambda line: None, task_type="CAUSAL_LM")
        save(build(tiny_llama(), MethodSpec(name="lora"), context), Path(place))
        return {file.name: file.read_bytes() for file in Path(place).iterdir()}


@pytest.mark.parametrize("damaged", ["adapter_config.json", "adapter_model.safetensors"])
@settings(EXAMPLES, max_examples=12)
@given(data=st.data())
def test_any_adapter_is_loaded_or_refused(damaged: str, data: Any) -> None:
    files = dict(_adapter())
    if damaged.endswith(".json"):
        files[damaged] = _text(data.draw(mutated(json.loads(files[damaged]))))
    else:
        at = data.draw(st.integers(0, len(files[damaged]) - 1))
        files[damaged] = data.draw(
            st.sampled_from([files[damaged][:at], files[damaged][:at] + b"\xff" * 9 + files[damaged][at + 9 :], b""])
        )
    with TemporaryDirectory() as place:
        for name, content in files.items():
            (Path(place) / name).write_bytes(content)
        base = tiny_llama()
        with suppress(PeftscopeError):
            load(base, Path(place), card("lora"))
