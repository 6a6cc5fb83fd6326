"""Pictures of the page for README and documentation, of a study that lies under results.

python benchmarks/screenshots.py results/demo        writes docs/images/explore.png and choose.png; needs chromium
python benchmarks/screenshots.py --published         writes docs/images/releases.png, shop.png and plan.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from browser import Watched, launched, served

MOST_HIGH = 1000
"""Pixels of a picture of a part."""
IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, nargs="?")
    parser.add_argument("--published", action="store_true")
    given = parser.parse_args()
    if given.published:
        of_published()
    if given.study is not None:
        of_study(given.study)


def of_published() -> None:
    """What needs no study."""
    views = {
        "releases": ("releases", "#fronts figure"),
        "shop": ("shop?cart=lora,oft,miss&gpu=rtx-4090&can=merge,nf4&sort=best.text", None),
        "plan": ("plan?on=llama-3.2-3b&gpu=rtx-4090", "figure"),
    }
    with launched() as browser, served(published=True) as address:
        for name, (view, part) in views.items():
            watched = Watched(browser, home=address)
            watched.page.goto(f"{address}#/{view}")
            watched.page.locator("main svg").first.wait_for(timeout=120_000)
            watched.page.wait_for_timeout(1500)
            box = watched.page.locator(part).bounding_box() if part else None
            if box is None:
                watched.page.screenshot(path=IMAGES / f"{name}.png")
            else:
                box["height"] = min(box["height"], MOST_HIGH)
                watched.page.screenshot(path=IMAGES / f"{name}.png", full_page=True, clip=box)
            watched.close()


def of_study(study: Path) -> None:
    """The views of a study."""
    with launched() as browser, served(study) as address:
        explore = Watched(browser, home=address)
        explore.page.goto(f"{address}#/explore")
        explore.page.locator("#explore-table caption", has_text="Methods").wait_for(timeout=120_000)
        explore.page.screenshot(path=IMAGES / "explore.png", full_page=True)
        explore.close()
        choose = Watched(browser, theme="dark", home=address)
        choose.page.goto(f"{address}#/choose")
        slider = choose.page.get_by_role("slider", name="training memory")
        slider.wait_for(timeout=120_000)
        slider.focus()
        for _ in range(5):
            choose.page.keyboard.press("ArrowLeft")
        choose.page.locator("text=What each limit cost").wait_for()
        choose.page.wait_for_timeout(1500)
        choose.page.screenshot(path=IMAGES / "choose.png", full_page=True)
        choose.close()


if __name__ == "__main__":
    main()
