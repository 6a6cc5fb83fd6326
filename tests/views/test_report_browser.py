"""The page's script, in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from peftscope.views.report.content import ReportContent
from peftscope.views.report.data import report_data
from peftscope.views.report.page import page
from peftscope.views.report.plots import plots_of
from views.report_study import a_study, many_singles

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

LISTEN = """<script>
const problems = [];
addEventListener("error", (event) => problems.push(event.message));
addEventListener("unhandledrejection", (event) => problems.push(String(event.reason)));
document.addEventListener("securitypolicyviolation", (event) => problems.push(event.blockedURI));
console.error = (...words) => problems.push(words.join(" "));
</script>"""

PROBE = """<pre id="probe"></pre><script>
addEventListener("load", async () => {
  const rest = () => new Promise((done) => setTimeout(done, 400));
  const front = document.getElementById("figure-front"), found = {};
  const look = () => ({
    drawn: front.dataset.drawn, title: front._fullLayout.xaxis.title.text, traces: front.data.length,
    labels: front._fullLayout.annotations.length, caption: document.getElementById("front-caption").textContent,
    members: [...document.querySelectorAll("#front-table tbody th")].map((cell) => cell.textContent),
  });
  const choose = async (id, value) => {
    const select = document.getElementById(id);
    select.value = value;
    select.dispatchEvent(new Event("change"));
    await rest();
  };
  try {
    await rest();
    found.first = look();
    await choose("front-x", "num_trainable_params");
    found.second = look();
    await choose("front-y", "num_trainable_params");
    found.swapped = look();
    dispatchEvent(new Event("beforeprint"));
    await rest();
    found.plots = [...document.querySelectorAll(".plot")].map((place) => Boolean(place._fullLayout));
    dispatchEvent(new Event("afterprint"));
    await rest();
    const button = document.querySelector(".legend[data-for=figure-training] button");
    const visible = () => document.getElementById("figure-training").data.filter((t) => t.visible !== false).length;
    found.before = visible();
    button.click();
    await rest();
    found.after = visible();
    const costs = document.getElementById("cost-table");
    const first = () => [...costs.tBodies[0].rows].map((row) => row.cells[0].textContent);
    costs.querySelectorAll("thead button")[2].click();
    found.rising = first();
    costs.querySelectorAll("thead button")[2].click();
    found.falling = first();
    const cell = document.querySelector("#matrix tbody td");
    if (cell) {
      cell.focus();
      cell.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
      found.told = document.getElementById("pair-text").textContent;
    }
  } catch (error) { problems.push(String(error.stack)); }
  document.getElementById("probe").textContent = JSON.stringify({ ...found, problems });
});
</script>"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser here ({', '.join(BROWSERS)}): the page's script is not tried; install chromium")
    return found


def looked_at(browser: str, content: ReportContent, folder: Path) -> dict[str, Any]:
    data = report_data(content)
    text = page(data, plots_of(data)).replace("<title>", LISTEN + "<title>", 1)  # Plotly's source has such words, too
    text = PROBE.join([text[: text.rindex("</body>")], text[text.rindex("</body>") :]])
    (folder / "report.html").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=20000", "--window-size=1200,900", "--dump-dom", (folder / "report.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    assert found[1], "the script did not come to its end"
    return dict(json.loads(html.unescape(found[1])))


def test_the_page_script_runs_without_errors_and_selections_redraw_figures(browser: str, tmp_path: Path) -> None:
    seen = looked_at(browser, a_study(), tmp_path)
    assert seen["problems"] == []
    first, second, swapped = seen["first"], seen["second"], seen["swapped"]
    assert first["drawn"] == "peak_train_memory_bytes|accuracy"
    assert first["title"] == "peak train memory (GB)"
    assert [name.strip("●■◆▲▼⬟✶✚★") for name in first["members"]] == ["ln-tuning", "lily"]
    assert second["drawn"] == "num_trainable_params|accuracy"
    assert second["title"] == "trainable params (millions)"
    assert second["traces"] == first["traces"] + 1  # the base has no memory of training, but parameters: none
    assert "Zero has no place" in second["caption"]
    assert swapped["drawn"] == "accuracy|num_trainable_params"  # a metric against itself: they change places
    assert first["labels"] > len(first["members"])
    assert all(seen["plots"])
    assert seen["before"] - seen["after"] in (1, 3)
    assert seen["rising"][0].endswith("ln-tuning")
    assert seen["falling"][0].endswith("dora")
    assert (
        {name[-4:] for name in seen["rising"][-2:]} == {name[-4:] for name in seen["falling"][-2:]} == {"base", "vera"}
    )
    assert seen["told"].startswith("lily against ln-tuning is undecided")


def test_the_page_script_handles_52_single_runs_and_hostile_names(browser: str, tmp_path: Path) -> None:
    assert looked_at(browser, many_singles(), tmp_path)["problems"] == []
    (tmp_path / "other").mkdir()
    hostile = a_study(labels={"lora": "</script><img src=x onerror=problems.push('broken')>%{x}", "oft": "__proto__"})
    seen = looked_at(browser, hostile, tmp_path / "other")
    assert seen["problems"] == []
