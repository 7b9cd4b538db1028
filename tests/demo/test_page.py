"""`kdvideo demo` as a whole, in a browser without a window."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kdvideo import cli
from kdvideo.data import synthetic

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240  # seconds
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    not (BROWSER and shutil.which("chromedriver")), reason="needs chromium and chromedriver"
)


@pytest.fixture(scope="module")
def address(weights: dict[str, str]) -> Iterator[str]:
    pytest.importorskip("gradio", reason='needs pip install "kdvideo[demo]"')
    command = [
        sys.executable,
        "-m",
        "kdvideo",
        "demo",
        weights["rgb"],
        weights["flow"],
        "--port",
        "0",
        "--deadline",
        "200",
    ]
    serving = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert serving.stdout is not None
    said = serving.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/", said)
    assert found, said
    yield found[0]
    serving.terminate()
    serving.wait(60)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1000"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_page_load_timeout(PATIENCE)
    yield driver
    driver.quit()


def wait_for(browser: Any, selector: str) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, PATIENCE).until(lambda b: b.find_elements("css selector", selector))


def drop(browser: Any, address: str, clip: Path, selector: str) -> str:
    browser.get(address)
    wait_for(browser, "#clip input[type=file]")[0].send_keys(str(clip))
    wait_for(browser, "#answer .kd-card img, #answer .kd-error")
    text: str = browser.find_element("css selector", "#answer").text
    assert browser.find_elements("css selector", f"#answer {selector}"), text
    return text


@needs_browser
def test_a_dropped_clip_is_answered_by_all_networks(address: str, browser: Any, tmp_path: Path) -> None:
    """Fails when a network, a class, a time or a picture is missing, or a class name is run as code."""
    clip = tmp_path / "a.mp4"
    clip.write_bytes(synthetic.encode(synthetic.render("spin", seed=1, size=48)))
    text = drop(browser, address, clip, ".kd-card img")
    assert "rgb sees RGB" in text
    assert "flow sees optical flow" in text
    assert text.count("<img src=x onerror=alert(1)>") >= 2  # as a text
    assert len(re.findall(r"\d+ ms", text)) == 4
    sizes = browser.execute_script("return [...document.querySelectorAll('#answer img')].map(i => i.naturalWidth)")
    assert len(sizes) == 4
    assert min(sizes) > 200


@needs_browser
def test_a_sample_is_answered_on_a_phone(address: str, browser: Any) -> None:
    """Fails when a card is wider than the screen."""
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get(address)
        wait_for(browser, "button.sample")[0].click()
        wait_for(browser, "#answer .kd-card")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@needs_browser
def test_a_file_that_is_no_clip_is_answered_in_our_words(address: str, browser: Any, tmp_path: Path) -> None:
    """Fails when the page is silent about it, or shows a traceback."""
    clip = tmp_path / "notes.mp4"
    clip.write_text("not a video")
    text = drop(browser, address, clip, ".kd-error")
    assert text.startswith("notes.mp4: ")
    assert str(tmp_path) not in text


@needs_browser
def test_nothing_is_asked_of_another_machine(address: str, browser: Any) -> None:
    """Fails when a font, a script or a count of users is fetched from elsewhere, even if the browser refuses it."""
    browser.get(address)
    wait_for(browser, "button.sample")
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    asked = re.findall(
        r'"url":"(https?://[^"]+)"', " ".join(entry["message"] for entry in browser.get_log("performance"))
    )
    assert len(loaded) > 5
    assert {url for url in (*loaded, *asked) if not url.startswith((address, "data:", "blob:"))} == set()


def test_the_page_answers_this_machine_alone(address: str) -> None:
    """Fails when a foreign page could reach it under a name of its own (DNS rebinding), or the policy is missing."""
    request = urllib.request.Request(address, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request)
    with urllib.request.urlopen(address) as response:
        assert response.headers["Content-Security-Policy"].startswith("default-src 'self' ")


def test_without_networks_the_command_says_what_to_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo"]) == 2
    assert capsys.readouterr().err.startswith("error: name at least one network, such as kdvideo demo ")


def test_without_gradio_the_command_names_the_extra(
    weights: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fails when the networks are loaded first, or a traceback is shown."""
    from kdvideo import _extras

    find = _extras.find_spec
    monkeypatch.setattr(_extras, "find_spec", lambda name: None if name == "gradio" else find(name))
    assert cli.main(["demo", weights["rgb"]]) == 1
    assert 'kdvideo demo needs gradio, which is not installed: pip install "kdvideo[demo]"' in capsys.readouterr().err
