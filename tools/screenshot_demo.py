"""Take the README's picture: the demo page in a headless Chromium.

    python tools/screenshot_demo.py [PAGE] [PICTURE] [SECONDS] [RECORDING]

Defaults: out/palmist_demo.html, docs/images/demo.png, 0.95, 0.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

FLAGS = ["--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def main() -> None:
    page_file = Path(sys.argv[1] if len(sys.argv) > 1 else "out/palmist_demo.html").resolve()
    picture = Path(sys.argv[2] if len(sys.argv) > 2 else "docs/images/demo.png")
    moment = float(sys.argv[3]) if len(sys.argv) > 3 else 0.95
    number = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        raise SystemExit("no Chromium found on PATH; install one to take the picture")
    picture.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(page_file.as_uri())
        for _ in range(100):
            if page.evaluate("!!(window.palmist && window.palmist.ready)"):
                break
            time.sleep(0.1)
        page.evaluate(f"window.palmist.select({number})")
        page.evaluate("window.palmist.pause()")
        page.evaluate(f"window.palmist.seek({moment})")
        time.sleep(1.0)
        page.screenshot(path=str(picture))
        browser.close()
    print(picture)


if __name__ == "__main__":
    main()
