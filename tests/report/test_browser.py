"""The page in a real browser, Debian's Chromium: what is clicked, hovered, typed, exported; no error and no request.

Skipped without playwright or Chromium; REQUIRE_LIBRARIES=playwright,chromium makes that a failure.
"""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.report import __main__ as command
from support import runs
from support.machines import EVIL, PRODUCTS, four, machine
from support.needed import absent, needed

pytestmark = pytest.mark.xdist_group("browser")
MARKS = "#roofline path[transform]"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = needed("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        absent("chromium", "chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four machines, two more sessions of the first, a whole model on two."""
    folder = tmp_path_factory.mktemp("browser")
    given = four(folder)
    for day in (2, 3):
        given.append(machine(folder / f"a{day}.json", "AMD EPYC", "amd-epyc-00000000", day=f"2026-03-0{day}"))
    given.append(machine(folder / "m.json", name="with-models", runs=[runs.inference()]))
    path = folder / "report.html"
    assert command.main([*map(str, given), "-o", str(path)]) == 0
    return path


class Opened:
    """A page, with everything that shouldn't happen on it."""

    def __init__(self, browser: Any, path: Path, fragment: str = "", **settings: Any) -> None:
        self.page = browser.new_page(viewport={"width": 1280, "height": 900}, **settings)
        self.wrong: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("request", self._request)
        self.address = f"file://{path}"
        self.open(fragment)

    def _request(self, request: Any) -> None:
        if request.url.split("#")[0] != self.address and not request.url.startswith(("data:", "blob:")):
            self.wrong.append(f"request: {request.url}")

    def _dialog(self, dialog: Any) -> None:
        self.wrong.append("a dialog")
        dialog.dismiss()

    def open(self, fragment: str = "") -> None:
        self.page.goto("about:blank")
        self.page.goto(self.address + fragment)
        self.page.wait_for_selector("html[data-ready]")

    def count(self, selector: str) -> int:
        found: int = self.page.locator(selector).count()
        return found

    def text(self, selector: str) -> str:
        """As it is seen; of a chart, its words."""
        chart = self.page.evaluate("(one) => document.querySelector(one) instanceof SVGElement", selector)
        found: str = self.page.text_content(selector) if chart else self.page.inner_text(selector)
        return found

    @property
    def fragment(self) -> str:
        found: str = self.page.evaluate("location.hash")
        return found


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Opened]:
    one = Opened(browser, report)
    yield one
    one.page.close()
    wrong = [line for line in one.wrong if "about:blank" not in line]
    assert wrong == []


def test_toggles_and_isolation(opened: Opened) -> None:
    """Seven machines with a row each of four products on all cores, every one cold, in memory."""
    assert opened.count(MARKS) == 7 * len(PRODUCTS)
    opened.page.click('[data-chip="m=B"]')
    assert opened.count(MARKS) == 6 * len(PRODUCTS)
    assert opened.fragment == "#m-off=B"
    opened.page.click('[data-only="m=C"]')
    assert opened.count(MARKS) == len(PRODUCTS)
    opened.page.click('[data-only="m=C"]')  # now "all"
    assert opened.count(MARKS) == 7 * len(PRODUCTS)
    opened.page.click('[data-only="cls=cold m = 1"]')
    assert opened.count(MARKS) == 7
    assert opened.count("#rows tbody tr") == 1


def test_views_levels_and_threads(opened: Opened) -> None:
    assert "GFLOP/s" in opened.text("#roofline")
    opened.page.click('[data-set="view=share"]')
    assert "% of own roof" in opened.text("#roofline")
    assert opened.count(MARKS) == 7 * len(PRODUCTS)
    opened.page.click('[data-set="level=L2"]')
    assert opened.count(MARKS) == 0
    opened.page.click('[data-set="view=roof"]')
    assert "FLOP per byte from L2" in opened.text("#roofline")
    opened.page.click('[data-set="role=one"]')
    assert "on one thread" in opened.text("#rooflinesaid")


@pytest.mark.parametrize(("fragment", "count"), [("", 7), ("#m-off=B|C|D", 4)])
def test_words_at_peaks_stand_in_the_order_of_the_peaks(opened: Opened, fragment: str, count: int) -> None:
    """Also where they are moved apart, as those of four machines with one peak."""
    opened.open(fragment)
    found = opened.page.eval_on_selector_all(
        "#roofline text", "all => all.map((one) => [one.textContent, +one.getAttribute('y')])"
    )
    peaks = [(text.split(), y) for text, y in found if re.fullmatch(r"[A-Z]  [\d.,]+ GFLOP/s", text)]
    assert len(peaks) == count
    ordered = sorted(peaks, key=lambda one: (-float(one[0][1]), one[0][0]))
    assert [y for _, y in ordered] == sorted({y for _, y in peaks})


def test_what_is_found_but_switched_off_is_counted(opened: Opened) -> None:
    all_of = opened.text("#counted")
    assert "switched off" not in all_of
    for selector in ('[data-chip="by=c"]', '[data-chip="cls=hot"], [data-chip="cls=cold m = 1"]'):
        opened.page.fill("#find", "gemv")
        opened.page.locator(selector).first.click()
        assert opened.text("#counted").startswith("0 kernels on all cores")
        assert "; 1 more is switched off" in opened.text("#counted")
        opened.page.fill("#find", "no such kernel")
        assert "switched off" not in opened.text("#counted")
        opened.page.locator(selector).first.click()


def hover(opened: Opened) -> str:
    opened.page.locator("#roofline").scroll_into_view_if_needed()
    box = opened.page.locator(MARKS).first.bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    return opened.text("#tip")


def test_hover_says_what_a_point_is(opened: Opened) -> None:
    said = hover(opened)
    for word in (
        "m x n x k",
        "GFLOP/s",
        "GB/s",
        "FLOP/byte",
        "x own ridge",
        "% of roof",
        "grade",
        "cold, data in DRAM",
    ):
        assert word in said
    opened.page.mouse.move(5, 5)
    assert not opened.page.is_visible("#tip")


def test_the_keyboard_finds_points(opened: Opened) -> None:
    opened.page.focus("#roofline")
    opened.page.keyboard.press("ArrowRight")
    first = opened.text("#tip")
    assert opened.page.text_content("#live").startswith(first.splitlines()[0][:1])
    opened.page.keyboard.press("ArrowRight")
    assert opened.text("#tip") != first
    opened.page.keyboard.press("Enter")
    assert opened.count("tr.picked") == 1
    assert "pick=" in opened.fragment
    opened.page.keyboard.press("Escape")
    assert not opened.page.is_visible("#tip")


def test_tables_sort_and_filter(opened: Opened) -> None:
    opened.page.fill("#find", "1000x1000 gemv")
    assert opened.count("#rows tbody tr") == 1
    opened.page.fill("#find", "")
    column = 7  # of machine A
    opened.page.click(f"#rows th:nth-child({column}) button")

    def shares() -> list[float]:
        cells = opened.page.locator(f"#rows tbody td:nth-child({column})").all_inner_texts()
        return [float(cell.split()[0]) for cell in cells]

    assert shares() == sorted(shares(), reverse=True)
    opened.page.click(f"#rows th:nth-child({column}) button")
    assert shares() == sorted(shares())
    opened.page.click('[data-set="show=ratio"]')
    assert "times A's speed" in opened.text("#rows thead")
    heading = opened.page.locator("#trust th button").first
    heading.click()
    heading.click()
    letters = opened.page.locator("#trust tbody td:first-child").all_inner_texts()
    assert letters == sorted(letters, reverse=True)


def test_state_is_in_the_fragment(opened: Opened) -> None:
    opened.page.click('[data-set="view=share"]')
    opened.page.click('[data-set="role=one"]')
    opened.page.click('[data-chip="m=D"]')
    opened.page.fill("#find", "gemm")
    fragment, marks = opened.fragment, opened.count(MARKS)
    opened.open(fragment)
    assert (opened.fragment, opened.count(MARKS)) == (fragment, marks)
    assert opened.page.input_value("#find") == "gemm"
    opened.open("#view=no&role=%3Cscript%3E&m-off=Z|B&pick=99999&sort=x&line=7&series=9999")
    assert opened.count(MARKS) == 6 * len(PRODUCTS)


def exported(opened: Opened, name: str, folder: Path) -> Path:
    with opened.page.expect_download() as waiting:
        opened.page.click(f'[data-export="{name}"]')
    path = folder / name
    waiting.value.save_as(path)
    return path


def test_exports(opened: Opened, report: Path, tmp_path: Path) -> None:
    ElementTree.parse(exported(opened, "roofline.svg", tmp_path))
    ElementTree.parse(exported(opened, "reads.svg", tmp_path))
    for name in ("roofline.png", "reads.png"):
        assert exported(opened, name, tmp_path).read_bytes().startswith(b"\x89PNG")
    document = json.loads(exported(opened, "report.json", tmp_path).read_text(encoding="utf-8"))
    assert len(document["machines"]) == 7
    with exported(opened, "rows.csv", tmp_path).open(encoding="utf-8", newline="") as file:
        found = list(csv.reader(file))
    assert len(found) == 1 + 7 * len(PRODUCTS)
    assert command.main([*(str(report.parent / f"{one}.json") for one in "abcd"), "-o", str(tmp_path / "t.csv")]) == 0
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    assert found[0] == table[0]

    def key(row: list[str]) -> tuple[str, ...]:
        return (*row[:7], row[7][0], row[8])  # of seven machines names are longer than of four

    ours = {key(row): row for row in found[1:] if row[7][0] in "ABCD"}
    theirs = {key(row): row for row in table[1:] if row[6] == "all"}
    assert ours.keys() == theirs.keys()
    for which, row in ours.items():
        for mine, other in zip(row[9:20], theirs[which][9:20], strict=True):
            same = mine == other if not re.match(r"[\d.]", mine) else float(mine) == pytest.approx(float(other))
            assert same, (which, mine, other)


def test_names_are_shown_not_run(opened: Opened) -> None:
    assert EVIL in opened.page.locator(".card h3").nth(3).inner_text()
    assert EVIL in opened.page.locator('[data-chip="m=D"]').get_attribute("title")
    opened.page.click('[data-only="m=D"]')
    assert EVIL[:20] in hover(opened)
    assert opened.page.evaluate("document.querySelectorAll('img, script').length") == 2


def test_over_time(opened: Opened) -> None:
    assert opened.count("#times path[transform]") == 3
    opened.page.select_option('[data-set="series"]', index=1)
    assert "3 sessions; the median of those before" in opened.text("#timessaid")
    assert "series=1" in opened.fragment


def test_dark_print_and_phone(opened: Opened, tmp_path: Path) -> None:
    page = opened.page
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    assert "theme=dark" in opened.fragment
    page.emulate_media(color_scheme="dark")
    opened.open()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.pdf(path=str(tmp_path / "page.pdf"))
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 390, "height": 800})
    opened.open()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert opened.count(MARKS) == 7 * len(PRODUCTS)


def test_every_control_has_a_name(opened: Opened) -> None:
    """What can be focused says what it is."""
    nameless = opened.page.evaluate(
        """[...document.querySelectorAll('button, select, input, [tabindex="0"]')].filter((one) =>
            !(one.textContent.trim() || one.getAttribute('aria-label') || one.labels?.length ||
              one.getAttribute('aria-describedby'))).length"""
    )
    assert nameless == 0
