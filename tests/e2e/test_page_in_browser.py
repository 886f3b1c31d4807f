"""The page in a real browser: it draws, plays, turns, and speaks to nobody."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palmist.view import write_page

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install 'palmist[e2e]'")
image_module = pytest.importorskip("PIL.Image", reason="pillow is missing: it reads the screenshots")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: apt-get install chromium"),
]
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">"


def two_hands(frames: int, start: float = 0.0) -> np.ndarray:
    """(T, 2, 21, 3) metres, y up: open hands that wave about their wrists."""
    joints = np.zeros((frames, 2, 21, 3))
    swing = 0.5 * np.sin(start + 0.4 * np.arange(frames))
    for finger in range(5):
        for step in range(4):
            reach = 0.05 + 0.025 * (step + 1)
            angle = swing + 0.2 * (finger - 2)
            point = np.stack([reach * np.sin(angle), reach * np.cos(angle), 0.01 * step * np.cos(swing)], axis=-1)
            joints[:, :, 1 + 4 * finger + step] = point[:, None]
    joints[:, 0, :, 0] -= 0.12
    joints[:, 1, :, 0] += 0.12
    return joints


def reading(name: str, **changes: Any) -> dict[str, Any]:
    seen = np.arange(16) / 30
    later = seen[-1] + (np.arange(12) + 1) / 30
    noise = np.random.default_rng(1).normal(scale=0.004, size=(16, 2, 21, 3))
    futures = np.stack([two_hands(12, 6.0 + 0.25 * k) + np.array([0.0, 0.01 * k, 0.015 * k]) for k in range(5)])
    rise = np.linspace(0.2, 0.9, 16)
    return {
        "name": name,
        "space": "metric",
        "frame": "device",
        "true_label": "wave",
        "observed": {"time": seen, "joints": two_hands(16) + noise},
        "refined": {"time": seen, "joints": two_hands(16)},
        "futures": {"time": later, "joints": futures, "most_likely": 2},
        "truth_future": {"time": later, "joints": two_hands(12, 6.4)},
        "actions": {"labels": ["wave", "rest"], "time": seen, "probabilities": np.stack([rise, 1 - rise], axis=1)},
        "model": "a model",
        **changes,
    }


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    one_hand = reading("right hand only")
    one_hand["observed"]["valid"] = np.tile([False, True], (16, 1))
    one_hand["refined"]["valid"] = one_hand["observed"]["valid"]
    bare = {"name": "observed only", "observed": {"time": [0.0, 0.1, 0.2], "joints": two_hands(3)}, "y_axis": "up"}
    readings = [reading(HOSTILE), one_hand, bare]
    return write_page(readings, tmp_path_factory.mktemp("page") / "page.html", title=HOSTILE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any, page_file: Path) -> Iterator[Callable[..., Any]]:
    """Opens the page; afterwards checks that it asked for nothing and complained of nothing."""
    contexts, asked, said = [], [], []

    def opener(width: int = 900, height: int = 640, motion: str = "reduce") -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion=motion)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(page_file.as_uri())
        wait_until(page, "window.palmist && window.palmist.ready")
        return page

    yield opener
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [page_file.as_uri()] * len(contexts)
    assert said == []


def wait_until(page: Any, condition: str, seconds: float = 60.0) -> None:
    """Ask again and again; the page's own policy forbids the evaluation that `wait_for_function` needs."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"still not true after {seconds} s: {condition}"
        page.wait_for_timeout(50)


def pixels(page: Any) -> np.ndarray:
    """The canvas as it is seen, (height, width, 3)."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return np.asarray(image_module.open(io.BytesIO(page.locator("#canvas").screenshot())).convert("RGB")).astype(int)


def changed(before: np.ndarray, after: np.ndarray) -> int:
    """How many pixels differ visibly."""
    return int((np.abs(before - after).max(axis=-1) > 24).sum())


def test_the_hands_are_drawn(open_page: Callable[..., Any]) -> None:
    page = open_page()
    assert page.evaluate("palmist.error") is None
    assert page.evaluate("palmist.counts") == {
        "raw": 2, "refined": 2, "futures": 0, "most_likely": 0, "truth": 0, "body": 0,
    }  # fmt: skip
    shown = pixels(page)
    page.evaluate("palmist.setLayer('refined', false), palmist.setLayer('raw', false)")
    assert changed(shown, pixels(page)) > 2000


def test_a_still_page_stays_still(open_page: Callable[..., Any]) -> None:
    page = open_page()
    assert changed(pixels(page), pixels(page)) == 0  # else the other tests would prove nothing
    assert page.evaluate("[palmist.playing, palmist.frame]") == [False, 0]  # reduced motion: nothing starts by itself


def test_it_plays_by_itself_and_by_key(open_page: Callable[..., Any]) -> None:
    moving = open_page(motion="no-preference")
    wait_until(moving, "palmist.playing && palmist.frame > 2")
    page = open_page()
    page.keyboard.press(" ")
    wait_until(page, "palmist.frame > 2")
    page.keyboard.press(" ")
    stopped = page.evaluate("palmist.frame")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("[palmist.playing, palmist.frame]") == [False, min(stopped + 1, 27)]
    page.keyboard.press("Home")
    assert page.evaluate("palmist.frame") == 0


def test_dragging_turns_the_view(open_page: Callable[..., Any]) -> None:
    page = open_page()
    before = pixels(page)
    box = page.locator("#canvas").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 150, middle[1] + 30, steps=4)
    page.mouse.up()
    turned = pixels(page)
    assert changed(before, turned) > 2000
    page.mouse.move(box["x"] + box["width"] + 50, middle[1])
    page.evaluate("document.activeElement.blur()")  # its focus ring is no part of the view
    page.keyboard.press("0")
    assert changed(before, pixels(page)) == 0


def test_the_future_shows_its_layers(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.evaluate("palmist.seek(palmist.boundary + 0.25)")
    assert page.evaluate("palmist.counts") == {
        "raw": 0, "refined": 0, "futures": 4, "most_likely": 2, "truth": 2, "body": 0,
    }  # fmt: skip
    for layer, least in (("futures", 500), ("most_likely", 1500), ("truth", 100)):
        shown = pixels(page)
        page.locator(f"#layer-{layer}").uncheck()
        assert page.evaluate(f"palmist.counts.{layer}") == 0
        assert changed(shown, pixels(page)) > least, layer
        page.locator(f"#layer-{layer}").check()
        assert changed(shown, pixels(page)) == 0, layer


def test_missing_hands_are_hidden(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.evaluate("palmist.select(1)")
    assert page.evaluate("palmist.counts.refined") == 1
    page.evaluate("palmist.seek(palmist.end)")
    assert page.evaluate("[palmist.counts.most_likely, palmist.counts.truth]") == [1, 2]


def test_a_recording_with_nothing_read_is_still_shown(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.locator("#tabs button").nth(2).click()
    assert page.evaluate("[palmist.reading, palmist.frames, palmist.counts.raw, palmist.counts.refined]") == [
        2,
        3,
        2,
        0,
    ]
    page.locator("#layer-raw").uncheck()
    assert page.evaluate("palmist.counts.raw") == 0
    assert page.locator("#layer-futures").is_disabled()
    assert not page.locator("#chart-block").is_visible()


def test_the_chart_follows_the_time(open_page: Callable[..., Any]) -> None:
    page = open_page()
    assert page.locator("#chart .series").count() == 2
    assert "wave 90 %" in page.locator("#chart svg").get_attribute("aria-label")
    assert page.locator("#truth").inner_text() == "✓ true: wave"

    def cursor() -> tuple[float, str]:
        return float(page.locator("#chart .cursor").get_attribute("x1")), page.locator(".bar-share").first.inner_text()

    first = cursor()
    page.evaluate("palmist.seek(palmist.boundary)")
    last = cursor()
    assert last[0] > first[0] + 50
    assert (first[1], last[1]) == ("20 %", "90 %")
    box = page.locator("#chart svg").bounding_box()
    page.mouse.click(box["x"] + (first[0] + last[0]) / 2, box["y"] + 60)
    assert 0 < page.evaluate("palmist.time") < page.evaluate("palmist.boundary")


def test_user_text_cannot_become_markup(open_page: Callable[..., Any]) -> None:
    page = open_page()
    assert page.title() == HOSTILE
    assert page.locator("#title").inner_text() == HOSTILE
    assert page.locator(".tab-name").first.inner_text() == HOSTILE
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("width", [1280, 360])
def test_it_fits_wide_and_narrow_screens(open_page: Callable[..., Any], width: int) -> None:
    page = open_page(width=width, height=800)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for part in ("#canvas", "#play", "#scrub", "#predicted"):
        page.locator(part).scroll_into_view_if_needed()
        assert page.locator(part).is_visible(), part


def test_every_control_has_a_name(open_page: Callable[..., Any]) -> None:
    page = open_page()
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, input, select")].filter((control) =>
          !(control.getAttribute("aria-label") || control.innerText || control.closest("label")?.innerText).trim())
          .map((control) => control.id)"""
    )
    assert nameless == []


def test_the_video_follows_the_moment_and_ends_with_the_observation(browser: Any, tmp_path: Path) -> None:
    from palmist.perception.video import write_video

    images = [np.full((48, 64, 3), 40 + 10 * number, np.uint8) for number in range(16)]
    clip = write_video(tmp_path / "clip.mp4", images, rate=30.0)
    readings = [reading("filmed"), reading("not filmed")]
    file = write_page(readings, tmp_path / "page.html", videos={"filmed": clip})
    page = browser.new_page()
    page.goto(file.as_uri())
    page.wait_for_function("window.palmist?.ready")
    page.evaluate("window.palmist.pause()")
    assert page.locator("#video").is_visible()
    page.evaluate("window.palmist.seek(0.3)")
    page.wait_for_function("Math.abs(document.getElementById('video').currentTime - 0.3) < 0.02")
    page.evaluate("window.palmist.seek(window.palmist.end)")
    page.wait_for_function("Math.abs(document.getElementById('video').currentTime - window.palmist.boundary) < 0.02")
    assert page.evaluate("document.getElementById('video').videoWidth") == 64
    page.evaluate("window.palmist.select(1)")
    assert not page.locator("#video").is_visible()
    page.close()
