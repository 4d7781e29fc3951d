"""The pages in a real browser: nothing is asked of a network, no error, legible wide and narrow, light, dark, printed.

Screenshots are left in screenshots/. Needs Chromium and ChromeDriver; skipped where one of them is not installed.
"""

import base64
import json
import re
import shutil

import pytest

import handgrad.manual.network
from handgrad import Experiment
from handgrad.compare.cli.commands import main
from tests.support import ROOT, edited

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium or chromedriver is not installed (Debian: apt install chromium-driver)"
)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
SCREENSHOTS = ROOT / "screenshots"
PAGES = ("passing", "failing", "notes", "fault")
WIDTHS, SCHEMES = (1280, 400), ("light", "dark")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Every kind of page, made by the commands that users run."""
    folder = tmp_path_factory.mktemp("pages")
    made = {name: folder / f"{name}.html" for name in PAGES}
    main(["check", "--format", "html", "--output", str(made["passing"])])
    with edited(handgrad.manual.network, ("dW = dZ @ A_prev.T", "dW = 2 * dZ @ A_prev.T")):
        report = Experiment(steps=12).run()
    made["failing"].write_text(report.to_html(), encoding="utf-8")
    main(["notes", "--format", "html", "--output", str(made["notes"])])
    main(["faults", "tanh-derivative-at-z", "--format", "html", "--output", str(made["fault"])])
    return made


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(browser, page, width=1280, scheme="light", media="screen"):
    """Open a page as a person with such a screen does."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get_log("performance"), browser.get_log("browser")
    browser.get(page.as_uri())


def saved(browser, name, width):
    """The whole page as a picture."""
    height = min(browser.execute_script("return document.documentElement.scrollHeight"), 12000)
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    SCREENSHOTS.mkdir(exist_ok=True)
    (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


def requested(browser):
    """The addresses that the browser asked for."""
    events = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


CONTRAST = """
const parsed = text => (text.match(/[\\d.eE+-]+/g) || []).map(Number);
function rgba(text) {
  const n = parsed(text.replace(/^color\\(srgb/, ''));
  const scale = text.startsWith('color(') ? 1 : 255;
  return [n[0] / scale, n[1] / scale, n[2] / scale, n.length > 3 ? n[3] : 1];
}
const light = c => { const l = c.slice(0, 3).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * l[0] + .7152 * l[1] + .0722 * l[2]; };
function behind(element) {
  for (let e = element; e; e = e.parentElement) {
    const c = rgba(getComputedStyle(e).backgroundColor);
    if (c[3] > .99) return c;
  }
  return [1, 1, 1, 1];
}
const faint = [];
for (const e of document.querySelectorAll('.handgrad *')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  if (!own || e.closest('svg') || !e.getClientRects().length || e.tagName === 'STYLE') continue;
  const [a, b] = [light(rgba(getComputedStyle(e).color)), light(behind(e))];
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) faint.push([e.textContent.trim().slice(0, 40), ratio.toFixed(2)]);
}
return faint;
"""
SMALLEST = 11  # pixels
SMALL_TEXT = """
const texts = document.createTreeWalker(document.querySelector('.handgrad'), NodeFilter.SHOW_TEXT);
const small = [];
while (texts.nextNode()) {
  const e = texts.currentNode.parentElement, svg = e.ownerSVGElement;
  if (!texts.currentNode.data.trim() || !e.getClientRects().length || e.closest('style, title')) continue;
  const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
  const size = parseFloat(getComputedStyle(e).fontSize) * scale;
  if (size < arguments[0] - .05) small.push([texts.currentNode.data.trim().slice(0, 40), e.tagName, size]);
}
return small;
"""
OUTSIDE = """
const wide = document.documentElement.clientWidth;
return [...document.querySelectorAll('.handgrad *')].filter(e => e.getClientRects().length && !e.closest('svg, math')
  && !e.closest('.scroll, .listing') && e.getBoundingClientRect().right > wide + 1).map(e => e.outerHTML.slice(0, 80));
"""


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_legible_and_asks_nothing_of_a_network(name, width, scheme, browser, pages):
    opened(browser, pages[name], width, scheme)
    saved(browser, f"{name}-{width}-{scheme}", width)
    assert {url for url in requested(browser) if not url.startswith("data:")} == {pages[name].as_uri()}
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(OUTSIDE) == []
    assert browser.execute_script(SMALL_TEXT, SMALLEST) == []
    assert browser.execute_script(CONTRAST) == []


HINTED = """
return [...document.querySelectorAll('.handgrad *')].filter(e => e.getClientRects().length
  && e.scrollWidth > e.clientWidth + 1 && !e.closest('svg, math, .listing')
  && getComputedStyle(e).overflowX !== 'visible')
  .map(e => [e.className, getComputedStyle(e).backgroundImage.split('linear-gradient').length - 1, e.tabIndex]);
"""


@pytest.mark.parametrize("name", PAGES)
def test_what_is_wider_than_a_phone_says_so_by_a_shadow_and_scrolls_by_key(name, browser, pages):
    opened(browser, pages[name], 400)
    scrolling = browser.execute_script(HINTED)
    assert (scrolling != []) == (name != "notes")
    assert scrolling == [["scroll", 4, 0]] * len(scrolling)


def test_titles_and_languages(browser, pages):
    titles = set()
    for page in pages.values():
        opened(browser, page)
        titles.add(browser.title)
        assert browser.execute_script("return document.documentElement.lang") == "en"
    assert len(titles) == len(pages)
    assert all(title.endswith(" - handgrad") for title in titles)


def test_tensors_that_agree_are_folded_and_can_be_unfolded(browser, pages):
    count = "return [...document.querySelectorAll('tr.agrees')].filter(e => e.checkVisibility()).length"
    opened(browser, pages["passing"])
    assert browser.execute_script(count) == 0
    summaries = "[...document.querySelectorAll('summary')]"
    browser.execute_script(f"{summaries}.find(e => /tensors agree/.test(e.textContent)).click()")
    assert browser.execute_script(count) == 23
    assert browser.execute_script(SMALL_TEXT, SMALLEST) == []
    opened(browser, pages["failing"])
    assert browser.execute_script(count) == 0
    differing = browser.execute_script(count.replace("tr.agrees", "tr.culprit, tr.follows"))
    assert differing >= 4


@pytest.mark.parametrize("name", PAGES)
def test_tables_and_graph_are_there(name, browser, pages):
    opened(browser, pages[name])
    shown = browser.execute_script(
        "return ['table', 'svg.graph', 'svg.plot', 'math', '.listing'].map(s => [...document.querySelectorAll(s)]"
        ".filter(e => e.checkVisibility()).length)"
    )
    tables, graphs, plots, formulas, listings = shown
    assert (tables > 0) == (name != "passing"), "a passing page has its tensors folded"
    assert graphs == (0 if name == "notes" else 1)
    assert plots >= {"notes": 8, "failing": 1, "passing": 3, "fault": 1}[name]
    assert (formulas > 10) == (name != "passing"), "with their equations"
    assert (listings > 1) == (name != "passing"), "a passing page has its code folded"


@pytest.mark.parametrize("name", PAGES)
def test_the_texts_of_charts_are_no_formulas(name, browser, pages):
    opened(browser, pages[name])
    texts = browser.execute_script("return [...document.querySelectorAll('svg text')].map(e => e.textContent)")
    assert texts
    assert [text for text in texts if "$" in text or "\\" in text] == []


def test_the_state_of_a_tensor_shows_without_colour(browser, pages):
    opened(browser, pages["failing"])
    texts = browser.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('.node')].map(n => ["
        "n.querySelector('title').textContent.split(':')[0], "
        "[n.querySelector('text').textContent, n.querySelector('path').getAttribute('d')]]))"
    )
    marks = {name: texts[name][0].partition(" ")[0] for name in ("dW2", "W2_next", "dZ2")}
    assert len({*marks.values()}) == len({texts[name][1] for name in marks}) == 3


SHEETS = {"passing": 3, "failing": 6}  # of A4, at most


@pytest.mark.parametrize("name", PAGES)
def test_it_prints_on_a4_with_what_matters(name, browser, pages):
    opened(browser, pages[name], width=703, media="print", scheme="dark")  # A4 less its margins, in CSS pixels
    folded = "return [...document.querySelectorAll('details > :not(summary)')].filter(e => !e.checkVisibility())"
    assert browser.execute_script(f"{folded}.filter(e => e.closest('.printed')).length") == 0
    if name == "passing":
        assert browser.execute_script(f"{folded}.filter(e => e.matches('.scroll, .sides')).length") == 2
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 703
    assert browser.execute_script(SMALL_TEXT, SMALLEST) == []
    paper = browser.execute_script("return getComputedStyle(document.querySelector('.handgrad')).backgroundColor")
    assert min(int(part) for part in paper[4:-1].split(",")) > 240, "white paper, whatever the screen is"
    saved(browser, f"{name}-print", 703)


@pytest.mark.parametrize("name", SHEETS)
def test_it_prints_on_few_sheets(name, browser, pages):
    opened(browser, pages[name])
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True})
    pdf = base64.b64decode(printed["data"])
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) <= SHEETS[name]
