"""No path of this machine leaves it, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from peftscope.store.local_paths import public_source, without_local_paths


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/me/data/rows.csv", "rows.csv"),
        (r"C:\Users\Jane Doe\data\x.csv", "x.csv"),
        (r"\\server\share\me\x", "x"),
        ("file:///home/me/x/y.csv", "y.csv"),
        ("'/home/jane doe/secret/x.csv' is missing", "'x.csv' is missing"),
        ("/home/me/a.csv: no such file (looked for /home/me/b.csv)", "a.csv: no such file (looked for b.csv)"),
        ("error:/home/me/x/y", "error:y"),
        ('  File "/opt/app/lib/x.py", line 3, in f', '  File "x.py", line 3, in f'),
    ],
)
def test_of_a_path_the_last_part_stays(text: str, left: str) -> None:
    assert without_local_paths(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "see https://example.org/a/b", "results/demo", "and/or", "km/h and /n", "</td></tr>", "1/2/3", r"\frac{a}{b}",
        "/no_think {question}", "org/model", "a: b/c/d",
    ],
)  # fmt: skip
def test_what_is_no_path_stays(text: str) -> None:
    assert without_local_paths(text) == text


def test_texts_of_the_user_stay_and_names_are_cleaned_too() -> None:
    value = {"pattern": r"A:\s*/x/y/z", "prompt": "/a/b/{text}", "/home/me/x.py": [("/home/me/y.py", 1)]}
    assert without_local_paths(value) == {"pattern": r"A:\s*/x/y/z", "prompt": "/a/b/{text}", "x.py": [["y.py", 1]]}


def test_a_model_in_the_hubs_cache_is_called_by_its_id() -> None:
    place = "/root/.cache/huggingface/hub/models--{}/snapshots/abc123"
    assert public_source(place.format("org--model")) == "org/model"
    assert public_source(place.format("gpt2")) == "gpt2"
