"""The explorer's server shows the studies it was given to this machine's own page, and to nobody else."""

from __future__ import annotations

import json
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("starlette", reason="the extra web is not installed")

from starlette.testclient import TestClient

from peftscope.errors import SpecError
from peftscope.methods.catalog import cards
from peftscope.store.files import read_records, record_path
from peftscope.store.run_states import file_lock
from peftscope.study.documents import StudyDocuments
from peftscope.study.study import Study
from peftscope.web.server import app_of
from peftscope.web.studies import Kept, studies_in
from pretend_study import make_study

SHARES = {"base": 0.2, "lora": 0.6, "rslora": 0.62, "oft": 0.5, "ln-tuning": 0.45}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    make_study(folder / "tickets", SHARES)
    make_study(folder / "other", {"base": 0.1, "lora": 0.3})
    (folder / "secret.json").write_text('{"secret": 1}', "utf-8")
    return folder


def client_of(*places: Path, host: str = "127.0.0.1") -> TestClient:
    return TestClient(app_of(studies_in(places), host=host), base_url="http://127.0.0.1:8765")


@pytest.fixture(scope="module")
def client(results: Path) -> TestClient:
    return client_of(results)


def get(client: TestClient, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_folder_of_studies_shows_each_of_them(client: TestClient) -> None:
    index = get(client, "/api/index")
    assert [study["key"] for study in index["studies"]] == ["other", "tickets"]
    assert index["live"]


def test_the_shop_has_every_method_in_every_explorer(client: TestClient) -> None:
    shop = get(client, "/api/shop")
    assert [card["name"] for card in shop["cards"]] == list(cards())
    assert shop["study"]["text"]["template"].count("{{methods}}") == 1


def test_two_studies_of_one_name_are_told_apart(results: Path, tmp_path: Path) -> None:
    make_study(tmp_path / "tickets", SHARES)
    assert list(studies_in([results / "tickets", tmp_path / "tickets"])) == ["tickets", "tickets-2"]


def test_what_is_no_study_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file or folder"):
        studies_in([tmp_path / "nowhere"])


def test_the_page_shows_the_values_of_recommend_to_the_last_digit(client: TestClient, results: Path) -> None:
    document = get(client, "/api/tickets/study")
    said = Study.find(results / "tickets").recommend().document()
    points = document["front"]["points"][said["metric"]["name"]]
    choice = said["choice"]
    assert points[choice["method"]]["exact"] == [choice["score"], *choice["score_interval"]]
    for name, value in choice["metrics"].items():
        if name in document["front"]["points"]:
            assert document["front"]["points"][name][choice["method"]]["exact"][0] == value
    front = said["front"]
    shown = document["front"]["fronts"]["|".join(front["metrics"])]
    assert shown["members"] == [member["method"] for member in front["members"]]
    for member in front["members"]:
        assert shown["membership"][member["method"]] == member["probability"]
    assert [topic["title"] for topic in document["recommendation"]] == [topic["title"] for topic in said["text"]]
    for shown_topic, said_topic in list(zip(document["recommendation"], said["text"]))[1:]:
        assert shown_topic == said_topic


def test_limits_are_answered_as_recommend_answers_them(client: TestClient, results: Path) -> None:
    choices = get(client, "/api/tickets/study")["choices"]
    memory = next(limit for limit in choices["limits"] if limit["name"] == "memory")
    for stop in memory["stops"]:
        said = Study.find(results / "tickets").recommend(max_memory=stop["value"]).document()
        asked = get(client, f"/api/tickets/choose?memory={stop['value']}")
        assert asked["choice"] == said["choice"]["method"]
        assert [topic["title"] for topic in asked["topics"]][1:] == [topic["title"] for topic in said["text"]][1:]
        key = "\n".join(method for method in choices["methods"] if method in stop["admits"])
        made_before = choices["answers"][key]
        assert made_before["choice"] == asked["choice"]
        assert made_before["summary"] == asked["summary"]
        for part in ("members", "membership", "admitted"):
            assert made_before[part] == asked[part]
        assert Study.find(results / "tickets").recommend(max_memory=stop["given"]).choice == asked["choice"]
        left_out = {excluded["method"] for excluded in said["excluded"]}
        assert set(stop["admits"]) == set(choices["methods"]) - left_out


def test_every_answer_that_two_limits_can_give_lies_in_the_document(client: TestClient) -> None:
    choices = get(client, "/api/tickets/study")["choices"]
    for first in choices["limits"]:
        for second in choices["limits"]:
            for a in first["stops"]:
                for b in second["stops"]:
                    both = set(a["admits"]) & set(b["admits"])
                    assert "\n".join(m for m in choices["methods"] if m in both) in choices["answers"]


def test_a_run_is_shown_with_its_command(client: TestClient, results: Path) -> None:
    row = get(client, "/api/tickets/runs")["rows"][0]
    details = get(client, f"/api/tickets/run/{row['id']}")
    assert details["command"].startswith(f"peftscope rerun {row['id']}")
    assert any(section["title"] == "what it was" for section in details["sections"])


@pytest.mark.parametrize(
    "path",
    [
        "/api/tickets/run/..%2F..%2Fsecret",
        "/api/tickets/run/../../secret.json",
        "/api/tickets/run/.hidden",
        "/api/tickets/run/nowhere",
        "/api/..%2Fsecret/study",
        "/api/nowhere/study",
        "/api/tickets/secret.json",
        "/api/tickets/choose?memory=lots",
        "/api/tickets/choose?height=3",
        "/secret.json",
        "/..%2Fsecret.json",
    ],
)
def test_nothing_but_the_given_studies_can_be_read(path: str, client: TestClient) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert 'secret": 1' not in answer.text


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"host": "127.0.0.1:8765"}, True),
        ({"host": "localhost:8765"}, True),
        ({"host": "[::1]:8765"}, True),
        ({"host": "evil.example:8765"}, False),
        ({"host": "127.0.0.1.evil.example"}, False),
        ({"host": "192.168.1.7:8765"}, False),
        ({"host": ""}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://[::1"}, False),
        ({"origin": "http://127.0.0.1:9999"}, False),
        ({"origin": "http://127.0.0.1:8765"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "same-origin"}, True),
    ],
)
def test_other_hosts_and_pages_are_refused(headers: dict[str, str], allowed: bool, client: TestClient) -> None:
    answer = client.get("/api/index", headers=headers)
    assert answer.status_code == (200 if allowed else 403)


def test_a_server_on_every_address_answers_to_addresses_and_to_no_foreign_name(results: Path) -> None:
    client = client_of(results, host="0.0.0.0")
    assert client.get("/api/index", headers={"host": "192.168.1.7:8765"}).status_code == 200
    assert client.get("/api/index", headers={"host": "evil.example"}).status_code == 403


def test_nothing_can_be_written(client: TestClient) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, "/api/index").status_code == 403


def test_every_answer_carries_the_policy(client: TestClient) -> None:
    for path in ("/", "/page.js", "/api/index", "/api/nowhere/study"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


@pytest.fixture
def published_client(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("PEFTSCOPE_CACHE", str(tmp_path / "cache"))
    studies = studies_in([results / "tickets"], published=True)
    return TestClient(app_of(studies, published=True), base_url="http://127.0.0.1:8765")


def test_published_results_stand_after_the_users_own_studies(published_client: TestClient) -> None:
    index = get(published_client, "/api/index")
    keys = [study["key"] for study in index["studies"]]
    dates = [f"{task}-{date}" for task in ("text", "images") for date in ("2026-08-21", "2026-06-18")]
    assert keys == ["tickets", *(f"published-{date}" for date in dates)]
    assert index["published"] is True
    assert "published" not in index["studies"][0]
    about = {key: index["studies"][1][key] for key in ("name", "place", "published")}
    assert about == {
        "name": "published text results of 2026-08-21",
        "place": "published:text-2026-08-21",
        "published": {
            "task": "text", "task_title": "Text: word problems", "release": "2026-08-21", "released": "21 August 2026",
        },
    }  # fmt: skip


def test_published_results_are_shown_alone_where_no_study_is_given(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    make_study(tmp_path / "results" / "mine", SHARES)
    assert all(study.published for study in studies_in([], published=True).values())
    assert list(studies_in([])) == ["mine"]


def test_a_published_study_given_by_name_is_not_shown_twice() -> None:
    place = Path("published:text-2026-06-18")
    assert list(studies_in([place])) == ["published-text-2026-06-18"]
    assert len(studies_in([place], published=True)) == 4


def test_runs_of_published_results_are_listed_and_releases_compared(published_client: TestClient) -> None:
    runs = get(published_client, "/api/published-images-2026-08-21/runs")
    assert len(runs["rows"]) == 24
    assert runs["place"] == "published:images-2026-08-21"
    document = get(published_client, "/api/releases")
    assert [task["key"] for task in document["tasks"]] == ["text", "images"]
    keys = {study["key"] for study in get(published_client, "/api/index")["studies"]}
    assert {release["study"] for task in document["tasks"] for release in task["releases"]} <= keys


def test_without_published_nothing_of_it_is_served(client: TestClient) -> None:
    index = get(client, "/api/index")
    assert index["published"] is False
    assert all("published" not in study for study in index["studies"])
    answer = client.get("/api/releases")
    assert answer.status_code == 404
    assert "--published" in answer.json()["error"]["message"]


def test_the_newest_published_study_is_judged_from_the_start(
    published_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = threading.Event()
    make = StudyDocuments.study

    def watched(study: StudyDocuments) -> dict[str, Any]:
        assert study.key == "published-text-2026-08-21"
        found = make(study)
        judged.set()
        return found

    monkeypatch.setattr(StudyDocuments, "study", watched)
    with published_client:
        assert judged.wait(60)


def test_a_study_that_changes_is_read_again(tmp_path: Path) -> None:
    make_study(tmp_path / "s", SHARES)
    client = client_of(tmp_path / "s")
    state = get(client, "/api/s/state")["state"]
    before = get(client, "/api/s/runs")
    assert before["state"] == state
    path = next((tmp_path / "s/records").iterdir())
    record = json.loads(path.read_text())
    record["spec"]["seed"] = 77
    path.write_text(json.dumps(record))
    assert get(client, "/api/s/state")["state"] != state
    assert any(row["seed"] == 77 for row in get(client, "/api/s/runs")["rows"])


def test_a_page_learns_that_a_study_is_under_way_and_ends(tmp_path: Path) -> None:
    make_study(tmp_path / "demo", {"base": 0.1, "lora": 0.3})
    record_path(tmp_path / "demo", read_records(tmp_path / "demo")[-1].run_id).unlink()
    client = client_of(tmp_path / "demo")
    told = []
    for is_running in (False, True, False):
        with file_lock(tmp_path / "demo/.lock") if is_running else nullcontext():
            state = get(client, "/api/demo/state")["state"]
            assert get(client, "/api/demo/runs")["state"] == state
            told.append((state, any("under way" in note for note in get(client, "/api/demo/study")["notes"])))
    assert [under_way for _, under_way in told] == [False, True, False]
    assert told[0][0] == told[2][0] != told[1][0]


def test_a_study_whose_folder_is_gone_leaves_the_page_standing(tmp_path: Path) -> None:
    for name in ("stays", "goes"):
        make_study(tmp_path / name, {"base": 0.1, "lora": 0.3})
    client = client_of(tmp_path / "stays", tmp_path / "goes")
    (tmp_path / "goes").rename(tmp_path / "elsewhere")
    stays, goes = get(client, "/api/index")["studies"]
    assert (goes["key"], goes["name"], goes["note"]) == ("goes", "goes", f"the folder {tmp_path / 'goes'} is gone")
    assert "note" not in stays
    assert client.get("/").headers["content-type"].startswith("text/html")
    assert get(client, "/api/stays/runs")["rows"]
    assert client.get("/api/goes/state").status_code == 404


def test_broken_records_leave_the_page_with_the_others(tmp_path: Path) -> None:
    make_study(tmp_path / "s", SHARES)
    (tmp_path / "s/records/broken.json").write_text("{", "utf-8")
    client = client_of(tmp_path / "s")
    assert "broken.json" in get(client, "/api/s/runs")["notes"][0]
    assert any("broken.json" in str(part["lines"]) for part in get(client, "/api/s/study")["first"])


def test_a_study_without_a_verdict_says_why(tmp_path: Path) -> None:
    make_study(tmp_path / "s", {"lora": 0.4, "base": 0.1}, study={"seeds": [0]}, broken={"lora": "oom"})
    client = client_of(tmp_path / "s")
    assert get(client, "/api/s/runs")["rows"]
    answer = client.get("/api/s/study")
    assert answer.status_code == 404
    assert "none of its" in answer.json()["error"]["message"]


def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "<script>alert(1)<"
    make_study(folder, SHARES, study={"name": "s"})
    (folder / "study.json").unlink()  # so that it goes by the name of its folder
    client = client_of(folder)
    page = client.get("/").text
    assert page.count("<script") == 2
    assert "\\u003cscript>alert(1)\\u003c" in page
    key = get(client, "/api/index")["studies"][0]["key"]
    assert get(client, f"/api/{quote(key, safe='')}/runs")["name"] == folder.name


def test_a_link_from_elsewhere_opens_the_page_and_nothing_else(client: TestClient) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=headers).status_code == 200
    assert client.get("/api/index", headers=headers).status_code == 403
    assert client.get("/", headers={**headers, "origin": "http://evil.example"}).status_code == 403


def test_a_host_is_known_however_it_is_written(results: Path) -> None:
    client = client_of(results, host="MyBox")
    assert client.get("/api/index", headers={"host": "mybox:8765"}).status_code == 200
    assert client.get("/api/index", headers={"host": "MyBox:8765", "origin": "http://[::1"}).status_code == 403


def test_a_run_opens_while_the_study_is_judged(results: Path) -> None:
    study = studies_in([results / "tickets"])["tickets"]
    kept, judged = Kept(study), threading.Event()
    judging = threading.Thread(target=lambda: kept.get("study", lambda: {"done": judged.wait(20)}))
    judging.start()
    try:
        assert json.loads(kept.get("run/x", lambda: {"run": 1})) == {"run": 1}
        assert judging.is_alive()
    finally:
        judged.set()
        judging.join()


def test_limits_below_zero_are_amounts(client: TestClient) -> None:
    assert get(client, "/api/tickets/choose?forgetting=-0.03")["choice"] == "base"
