"""The public benchmark's results stand as studies wherever a study's folder does, and are those that were published."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

import peftscope
from peftscope.errors import SpecError
from peftscope.measures.registry import metric_specs
from peftscope.methods.adapter_config import method_name
from peftscope.methods.capabilities import SERVERS
from peftscope.models.kinds.registry import KINDS
from peftscope.schema.request import Request
from peftscope.store.files import read_records
from peftscope.study import published as module
from peftscope.study.documents import StudyDocuments
from peftscope.study.folder import find_record, study_folder
from peftscope.study.import_export import import_results
from peftscope.study.published import place_of, published_folder, published_places
from peftscope.study.report import report_of
from peftscope.study.study import Study
from peftscope.upstream.metrics import UPSTREAM_METRICS
from peftscope.upstream.published import TABLE_FILE, published

PLACES = [str(place) for place in published_places()]
TEXT, IMAGES = "published:text-2026-08-21", "published:images-2026-08-21"
SCRIPTS = Path(__file__).parents[2] / "scripts"
UNREAD = ("tokens / sec", "mem reserved avg", "elapsed time")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("PEFTSCOPE_CACHE", str(folder))
        yield folder


@pytest.fixture
def forget_version() -> Iterator[Callable[[], None]]:
    yield module._version.cache_clear
    module._version.cache_clear()


def test_the_table_is_made_from_the_published_documents(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    script = import_module("published_results")
    table = script.table_of(shared_data)
    assert script.packed(table) == TABLE_FILE.read_bytes(), "run scripts/published_results.py"
    assert TABLE_FILE.stat().st_size < 300_000


def test_records_are_those_that_importing_the_documents_gives(shared_data: Path, tmp_path: Path) -> None:
    apart = {"run_id", "foreign"}
    folders = {"2026-06-18": "published", "2026-08-21": "published-2026-08-21"}
    for release in published().releases.values():
        source = shared_data / folders[release.date] / {"text": "MetaMathQA", "images": "image-gen"}[release.task]
        imported = import_results(source, tmp_path / release.key).found.records
        ours = read_records(published_folder(module.PREFIX + release.key))
        assert len(ours) == len(imported)
        by_title = {record.spec.title: record for record in imported}
        for record in ours:
            theirs = by_title[record.spec.title]
            assert record.model_dump(exclude=apart) == theirs.model_dump(exclude=apart)
            whole = json.loads(json.dumps(theirs.foreign))
            del whole["meta_info"]["pytorch_info"], whole["meta_info"]["system_info"]["version"]
            for point in whole["train_info"]["metrics"]:
                for name in UNREAD:
                    point.pop(name, None)
            assert json.dumps(record.foreign) == json.dumps(whole)  # as texts: a loss that is NaN equals nothing


def test_the_table_names_each_documents_method() -> None:
    for release in published().releases.values():
        for result in release.results:
            info = result.document["run_info"]
            assert method_name(info["peft_config"], info["train_config"]) == result.method


def test_what_is_told_of_the_releases_is_in_their_documents() -> None:
    june, august = published().of_task("text")
    images_june, images_august = published().of_task("images")
    assert {r.document["run_info"]["created_at"][:7] for r in august.results} == {"2026-07"}
    months = {r.document["run_info"]["created_at"][:7] for r in june.results}
    assert (min(months), max(months)) == ("2026-01", "2026-05")
    assert "51 of them are experiments of 18 June 2026, run again" in " ".join(august.lines)
    kept = {r.experiment: r.document for r in images_june.results}
    assert all(kept[r.experiment] == r.document for r in images_august.results)
    assert "unchanged to the last digit" in " ".join(images_august.lines)


def test_newest_texts_come_first() -> None:
    assert PLACES == [TEXT, "published:text-2026-06-18", IMAGES, "published:images-2026-06-18"]


def test_records_are_written_once_into_the_cache(cache: Path) -> None:
    folder = study_folder(Path(TEXT))
    assert folder.is_relative_to(cache)
    paths = sorted((folder / "records").iterdir())
    before = [path.stat().st_mtime_ns for path in paths]
    assert len(paths) == 53
    assert study_folder(Path(TEXT)) == folder
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_another_version_of_peftscope_writes_them_anew(
    monkeypatch: pytest.MonkeyPatch, forget_version: Callable[[], None]
) -> None:
    before = published_folder(IMAGES)
    monkeypatch.setattr(peftscope, "__version__", "99.0")
    forget_version()
    after = published_folder(IMAGES)
    assert after != before
    assert [p.read_bytes() for p in sorted(after.glob("records/*"))] == [
        p.read_bytes() for p in sorted(before.glob("records/*"))
    ]


def test_two_processes_at_once_get_the_same_whole_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEFTSCOPE_CACHE", str(tmp_path))
    code = (
        "from peftscope.study.published import published_folder;"
        f"folder = published_folder('{TEXT}'); print(folder, len(list(folder.glob('records/*.json'))))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0].strip() for process in both]
    assert said[0] == said[1]
    assert said[0].endswith(" 53")


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PEFTSCOPE_CACHE", str(tmp_path / "file"))
    folder = published_folder(IMAGES)
    assert len(read_records(folder)) == 24
    assert published_folder(IMAGES) == folder
    assert str(place_of(folder)) == IMAGES


@pytest.mark.parametrize("place", ["published:", "published:text", "published:text-2026-06-19", "published:../x"])
def test_an_unknown_release_is_answered_with_those_there_are(place: str) -> None:
    with pytest.raises(SpecError) as caught:
        study_folder(Path(place))
    assert all(known in str(caught.value) for known in PLACES)


def test_a_release_is_recommended_from_under_limits() -> None:
    study = Study.find(TEXT)
    assert study.name == "published text results of 2026-08-21"
    found = study.recommend(max_memory="22GB")
    assert found.results.name == study.name
    assert found.choice == "shira/llama-3.2-3B-lr_0.0003-random_seed_42"


@pytest.mark.parametrize("opened_by", [Study.load, Study.find])
def test_a_release_opens_by_name_without_a_study_to_run(opened_by: Callable[[str], Study]) -> None:
    study = opened_by(TEXT)
    assert TEXT in repr(study)
    with pytest.raises(SpecError, match="no study that could be run"):
        study.run()
    with pytest.raises(SpecError, match="did you mean 'published:text-2026-08-21'"):
        opened_by("published:text-2026-08-2")


def test_answers_name_the_release_and_not_the_cache(cache: Path) -> None:
    study = Study.load(TEXT)
    run_id = next(study.folder.glob("records/*.json")).stem
    details = study.show(run_id)
    for answer in (study.recommend(), study.results(), study.status(), details):
        assert answer.document()["folder"] == TEXT
        assert str(cache) not in json.dumps(answer.document())
    assert details.document()["record"] is None
    assert f"from\n  {TEXT}" in str(details)
    for place, told in ((Path(TEXT), f"no such run in {TEXT}"), (study.folder, f"({TEXT})")):
        with pytest.raises(SpecError) as caught:
            find_record("zzz", place)
        assert told in str(caught.value)
        assert str(cache) not in str(caught.value)


def test_a_folder_of_the_users_own_keeps_its_name(tmp_path: Path) -> None:
    own = tmp_path / published_folder(TEXT).name
    assert place_of(own) == own


def test_one_run_of_a_release_is_found_by_its_beginning() -> None:
    run_id = next(study_folder(Path(TEXT)).glob("records/*.json")).stem
    assert find_record(run_id[:12], Path(TEXT))[1].run_id == run_id


def test_documents_name_the_place_and_tell_release_source_and_date(cache: Path) -> None:
    study = StudyDocuments(Path(IMAGES))
    assert (study.key, study.name) == ("published-images-2026-08-21", "published image results of 2026-08-21")
    document = study.study()
    assert document["study"]["place"] == IMAGES
    assert all(IMAGES in command for command in document["study"]["commands"])
    lines = " ".join(next(part["lines"] for part in document["first"] if part["title"] == "About these records"))
    for told in ("results that others published", "PEFT library", "as of 21 August 2026", "Apache-2.0", "9 June 2026"):
        assert told in lines
    run = study.run(study.runs()["rows"][0]["id"])
    for made in (document, study.runs(), run, study.choose({"memory": "10e9"})):
        assert str(cache) not in json.dumps(made)


@pytest.mark.parametrize("place", PLACES)
def test_no_two_quantities_of_a_release_share_a_label(place: str) -> None:
    figures = [figure for record in read_records(published_folder(place)) for figure in record.metrics.items()]
    measured = {name for name, value in figures if value is not None}
    titles = [spec.title for name, spec in {**metric_specs(), **UPSTREAM_METRICS}.items() if name in measured]
    assert len(titles) == len(set(titles)) > 8
    assert not [title for title in titles if title.startswith("upstream")]


def test_published_methods_are_told_apart_by_their_settings() -> None:
    document = StudyDocuments(Path(TEXT)).study()
    less, more = (dict(document["settings"][f"lora/llama-3.2-3B-rank{rank}"]) for rank in (32, 64))
    assert {name for name in less if less[name] != more[name]} == {"r", "lora_alpha"}
    assert (less["r"], more["r"]) == ("32", "64")
    assert not document["code"]


@pytest.mark.parametrize(("place", "servers"), [(TEXT, {"vllm", "llama.cpp"}), (IMAGES, {"diffusers"})])
def test_only_servers_of_such_models_are_offered(place: str, servers: set[str]) -> None:
    needs = StudyDocuments(Path(place)).study()["choices"]["needs"]
    assert {need["name"] for need in needs} & set(SERVERS) == servers


def test_every_server_loads_models_of_some_kind() -> None:
    assert {server for name in KINDS.names() for server in KINDS.get(name).servers} == set(SERVERS)


def test_a_report_is_written_below_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    found = report_of(Path(IMAGES), None, Request("report"))
    assert found.page == Path("results/published-images-2026-08-21/report/report.html")
    text = found.page.read_text("utf-8")
    assert IMAGES in text
    assert str(cache) not in text
    assert not list(cache.rglob("report*"))


def test_published_results_cannot_be_published_again() -> None:
    with pytest.raises(SpecError, match="others ran it"):
        Study.find(IMAGES).publish("me/adapter")


def test_published_results_have_no_adapter_to_interpolate() -> None:
    with pytest.raises(SpecError, match="others ran it"):
        Study.load(IMAGES).interpolate()
