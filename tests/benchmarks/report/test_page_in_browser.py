"""The report's page where it will be read: no script error, no request, nothing broken, on a desk and on a phone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from steadystyle.benchmarks.request import BenchmarkRequest
from steadystyle.benchmarks.run import benchmark
from steadystyle.tests.browser import Browser, need_chromium


def test_the_page_is_whole_and_asks_nobody(
    ask: Callable[..., BenchmarkRequest],
    any_size_artifact: Path,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_chromium()
    asked = ask(
        artifacts=[any_size_artifact],
        clips=[clip],
        size=(64, 48),
        height=48,
        threads=1,
        max_frames=3,
        latency_seconds=0,
        latency_frames=10,
        sizes=[(32, 24), (64, 48)],
        thread_counts=[1, 2],
    )
    benchmark(asked, out_dir=tmp_path)
    (tmp_path / "page").mkdir()
    alone = (tmp_path / "report.html").rename(tmp_path / "page" / "report.html")  # as it is sent to a colleague
    with Browser() as browser:
        for width, height in ((1280, 800), (390, 844)):
            page = browser.open(alone, width=width, height=height, touch=width < 500)
            page.wait_for("document.readyState === 'complete'")
            assert page.errors() == []
            assert page.requests_outside() == []
            pictures = "[...document.images]"
            assert page.evaluate(f"{pictures}.length") > 5
            assert (
                page.evaluate(f"{pictures}.filter(one => !(one.complete && one.naturalWidth && one.alt)).length") == 0
            )
            nowhere = "link => !document.getElementById(link.getAttribute('href').slice(1))"
            assert page.evaluate(f"[...document.querySelectorAll('nav a')].filter({nowhere}).length") == 0
            # What is wide scrolls in its own box; the page itself does not move sideways.
            assert page.evaluate("document.documentElement.scrollWidth") <= width
