"""A plan is counted while the page waits, equals ``peftscope plan``, and nothing that is sent harms the machine."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

pytest.importorskip("starlette", reason="the extra web is not installed")

import uvicorn
from starlette.requests import Request as StarletteRequest
from starlette.testclient import TestClient

import peftscope as ps
from peftscope.errors import ModelError, PeftscopeError, SpecError
from peftscope.footprint.forecast import forecasts_as_counted
from peftscope.models.config_sizes import refuse_absurd
from peftscope.study.footprint_queries import Circumstances, about_methods
from peftscope.study.plan_document import plan_head, plan_row
from peftscope.study.plan_lines import plan_lines, sentence
from peftscope.study.plan_request import PlanRequest, read_plan_request
from peftscope.study.planned import PLANNED, planned_document
from peftscope.web.json_requests import parse
from peftscope.web.planning import Planner
from peftscope.web.server import app_of, free_port
from peftscope.web.studies import studies_in
from pretend_study import make_study
from small_configs import LLAMA, TRANSFORMER

DEEP: dict[str, Any] = {**LLAMA, "num_hidden_layers": 300}


@dataclass
class Served:
    """An explorer, in a thread of this process or as one of its own."""

    address: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def place(self) -> tuple[str, int]:
        parts = urlsplit(self.address)
        return str(parts.hostname), int(parts.port or 0)

    def post(self, asked: Any, timeout: float = 120, **headers: str) -> tuple[int, list[dict[str, Any]]]:
        """Status and lines of an answer."""
        connection, answer = self.opened(asked, timeout, **headers)
        with closing(connection):
            return answer.status, [json.loads(line) for line in answer.read().splitlines()]

    def opened(self, asked: Any, timeout: float = 120, **headers: str) -> tuple[Any, http.client.HTTPResponse]:
        """A connection on which an answer has begun."""
        connection = http.client.HTTPConnection(*self.place, timeout=timeout)
        own = {"origin": self.address.rstrip("/"), "content-type": "application/json", "sec-fetch-site": "same-origin"}
        body = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
        connection.request("POST", "/api/plan", body, {**own, **headers})
        return connection, connection.getresponse()

    def tree(self) -> list[psutil.Process]:
        """Processes that it has started, and those that they have."""
        return psutil.Process(self.process.pid if self.process else None).children(recursive=True)


def started(folder: Path) -> Served:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "peftscope", "explore", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.readline().decode()
    assert "http://" in said, said
    return Served(f"http://127.0.0.1:{port}/", process)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    make_study(folder / "s", {"base": 0.1, "lora": 0.3})
    return folder / "s"


@pytest.fixture(scope="module")
def served(study: Path) -> Iterator[Served]:
    app, port = app_of(studies_in([study])), free_port("127.0.0.1", 9300, tries=200)
    app.state.planner.workers = 1
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield Served(f"http://127.0.0.1:{port}/")
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def client(study: Path) -> TestClient:
    return TestClient(app_of(studies_in([study])), base_url="http://127.0.0.1:8765")


OWN = {"origin": "http://127.0.0.1:8765", "content-type": "application/json"}


def refusal(client: TestClient, body: bytes | Mapping[str, Any], status: int = 400, **headers: str) -> str:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post("/api/plan", content=content, headers={**OWN, **headers})
    assert answer.status_code == status, answer.text
    return str(answer.json()["error"]["message"])


def gone(processes: list[psutil.Process], seconds: float = 15) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def rows_of(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    assert "about" in lines[0], lines[0]
    assert lines[-1] == {"done": True}
    return {line["row"]["method"]: line["row"] for line in lines[1:-1]}


def compared(rows: Mapping[str, dict[str, Any]], said: Mapping[str, Any]) -> None:
    """Rows of a page against the document of ``plan --json``."""
    assert set(rows) == {entry["name"] for entry in said["methods"]}
    for entry in said["methods"]:
        row = rows[entry["name"]]
        assert row["peak"] == max(entry["peak_train_bytes"], entry["peak_eval_bytes"])
        assert sum(row["parts"]) == row["peak"]
        assert row["trainable"] == entry["trainable_params"]
        assert row["checkpoint_bytes"] == entry["checkpoint_bytes"]
        for name, there in (
            ("largest_batch", "largest_batch"),
            ("largest_seq_len", "largest_seq_len"),
            ("checkpointed", "peak_with_checkpointing_bytes"),
            ("nf4", "peak_with_nf4_bytes"),
        ):
            assert entry[there] in (None, row[name]), name


@pytest.mark.slow
def test_a_plan_has_the_figures_of_the_command_and_what_would_make_it_smaller(served: Served) -> None:
    asked = {"model": "builtin:nano-lm", "methods": ["lora", "ia3"], "memory": "100MB", "batch_size": 2}
    status, lines = served.post(asked)
    assert status == 200
    about, rows = lines[0]["about"], rows_of(lines)
    assert about["total"] == 2
    assert about["source"] == "builtin:nano-lm"
    assert about["parts"][0] == {"name": "weights", "label": "weights of the base"}
    found = ps.predict_memory("builtin:nano-lm", ["lora", "ia3"], max_memory="100MB", batch_size=2, quiet=True)
    compared(rows, found.document())
    assert all(row["checkpointed"] < row["peak"] for row in rows.values())
    assert all(row["nf4"] is not None and row["both"] is not None for row in rows.values())


@pytest.mark.slow
def test_an_uploaded_config_is_planned_as_the_same_file_is_and_asking_again_takes_no_time(
    served: Served, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA))
    asked = {"config": LLAMA, "methods": ["lora", "oft"], "seq_len": 64}
    status, lines = served.post(asked)
    assert status == 200
    compared(rows_of(lines), ps.predict_memory(str(path), ["lora", "oft"], seq_len=64, quiet=True).document())
    started_at = time.monotonic()
    assert served.post(asked) == (status, lines)
    assert time.monotonic() - started_at < 1


def test_the_config_of_an_image_transformer_is_planned_as_the_same_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = list(plan_lines(PlanRequest(config=TRANSFORMER, methods=("lora", "oft"), seq_len=64), tmp_path))
    found = ps.predict_memory(str(tmp_path / "config.json"), ["lora", "oft"], seq_len=64, quiet=True)
    compared(rows_of(lines), found.document())
    assert str(tmp_path) not in json.dumps(lines)


def test_a_config_whose_code_is_known_here_is_counted_and_its_own_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = {"AutoConfig": "evil.py--configuration.Evil", "AutoModelForCausalLM": "evil/evil--modeling.Evil"}
    asked = PlanRequest(config={**LLAMA, "auto_map": own}, methods=("ia3",), seq_len=32)
    about, row, _ = plan_lines(asked, tmp_path)
    assert any("code of its own, which is not run" in note for note in about["about"]["notes"])
    assert row["row"]["peak"] > 0
    unknown = PlanRequest(config={**LLAMA, "model_type": "evil", "auto_map": own}, methods=("ia3",))
    with pytest.raises(PeftscopeError, match="its own code, which the config asks for, is not run"):
        list(plan_lines(unknown, tmp_path))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({**LLAMA, "hidden_size": 10**9}, "hidden_size is 1,000,000,000; models have"),
    ({**LLAMA, "num_hidden_layers": 10**6}, "num_hidden_layers is 1,000,000"),
    ({**LLAMA, "vocab_size": 10**12}, "vocab_size is"),
    ({**LLAMA, "vocab_size": -3}, "vocab_size is -3"),
    ({**LLAMA, "num_labels": 10**9}, "num_labels is"),
    ({**LLAMA, "hidden_size": 1e9}, "hidden_size is"),
    ({**LLAMA, "hidden_size": "64"}, "hidden_size"),
    ({**LLAMA, "num_attention_heads": 0}, "llama"),
    ({**LLAMA, "num_hidden_layers": [2]}, "num_hidden_layers"),
    ({**LLAMA, "rope_parameters": {"rope_type": "x" * 50}}, "can be built from this config"),
    ({**LLAMA, "model_type": "gemma3", "text_config": {"num_hidden_layers": 10**9}}, "num_hidden_layers is"),
    ({**LLAMA, "model_type": "gemma3", "vision_config": {"hidden_size": 10**10}}, "hidden_size is"),
    ({**LLAMA, "model_type": "mixtral", "num_local_experts": 9_000, "num_hidden_layers": 900}, "no model has so many"),
    ({**LLAMA, "model_type": "lama"}, "did you mean 'llama'"),
    ({**LLAMA, "model_type": ["llama"]}, "no model_type"),
    ({"hidden_size": 4}, "no model_type"),
    ({"peft_type": "LORA", "base_model_name_or_path": "a/b"}, "config of a PEFT adapter"),
    ({"_class_name": "Flux2KleinPipeline", "transformer": ["diffusers", "x"]}, "give its transformer's config.json"),
    ({"_class_name": "UNet2DConditionModel", "sample_size": 64}, "a diffusers config (UNet2DConditionModel)"),
    ({**TRANSFORMER, "num_layers": 10**6}, "num_layers is 1,000,000"),
    ({**TRANSFORMER, "num_layers": "5"}, "can be built from this config"),
    ({**LLAMA, "quantization_config": "nf4"}, "quantization_config: a mapping is wanted"),
    ({**LLAMA, "quantization_config": {"quant_method": "gptq", "bits": "four"}}, "quantization_config: the sizes"),
    ({**LLAMA, "quantization_config": {"quant_method": "fp8", "ignore": 7}}, "ignore: a list of names is wanted"),
    (
        {**LLAMA, "quantization_config": {"quant_method": "fp8", "ignore": ["re:(.+)+!", "re:("]}},
        "is no pattern to look for",
    ),
    ({**LLAMA, "attn_implementation": "evil/kernel"}, "asks for code from the hub (evil/kernel); it is not run here"),
    ({**LLAMA, "architectures": ["BertForMaskedLM"]}, "is not a causal language model"),
    ({**LLAMA, "architectures": 5}, "architectures is no list of names"),
]


@pytest.mark.parametrize(
    ("config", "message"), REFUSED, ids=[f"{n}-{said[:30]}" for n, (_, said) in enumerate(REFUSED)]
)
def test_configs_that_would_take_all_memory_or_for_ever_are_refused_in_a_sentence(
    config: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = PlanRequest(config=config, methods=("lora",), seq_len=64)
    started_at, before = time.monotonic(), psutil.Process().memory_info().rss
    with pytest.raises(PeftscopeError) as raised:
        list(plan_lines(asked, tmp_path))
    told = sentence(raised.value, asked)
    assert message in told
    assert str(tmp_path) not in told
    assert time.monotonic() - started_at < 5
    assert psutil.Process().memory_info().rss - before < 100 * 2**20


def test_an_uploaded_config_is_called_what_its_file_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine (1).json", "../../evil.json"):
        asked = read_plan_request({"config": LLAMA, "config_name": name, "methods": ["ia3"], "seq_len": 16})
        assert next(plan_lines(asked, tmp_path))["about"]["source"] == f"an uploaded {name}"
        wrong = PlanRequest(**{**asked.document(), "config": {**LLAMA, "vocab_size": -3}})
        with pytest.raises(PeftscopeError) as raised:
            next(plan_lines(wrong, tmp_path))
        assert sentence(raised.value, wrong) == f"{name!r}: vocab_size is -3; models have from 0 to 100,000,000"
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.slow
def test_a_refusal_of_who_counts_comes_as_a_line(served: Served) -> None:
    status, lines = served.post({"config": {**LLAMA, "num_hidden_layers": 10**6}})
    assert (status, len(lines)) == (200, 1)
    assert "num_hidden_layers is 1,000,000; models have from 0 to 2,000" in lines[0]["error"]["message"]


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd", "./config.json", "../secret", "~/model", "a/b/c", "C:\\model", "model.gguf", "config.json",
        "org/config.json", "a/..", "..", "", " ", "a\x00b", "a" * 500, "-x/y", "builtin:../x", "builtin:nope",
    ],
)  # fmt: skip
def test_files_of_the_machine_cannot_be_named(name: str, client: TestClient) -> None:
    said = refusal(client, {"model": name})
    assert "upload its config.json instead" in said or "a text of 1 to" in said or "built-in" in said


@pytest.mark.slow
def test_a_folder_of_the_servers_is_not_looked_for(served: Served) -> None:
    """What is no path is a name on the hub, whether or not there is a folder of that name where the server runs."""
    assert Path("src").is_dir()
    _, [line] = served.post({"model": "src"})
    assert "hub" in line["error"]["message"]
    assert "No file or folder" not in line["error"]["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"model": "\\ud800"}', "not JSON"),
        (b"[" * 100_000, "nested more than"),
        (b'{"a":' * 50_000, "nested more than"),
        (b'{"batch_size": NaN}', "NaN is no number"),
        (b'{"batch_size": Infinity}', "Infinity is no number"),
        (b'{"batch_size": 1e999}', "larger than can be counted with"),
        (b'{"batch_size": ' + b"9" * 10_000 + b"}", "a number of 10,000 digits"),
        (b'{"model": "a", "model": "b"}', "given twice"),
        (b'{"config": {"a": {"b": 1, "b": 2}}}', "given twice"),
        (b"[]", "a mapping is wanted"),
        (b"7", "a mapping is wanted"),
        ({}, "give either a model"),
        ({"model": "a", "config": {}}, "give either a model"),
        ({"model": 7}, "a text of 1 to"),
        ({"config": []}, "is a mapping, not a list"),
        ({"config": "{}"}, "is a mapping, not a str"),
        ({"model": "a", "batch_size": 0}, "a whole number from 1"),
        ({"model": "a", "batch_size": True}, "a whole number from 1"),
        ({"model": "a", "seq_len": 10**9}, "a whole number from 2"),
        ({"model": "a", "seq_len": 5.5}, "a whole number from 2"),
        ({"model": "a", "checkpointing": "yes"}, "true or false"),
        ({"model": "a", "memory": "much"}, "no card that is known"),
        ({"model": "a", "methods": ["lora", "lorra"]}, "did you mean 'lora'"),
        ({"model": "a", "methods": "lora"}, "a list of names"),
        ({"config": {}, "config_name": "x" * 300}, "a text of 1 to"),
        ({"model": "a", "modle": 1}, "did you mean 'model'"),
    ],
)
def test_what_is_no_request_is_refused_in_a_sentence(
    body: bytes | dict[str, Any], message: str, client: TestClient
) -> None:
    started_at = time.monotonic()
    assert message in refusal(client, body)
    assert time.monotonic() - started_at < 2


@pytest.mark.parametrize(("name", "given"), [("dtype", "int3"), ("quantization", "q9")])
def test_settings_that_nobody_knows_are_refused_before_counting(name: str, given: str, tmp_path: Path) -> None:
    with pytest.raises(PeftscopeError, match=f"unknown {name} {given!r}"):
        next(plan_lines(PlanRequest(config=LLAMA, **{name: given}), tmp_path))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": ""}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"host": "evil.example:8765"}, 403),
        ({"content-type": "text/plain"}, 400),
        ({"content-type": "application/x-www-form-urlencoded"}, 400),
        ({"content-type": "multipart/form-data; boundary=x"}, 400),
        ({"content-type": ""}, 400),
    ],
)
def test_another_page_cannot_make_the_machine_count(headers: dict[str, str], status: int, client: TestClient) -> None:
    body = json.dumps({"model": "builtin:nano-lm"})
    assert client.post("/api/plan", content=body, headers={**OWN, **headers}).status_code == status


def test_a_request_without_an_origin_is_refused(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    assert client.post("/api/plan", content="{}", headers=headers).status_code == 403


def test_a_text_that_never_ends_is_read_in_no_time() -> None:
    began = time.perf_counter()
    with pytest.raises(SpecError, match="not JSON that can be read"):
        parse(('{"a": "' + '\\"' * 490_000).encode())
    assert time.perf_counter() - began < 2


def test_many_settings_are_one_problem() -> None:
    with pytest.raises(SpecError) as refused:
        read_plan_request({f"setting{i}": i for i in range(5000)})
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("kernel", ["org/kernel", {"": "org/kernel"}, {"text_config": ["eager", "org/kernel"]}])
def test_a_kernel_from_the_hub_is_refused_however_it_is_asked_for(kernel: Any) -> None:
    with pytest.raises(ModelError, match="asks for code from the hub"):
        refuse_absurd("x", {"text_config": {"_attn_implementation": kernel}})


def test_one_process_is_started_ahead_and_only_for_who_may_count(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    class Slow:
        is_alive = True

        @classmethod
        async def start(cls, workers: int) -> Slow:
            started.append(workers)
            await asyncio.sleep(0.05)
            return cls()

        def kill(self) -> None:
            pass

        async def end(self) -> None:
            pass

    monkeypatch.setattr("peftscope.web.planning.CountingProcess", Slow)

    async def ask() -> None:
        planner = Planner()
        async with planner.lifespan(None):
            request = StarletteRequest({"type": "http", "headers": []})
            await planner.models(request)  # which the shop asks for, too
            assert not started
            await asyncio.gather(*(planner.start_ahead(request) for _ in range(5)))

    asyncio.run(ask())
    assert len(started) == 1


def test_nothing_but_plans_takes_more_than_get(client: TestClient) -> None:
    for path in ("/api/plan/models", "/api/plan/", "/api/index", "/api/plan/x", "//api/plan"):
        assert client.post(path, content="{}", headers=OWN).status_code == 403
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert client.request(method, "/api/plan", headers=OWN).status_code == 403
    assert client.get("/api/plan").status_code == 405


def sent(place: tuple[str, int], head: str, chunk: bytes, count: int) -> tuple[bytes, int]:
    """Answer to a request whose body is sent in chunks, and how many of them went out."""
    with closing(socket.create_connection(place, timeout=30)) as connection:
        connection.sendall(head.encode())
        num_sent = 0
        with suppress(ConnectionError, TimeoutError):
            while num_sent < count:
                connection.sendall(chunk)
                num_sent += 1
        answer = b""
        with suppress(ConnectionError):
            while more := connection.recv(65_536):
                answer += more
        return answer, num_sent


@pytest.mark.slow
@pytest.mark.parametrize("declared", [True, False])
def test_a_large_upload_is_refused_after_a_megabyte_and_takes_no_memory(served: Served, declared: bool) -> None:
    size, count = 2**20, 200
    chunk = b"x" * size if declared else f"{size:x}\r\n".encode() + b"x" * size + b"\r\n"
    how = f"content-length: {size * count}" if declared else "transfer-encoding: chunked"
    own = f"host: {urlsplit(served.address).netloc}\r\norigin: {served.address.rstrip('/')}"
    head = f"POST /api/plan HTTP/1.1\r\n{own}\r\ncontent-type: application/json\r\n{how}\r\n\r\n"
    memory = psutil.Process().memory_info
    before = memory().rss
    answer, num_sent = sent(served.place, head, chunk, count)
    assert b"413" in answer.split(b"\r\n")[0]
    assert b"larger than 1 MB" in answer
    assert num_sent < count / 2, "the connection is closed, the rest is not read"
    assert memory().rss - before < 20 * 2**20


@pytest.mark.slow
def test_a_client_that_goes_ends_the_processes_that_count(served: Served) -> None:
    before = set(served.tree())
    connection, answer = served.opened({"config": DEEP, "methods": "all"})
    assert b"about" in answer.readline()
    counting = [process for process in served.tree() if process not in before]
    folders = {process.cwd() for process in counting if "planning_process" in " ".join(process.cmdline())}
    assert folders
    answer.close()
    connection.close()
    assert gone(counting)
    assert not any(Path(folder).exists() for folder in folders)
    assert served.post({"config": LLAMA, "methods": ["ia3"], "seq_len": 16})[0] == 200


@pytest.mark.slow
def test_a_third_plan_is_told_to_come_back(served: Served) -> None:
    opened = [served.opened({"config": {**DEEP, "vocab_size": 600 + n}, "methods": "all"}) for n in range(2)]
    try:
        _, [line] = served.post({"config": LLAMA, "methods": ["oft"]})
        assert "2 plans are being counted here" in line["error"]["message"]
    finally:
        for connection, answer in opened:
            answer.close()
            connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_end_of_the_server_ends_what_counts_and_what_was_started_ahead(study: Path, how: signal.Signals) -> None:
    server = started(study)
    assert server.process is not None
    connection, answer = server.opened({"config": DEEP, "methods": "all"})
    try:
        assert b"about" in answer.readline()
        assert urllib.request.urlopen(server.address + "api/plan/ahead").status == 204
        folders: set[str] = set()
        began = time.monotonic()
        while len(folders) < 2 and time.monotonic() - began < 20:  # a process has its parent's name until it begins
            counting = server.tree()
            with suppress(psutil.Error):
                folders = {each.cwd() for each in counting if "planning_process" in " ".join(each.cmdline())}
        assert len(folders) == 2
        server.process.send_signal(how)
        server.process.wait(15)
        assert gone(counting, 30)
        assert not any(Path(folder).exists() for folder in folders)
    finally:
        connection.close()
        server.process.kill()
        server.process.wait()


def test_a_plan_that_takes_too_long_is_ended(study: Path) -> None:
    app = app_of(studies_in([study]))
    app.state.planner.time_limit_s = 0.5
    client = TestClient(app, base_url="http://127.0.0.1:8765")
    answer = client.post("/api/plan", content=json.dumps({"config": LLAMA}), headers=OWN)
    assert "minutes and was ended" in json.loads(answer.text.splitlines()[-1])["error"]["message"]


@pytest.mark.slow
def test_a_process_that_counts_may_take_no_more_memory_than_it_is_given() -> None:
    code = "from peftscope.web.planning_process import limit_resources; limit_resources(); bytearray(8 * 2**30)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MemoryError" in done.stderr


def test_the_page_lists_models_that_are_known_and_cards_to_hold_them_against(client: TestClient) -> None:
    document = client.get("/api/plan/models").json()
    assert [gpu["bytes"] for gpu in document["gpus"]] == sorted(gpu["bytes"] for gpu in document["gpus"])
    labels = {gpu["label"] for gpu in document["gpus"]}
    assert {"RTX 4090, 24 GiB (25.8 GB)", "T4, 16 GiB (17.2 GB)", "H200, 141 GiB (151.4 GB)"} <= labels
    assert document["models"]
    for model in document["models"]:
        plan = client.get(f"/api/plan/{model['key']}").json()
        assert plan["title"] == model["title"]
        for row in plan["rows"]:
            assert row["peak"] is None or sum(row["parts"]) == row["peak"], (model["key"], row["method"])
            assert (row["peak"] is None) == (row["reason"] is not None)


def test_an_unknown_plan_is_refused_with_the_nearest(client: TestClient) -> None:
    answer = client.get("/api/plan/llama-3.2-1")
    assert answer.status_code == 404
    assert "did you mean 'llama-3.2-1b'" in answer.json()["error"]["message"]


def test_a_study_called_plan_has_another_address(tmp_path: Path) -> None:
    make_study(tmp_path / "plan", {"base": 0.1, "lora": 0.3})
    assert list(studies_in([tmp_path / "plan"])) == ["plan-2"]


def test_the_tables_that_come_along_are_what_is_counted() -> None:
    document = planned_document("smollm2-135m")
    names = ("lora", "ia3")
    queries = about_methods(names, Circumstances(model="builtin:smollm2-135m"))
    counted = forecasts_as_counted(queries, alternatives="all")
    shipped = {row["method"]: row for row in document["rows"]}
    for number, forecast in counted:
        assert plan_row(forecast) == shipped[names[number]], "count them anew: python scripts/planned_models.py"
    assert plan_head(queries[0], title=document["title"], source=document["source"])["lines"] == document["lines"]


def test_the_tables_that_come_along_are_small() -> None:
    assert PLANNED.stat().st_size < 150_000
    made = json.loads(gzip.decompress(PLANNED.read_bytes()))["made"]
    assert {"peftscope", "peft", "transformers", "torch"} <= made.keys()
