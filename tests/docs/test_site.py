"""The built site: links lead somewhere, the search finds what people look for, and a browser finds no fault."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.site_files import broken, build, entries

BROWSER = Path(__file__).parent / "browser"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SEARCHES = {
    "tvl1": "api/flow/",
    "distributed": "guides/distributed/",
    "several teachers": "teachers/",
    "faq": "guides/faq/",
    "bibtex": "citation/",
    "memory": "guides/speed/",
}
SEEN = ["", "guides/", "guides/faq/", "methods/", "methods/divergences/", "results/", "api/core/", "examples/"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once."""
    return build(tmp_path_factory.mktemp("site"))


def test_links_lead_somewhere(site: Path) -> None:
    """Fails when a picture, a font of KaTeX or an anchor of a public name is taken away."""
    assert len(list(site.rglob("*.html"))) > 50
    assert broken(site) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    """Fails when anchors, or files that are not pages, are not looked at."""
    (tmp_path / "a.html").write_text('<p id="here"><a href="#here"></a><a href="b.html#there"></a><img src="c.png">')
    (tmp_path / "b.html").write_text("<p>")
    assert broken(tmp_path) == ["a.html: b.html#there", "a.html: c.png"]


@pytest.mark.parametrize(("words", "place"), SEARCHES.items())
def test_the_search_knows(site: Path, words: str, place: str) -> None:
    """Fails when a page loses the words that people look for."""
    texts = [f"{one['title']} {one['text']}".lower() for one in entries(site) if one["location"].startswith(place)]
    assert any(words in text for text in texts)


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """The site, served on this machine alone."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", str(site)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout
        port = server.stdout.readline().split(" port ")[1].split()[0]
        yield f"http://127.0.0.1:{port}"
        server.terminate()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
@pytest.mark.skipif(not (BROWSER / "node_modules").is_dir(), reason="make accessibility installs axe-core and a driver")
def test_a_browser_finds_no_fault(address: str) -> None:
    """Fails when contrast, a name, a scrolling region, the width of a page, an equation or a search is at fault."""
    command = ["node", "check.js", str(CHROMIUM), address, *SEEN]
    done = subprocess.run(command, cwd=BROWSER, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
