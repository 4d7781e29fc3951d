"""The page: it holds what a reader needs to find the line, escapes whatever users name, and needs nothing else."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markupsafe import escape

from handgrad import Finding, InputError, Report, Row
from handgrad.compare.cli import main
from handgrad.compare.facts.causes import Unknown
from handgrad.compare.facts.failures import LosesDigits, Raised
from handgrad.compare.facts.remarks import BlindSpot, NotJudged
from handgrad.compare.faults.catalogue import catalogue
from handgrad.compare.names import Key
from handgrad.compare.report import html
from handgrad.compare.results import Code, Curve, Details, Excerpt, Plot, SourceLine
from tests.compare.report.samples import FAILING, GOLDEN, PASSING, SAMPLES

VOID = {"meta", "link", "br", "img", "input", "hr", "path"}


class Page(HTMLParser):
    """Tags and attributes, what stands where, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.ids, self.urls, self.text = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        self.urls += [value for name, value in attrs if name in ("src", "href", "xlink:href", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def needs_nothing(text):
    page = Page(text)
    assert not [tag for tag, _ in page.tags if tag in ("script", "iframe", "object", "embed", "img", "form")]
    assert all(url.startswith(("#", "data:")) for url in page.urls), page.urls
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert len(page.ids) == len({*page.ids})
    assert {url[1:] for url in page.urls if url.startswith("#")} <= {*page.ids}
    referred = re.findall(r"(?:url\(|href=\")#([\w-]+)", text)
    assert {*referred} <= {*page.ids}
    return page


@pytest.mark.parametrize("name", SAMPLES)
def test_the_page_of_a_report(name):
    assert html.render(SAMPLES[name]) == (GOLDEN / f"{name}.html").read_text(encoding="utf-8")


def test_a_failing_page_names_the_line_on_both_sides():
    text = html.render(FAILING)
    page = needs_nothing(text)
    assert re.search(r'class="marked wrong">    dZ1 = dA1 \* \(1 - Z1\*\*2\)', text)
    assert "Z1.tanh()" in text
    said = "".join(page.text)
    for piece in (
        "FAULT",
        "dZ1",
        "at step 1",
        "my_derivation.py:38",
        "Look at my_derivation.py, line 38.",
        "activation-derivative",
        "the derivative is taken at Z1 where A1 belongs",
        "by hand 1.0782, torch -0.010957 from the same dA1, A1",
        "2.3e+04 times what rounding explains, and it stays where parameters and data move, and roundings do not",
        "2 later tensors differ only because of it",
        "What is computed from what",
        "dZ1 at step 1, all of it: by hand, in torch",
    ):
        assert piece in said, piece
    assert len(text) < 200_000


def test_a_passing_page_says_so_and_what_it_did_not_show():
    said = "".join(needs_nothing(html.render(PASSING)).text)
    assert "OK: by hand and torch agree on all 10 tensors" in said
    assert "What is wrong" not in said
    assert "Look at" not in said
    assert "Not shown by this run: a transposed square matrix" in said


def test_whatever_users_name_is_escaped():
    evil = "<script>alert('1')</script>&\"\u202e\x1b[31m"
    row = Row(1, "backward", f"d{evil}", evil, (2,), 1.0, (0,), 1.0, 2.0, 3.0, "ladder", "FAULT")
    line = SourceLine(evil, 1, evil)
    finding = Finding(
        Key(1, "backward", f"d{evil}"), "FAULT", Raised(evil, evil), line, equation=evil, together=(evil,)
    )
    details = Details(
        reads={"Z1": (evil,), "J": ("Z1",)},
        downstream={evil: (1,)},
        excerpts=(Excerpt(1, f"d{evil}", (0,), ((1.0,),), ((2.0,),)),),
        code=(Code("by hand", evil, 1, evil, {f"d{evil}": (1,)}),),
        plots=(Plot(evil, evil, evil, (Curve(evil, (0.0, 1.0), (1.0, 2.0)),), text=evil),),
    )
    spots, environment = (BlindSpot("evil", evil, evil),), {evil: evil, "check": evil, "setting": evil}
    report = Report(
        (row,), (finding, replace(finding, cause=Unknown())), (NotJudged(evil),), spots, environment, details
    )
    for text in (html.render(report), html.render_all({evil: report, "b": report}, {evil: evil})):
        page = needs_nothing(text)
        assert "\u202e" not in text
        assert "\x1b" not in text
        assert "alert('1')" in "".join(page.text)


def test_several_are_listed_and_those_that_differ_come_first():
    page = needs_nothing(html.render_all({"a": PASSING, "b": FAILING}, {"c": "no torch"}))
    said = "".join(page.text)
    assert "1 of 2 checks differs, 1 check could not run" in said
    assert "c could not run: no torch" in said
    assert said.index("b\n") < said.index("a\n")
    many = html.render_all({f"check {i}": PASSING for i in range(400)})
    assert "100 more agree." in many
    needs_nothing(many)
    assert len(many) < 2_000_000
    assert "no check ran" in html.render_all({})


def test_what_fails_decides_although_something_weak_comes_first():
    weak = Finding(Key(1, "forward", "A1"), "WEAK", LosesDigits())
    both = replace(FAILING, findings=(weak, *FAILING.findings))
    assert "<title>FAULT dZ1, my_derivation.py - handgrad</title>" in html.render(both)
    assert re.search(r'data-label="verdict"><span class="verdict culprit">FAULT<', html.render_all({"one": both}))
    assert "my_derivation.py, line 38" in html.render(both)


def test_titles_tell_pages_apart():
    other = replace(PASSING, environment={**PASSING.environment, "setting": "network 30-16-1, tanh/sigmoid"})
    pages = [*map(html.render, (FAILING, PASSING, other)), html.render_all({"a": PASSING, "b": other})]
    titles = [re.findall("<title>(.*?)</title>", page)[0] for page in pages]
    assert titles == [
        "FAULT dZ1, my_derivation.py - handgrad",
        "OK, my_derivation.py - handgrad",
        "OK, network 30-16-1 - handgrad",
        "2 checks agree, my_derivation.py, network 30-16-1 - handgrad",
    ]
    headings = [re.findall("<h1>(.*?)</h1>", page)[0] for page in pages]
    assert headings[2] == "network 30-16-1: by hand against torch"
    assert html.page("t", "", "ko").startswith('<!DOCTYPE html>\n<html lang="ko">')


def test_many_notes_are_folded():
    report = replace(FAILING, notes=tuple(NotJudged(f"note {i}") for i in range(9)))
    said = "".join(Page(html.render(report)).text)
    assert "3 further notes" in said
    assert all(f"dnote {i} is not judged" in said for i in range(9))


def test_notebooks_show_a_fragment_with_its_own_style():
    fragment = FAILING._repr_html_()
    assert fragment.startswith('<div class="handgrad">')
    assert "<html" not in fragment
    assert all(rule.lstrip().startswith((".handgrad", "@media", "}")) for rule in rules(fragment))


def rules(text):
    """The selectors of the style sheet in a page."""
    (sheet,) = re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL)
    return [line for line in re.findall(r"^[^\n{]+(?=\{)", sheet, flags=re.MULTILINE) if not line.startswith(" ")]


def test_without_the_extra_the_remedy_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "handgrad.compare.report.curves", None)
    html.ready.cache_clear()
    try:
        with pytest.raises(InputError, match=r"pip install 'handgrad\[report\]'"):
            html.render(FAILING)
        assert FAILING._repr_html_() is None
        for command in (["check"], ["notes"], ["faults"]):
            assert main([*command, "--format", "html", "--output", str(tmp_path / "it.html")]) == 2
            assert "pip install" in capsys.readouterr().err
        assert not (tmp_path / "it.html").exists()
    finally:
        html.ready.cache_clear()


def test_the_default_run_stays_small(tmp_path, capsys):
    path = tmp_path / "report.html"
    assert main(["check", "--format", "html", "--output", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    assert len(text) < 2_000_000
    said = "".join(needs_nothing(text).text)
    for title in ("Loss, each side on its own", "How far the two drift apart", "Gradient norm by layer"):
        assert title in said
    assert capsys.readouterr().out.startswith("OK: ")


def test_the_pages_of_mistakes_and_notes_need_nothing(tmp_path):
    ones = (["faults", "tanh-derivative-at-z"], ["explain", "shape"], ["notes", "--id", "L2"], ["notes", "--id", "I5"])
    for command in (["faults"], ["explain"], *ones):
        path = tmp_path / "page.html"
        assert main([*command, "--format", "html", "--output", str(path)]) == 0
        needs_nothing(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["bias-gradient-mean", next(iter(catalogue())), [*catalogue()][-1]])
def test_the_page_of_a_mistake_has_its_code_right_and_wrong(name, tmp_path):
    path = tmp_path / "fault.html"
    assert main(["faults", name, "--format", "html", "--output", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    needs_nothing(text)
    assert 'class="removed"' in text
    assert 'class="added"' in text
    (_, wrong), *_ = catalogue()[name].edits
    assert str(escape(wrong.splitlines()[0].strip())) in text


def test_the_page_of_a_mistake_shows_the_code_that_ran(tmp_path):
    path = tmp_path / "fault.html"
    main(["faults", "bias-gradient-mean", "--format", "html", "--output", str(path)])
    assert re.search(r'class="marked wrong">        db = dZ\.mean\(axis=1', path.read_text(encoding="utf-8"))


def test_the_notes_page_has_every_statement_with_its_curves(tmp_path):
    from handgrad.compare.notes.statements import STATEMENTS

    path = tmp_path / "notes.html"
    assert main(["notes", "--format", "html", "--output", str(path)]) == 0
    page = needs_nothing(path.read_text(encoding="utf-8"))
    assert {statement.id for statement in STATEMENTS} <= {*page.ids}
    said = "".join(page.text)
    for title in (
        "J as written",
        "1.5^L against depth",
        "Mean square through 30 layers",
        "Saturation",
        "steep direction",
    ):
        assert title in said, title
