"""The built site in a browser: nothing breaks, nothing leaves the machine, everybody can use it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

SITE = Path(os.environ.get("RBTC_SITE") or Path(__file__).resolve().parents[2] / "_build" / "html")
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for path in SITE.rglob("*.html")
    if "_static" not in path.parts and path.name not in ("index.html", "genindex.html")
)
# Pages of code are all alike: one stands for the others where a page is opened.
CODE = [page for page in PAGES if page.startswith("code/")]
OPENED = [page for page in PAGES if page not in CODE[1:]]
NARROW = {"width": 390, "height": 844}

pytestmark = [
    pytest.mark.skipif(not PAGES, reason=f"{SITE} holds no built site: run `make site` first"),
    pytest.mark.timeout(600),
]
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or importlib.util.find_spec("playwright") is None,
    reason="needs chromium on this machine, and playwright: pip install -e '.[browser]'",
)


class Reader(HTMLParser):
    """Addresses and anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.addresses: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag != "link" or found.get("rel") != "search":
            self.addresses |= {found[key] for key in ("href", "src") if found.get(key)}


def missing(pages: dict[str, Reader]) -> list[str]:
    """Addresses within the site that lead nowhere, as "page: address"."""
    found = []
    for page, reader in pages.items():
        for address in sorted(reader.addresses):
            target, anchor = urldefrag(address)
            if urlsplit(target).scheme or target.startswith("//"):
                continue
            path = (SITE / page).parent / unquote(urlsplit(target).path) if target else SITE / page
            path = path.resolve()
            if path.is_dir():
                path /= "index.html"
            known = path.is_relative_to(SITE.resolve()) and path.is_file()
            name = path.relative_to(SITE.resolve()).as_posix() if known else ""
            if not known or (anchor and name in pages and anchor not in pages[name].anchors):
                found.append(f"{page}: {address}")
    return found


def test_every_link_and_anchor_resolves():
    assert missing({page: Reader(SITE / page) for page in PAGES}) == []


def test_no_page_loads_anything_from_elsewhere():
    outside = []
    for page in PAGES:
        parser = HTMLParser()
        loaded: list[str] = []

        def start(tag, attrs, loaded=loaded):
            found = dict(attrs)
            if tag in ("script", "img", "iframe", "source", "video"):
                loaded.append(found.get("src") or "")
            if tag == "link" and found.get("rel") in ("stylesheet", "preload", "icon"):
                loaded.append(found.get("href") or "")

        parser.handle_starttag = start
        parser.feed((SITE / page).read_text(encoding="utf-8"))
        outside += [f"{page}: {one}" for one in loaded if urlsplit(one).netloc]
    assert outside == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("notebooks/")])
def test_every_figure_has_number_caption_alternative_text_and_three_links(page):
    text = (SITE / page).read_text(encoding="utf-8")
    text = re.sub(r"<noscript>.*?</noscript>", "", text, flags=re.DOTALL)
    figures = re.findall(r"<figure[^>]*numbered.*?</figure>", text, re.DOTALL)
    outputs = text.split('class="cell_output docutils container"')[1:]
    assert sum(part.count("<img") for part in outputs) == len(figures)
    for figure in figures:
        assert len(re.search(r'<img alt="([^"]*)"', figure)[1]) >= 80
        assert re.search(r"<strong>Figure \d+\.\d+</strong>", figure)
        addresses = re.findall(r'href="([^"]+)"', figure)
        for part in ("/results/", "/_sources/", "/code/"):
            assert any(part in address for address in addresses), (page, part)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()


def visit(browser, page, **options):
    """Open a page; return the tab, and what it complained of or asked the network for."""
    tab = browser.new_page(**options)
    troubles: list[str] = []
    tab.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.on(
        "request",
        lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else troubles.append(r.url),
    )
    # Colours that are still on their way from light to dark have no contrast to judge.
    tab.add_init_script(
        "addEventListener('DOMContentLoaded', () => {"
        "const still = document.createElement('style'); still.textContent = "
        "'*, *::before, *::after { transition: none !important; animation: none !important }'; "
        "document.head.append(still); })"
    )
    tab.goto((SITE / page).resolve().as_uri(), wait_until="load")
    return tab, troubles


@needs_browser
@pytest.mark.parametrize("page", OPENED)
def test_a_page_opens_quietly_and_fits_a_phone(browser, page):
    tab, troubles = visit(browser, page, viewport=NARROW)
    try:
        tab.wait_for_timeout(300)
        assert troubles == []
        wide = tab.evaluate("document.scrollingElement.scrollWidth - window.innerWidth")
        assert wide <= 1, f"{page} scrolls sideways by {wide} pixels"
    finally:
        tab.close()


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", OPENED)
def test_a_page_is_accessible(browser, page, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    tab, _ = visit(browser, page, color_scheme=scheme)
    try:
        report = axe.Axe().run(tab).response["violations"]
        serious = [
            f"{one['id']}: {node['target']} {node['html'][:120]}"
            for one in report
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
        assert serious == []
    finally:
        tab.close()


@pytest.fixture
def explorers(browser):
    page = "notebooks/92_explorers.html"
    if page not in PAGES:
        pytest.skip("the built site has no page of explorers")
    tab, troubles = visit(browser, page, has_touch=True)
    tab.wait_for_timeout(500)
    yield tab
    assert troubles == []
    tab.close()


@needs_browser
@pytest.mark.parametrize("name", ["compare", "keep", "ratio", "noise"])
def test_a_slider_moves_and_the_picture_changes(explorers, name):
    box = explorers.locator(f"#explore-{name}")
    slider, picture = box.locator("input[type=range]"), box.locator("canvas").first
    slider.evaluate("one => { one.value = one.min; one.dispatchEvent(new Event('input')); }")
    before, label = picture.screenshot(), picture.get_attribute("aria-label")
    slider.focus()
    explorers.keyboard.press("End")
    assert picture.get_attribute("aria-label") != label
    assert picture.screenshot() != before
    explorers.keyboard.press("Home")
    assert picture.screenshot() == before


@needs_browser
def test_a_finger_on_the_picture_moves_the_slider(explorers):
    box = explorers.locator("#explore-compare")
    slider, picture = box.locator("input[type=range]"), box.locator("canvas").first
    picture.scroll_into_view_if_needed()
    before = slider.input_value()
    place = picture.bounding_box()
    explorers.touchscreen.tap(place["x"] + 0.9 * place["width"], place["y"] + 20)
    assert slider.input_value() != before


@needs_browser
def test_another_concept_has_another_picture_and_other_numbers(explorers):
    box = explorers.locator("#explore-compare")
    picture = box.locator("canvas").first
    before, label = picture.screenshot(), picture.get_attribute("aria-label")
    box.locator("select").first.select_option(index=1)
    assert picture.screenshot() != before
    assert picture.get_attribute("aria-label") != label


@needs_browser
def test_without_scripts_the_sheets_are_shown(browser):
    page = "notebooks/92_explorers.html"
    if page not in PAGES:
        pytest.skip("the built site has no page of explorers")
    tab, _ = visit(browser, page, java_script_enabled=False)
    try:
        assert tab.locator(".explorer img").count() == tab.locator(".explorer").count() > 0
    finally:
        tab.close()
