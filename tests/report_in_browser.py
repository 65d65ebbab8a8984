"""A report in headless Chromium, opened from disk: its DOM after the scripts, what it asked the network for, how it looks."""

import html
import json
import re
import shutil
import subprocess

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")

_QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")


def chromium(page, folder, *arguments):
    """Run once on a page from disk, without any name that resolves; returns stdout."""
    command = [
        CHROMIUM,
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *_QUIET),
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=10000",
        *arguments,
        page.resolve().as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, timeout=240, check=True)
    return done.stdout.decode()


def probed(page, folder, script):
    """DOM and the answers of a script that runs once the page is ready, and the URLs that the page asked the network for."""
    probe = (
        f"<script>addEventListener('load', async () => {{ const answers = {{}}; {script}\n"
        "document.documentElement.dataset.answers = JSON.stringify(answers); });</script></body>"
    )
    copy = folder / "probed.html"
    copy.write_text(page.read_text("utf-8").replace("</body>", probe), "utf-8")
    log = folder / "net.json"
    for _ in range(3):
        # on a busy machine the browser's virtual time may be over before a picture is decoded
        dom = chromium(copy, folder, f"--log-net-log={log}", "--dump-dom")
        found = re.search(r'data-answers="([^"]*)"', dom)
        if found:
            break
    return dom, json.loads(html.unescape(found[1])) if found else None, requests(log)


def requests(log):
    """URLs that a page caused to be loaded; the browser's own errands are known by having no origin."""
    events = json.loads(log.read_text("utf-8"))["events"]
    parts = [event.get("params", {}) for event in events]
    return {part["url"] for part in parts if "url" in part and part.get("initiator", "not an origin") != "not an origin"}
