"""The page: it holds what a reader needs to find the line, escapes whatever users name, and needs nothing else."""

import inspect
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import handgrad.manual.network
from handgrad import Experiment, InputError, check_gradients, check_initializer, load_report
from handgrad.compare.cli.commands import main
from handgrad.compare.experiment import run as lockstep
from handgrad.compare.faults.catalogue import catalogue
from handgrad.compare.report import Finding, Report, Row, html
from handgrad.compare.report.curves import svg
from handgrad.compare.report.details import Code, Details, Excerpt, Line, Plot
from handgrad.compare.report.graph import graph
from handgrad.compare.report.page import culprits, strip, where
from handgrad.compare.report.states import states
from tests.support import edited, small_data

VOID = {"meta", "link", "br", "img", "input", "hr", "path"}
DATA = small_data(5, 2, 13, seed=3)
SMALL = Experiment(layers=(5, 4, 2), batch_size=5, steps=4, seed=3)
RIGHT = "dW = dZ @ A_prev.T"


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


def wrong_report(**changes):
    experiment = replace(SMALL, **changes)
    with edited(handgrad.manual.network, (RIGHT, f"dW = 2 * ({RIGHT.removeprefix('dW = ')})")):
        return experiment.run(DATA)


@pytest.fixture(scope="module")
def wrong():
    return wrong_report()


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


def test_a_failing_page_names_the_line_on_both_sides(wrong):
    text = wrong.to_html()
    page = needs_nothing(text)
    assert re.search(r'class="marked wrong">    dW = dZ @ A_prev\.T  # \(B2\)', text)
    assert "linear(A))  # (F1)" in text
    said = "".join(page.text)
    for piece in ("FAULT", "dW2", "every entry is 2 times torch's, too large", "What is computed from what", "scale"):
        assert piece in said, piece
    assert "dW2 at step 1, all of it: by hand, in torch" in said
    assert len(text) < 200_000


def test_a_passing_page_says_so_and_what_it_did_not_show():
    report = SMALL.run(DATA)
    said = "".join(needs_nothing(report.to_html()).text)
    assert "OK: by hand and torch agree on all" in said
    assert "What is wrong" not in said
    assert "Not shown by this run: weight decay" in said


def test_the_default_run_stays_small(tmp_path, capsys):
    path = tmp_path / "report.html"
    assert main(["check", "--format", "html", "--output", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    assert len(text) < 2_000_000
    said = "".join(needs_nothing(text).text)
    for title in ("Loss, each side on its own", "How far the two drift apart", "Gradient norm by layer"):
        assert title in said
    assert capsys.readouterr().out.startswith("OK: ")


def test_two_sides_left_to_themselves_drift_as_far_as_rounding_explains_and_no_further():
    long = replace(SMALL, steps=40)
    loss, drift, norms = lockstep.run(long, DATA, plots=True).details.plots
    assert [line.name for line in loss.lines] == ["by hand", "torch"]
    assert loss.lines[0].y == pytest.approx(loss.lines[1].y, rel=1e-9)
    apart, allowed = (np.array(line.y) for line in drift.lines)
    assert apart.max() > 0, "another order of summation shows"
    assert (apart <= allowed).all()
    assert [line.name for line in norms.lines] == ["dW1", "dW2"]
    assert len(apart) == len(norms.lines[0].y) == 40
    with edited(handgrad.manual.network, (RIGHT, RIGHT.replace("dZ @", "1.001 * dZ @"))):
        wrong_drift = lockstep.run(long, DATA, plots=True).details.plots[1]
    apart, allowed = (np.array(line.y) for line in wrong_drift.lines)
    assert apart[-1] > 1e6 * allowed[-1]
    assert SMALL.run(DATA).details.plots == ()


def test_whatever_users_name_is_escaped():
    evil = "<script>alert('1')</script>&\"\u202e\x1b[31m"
    row = Row(1, "backward", f"d{evil}", evil, (2,), 1.0, (0,), 1.0, 2.0, 3.0, "ladder", "FAULT")
    finding = Finding(1, "backward", f"d{evil}", evil, "FAULT", evil, f"{evil}; {evil}", 2.0, (0,))
    details = Details(
        reads={"Z1": (evil,), "J": ("Z1",)},
        downstream={evil: (1,)},
        excerpts=(Excerpt(1, f"d{evil}", (0,), ((1.0,),), ((2.0,),)),),
        code=(Code("by hand", evil, 1, evil, {f"d{evil}": (1,)}),),
        plots=(Plot(evil, evil, evil, (Line(evil, (0.0, 1.0), (1.0, 2.0)),), text=evil),),
    )
    report = Report((row,), (finding,), (evil,), (evil,), {evil: evil, "check": evil, "setting": evil}, details)
    for text in (report.to_html(), html.render_all({evil: report, "b": report}, {evil: evil})):
        page = needs_nothing(text)
        assert "\u202e" not in text
        assert "\x1b" not in text
        assert "alert('1')" in "".join(page.text)


def test_a_stored_report_gives_the_same_page(wrong, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(wrong.to_json(), encoding="utf-8")
    assert load_report(path).to_html() == wrong.to_html()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["code"][0].update(text="x"), "must be lines from"),
        (lambda d: d["code"][0].update(first=-500), "from line 1 on"),
        (lambda d: d["code"][0].update(first=10**30), "from line 1 on"),
        (lambda d: d["code"][0].update(text="x\n" * 10**5), "must be at most 5000 lines"),
        (lambda d: d["excerpts"][0]["torch"].pop(), "two equal tables"),
        (lambda d: d["excerpts"][0].update(by_hand=[], torch=[]), "two equal tables"),
        (lambda d: d["excerpts"][0].update(by_hand=[[1.0] * 65], torch=[[1.0] * 65]), "two equal tables"),
        (lambda d: d["plots"].append(PLOT | {"lines": [{"name": "a", "x": [1, 2], "y": [1]}]}), "as many x as y"),
    ],
)
def test_details_that_no_check_writes_are_refused(change, message, wrong, tmp_path):
    content = json.loads(wrong.to_json())
    change(content["details"])
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="is a damaged report: details") as caught:
        load_report(path)
    assert message in str(caught.value)
    del content["details"]
    path.write_text(json.dumps(content), encoding="utf-8")
    needs_nothing(load_report(path).to_html())


PLOT = {"title": "t", "x": "x", "y": "y", "log": False, "text": ""}


def test_several_are_listed_and_those_that_differ_come_first(wrong):
    right = SMALL.run(DATA)
    page = needs_nothing(html.render_all({"a": right, "b": wrong}, {"c": "no torch"}))
    said = "".join(page.text)
    assert "1 of 2 checks differs, 1 check could not run" in said
    assert "c could not run: no torch" in said
    assert said.index("b\n") < said.index("a\n")
    many = html.render_all({f"check {i}": right for i in range(400)})
    assert "100 more agree." in many
    needs_nothing(many)
    assert len(many) < 2_000_000
    assert "no check ran" in html.render_all({})


def test_notebooks_show_a_fragment_with_its_own_style(wrong):
    fragment = wrong._repr_html_()
    assert fragment.startswith('<div class="handgrad">')
    assert "<html" not in fragment
    assert all(rule.lstrip().startswith((".handgrad", "@media", "}")) for rule in rules(fragment))


def rules(text):
    """The selectors of the style sheet in a page."""
    (sheet,) = re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL)
    return [line for line in re.findall(r"^[^\n{]+(?=\{)", sheet, flags=re.MULTILINE) if not line.startswith(" ")]


def test_without_the_extra_the_remedy_is_named(wrong, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "handgrad.compare.report.curves", None)
    html._environment.cache_clear()
    try:
        with pytest.raises(InputError, match=r"pip install 'handgrad\[report\]'"):
            wrong.to_html()
        assert wrong._repr_html_() is None
        for command in (["check"], ["notes"], ["faults"]):
            assert main([*command, "--format", "html", "--output", str(tmp_path / "it.html")]) == 2
            assert "pip install" in capsys.readouterr().err
        assert not (tmp_path / "it.html").exists()
    finally:
        html._environment.cache_clear()


# --- its parts


def test_states_tell_culprits_from_what_follows(wrong):
    found = states(wrong)
    assert found[1, "dW2"] == found[1, "dW1"] == "culprit"
    assert found[1, "W2_next"] == found[2, "vW2"] == "follows"
    assert found[1, "dZ2"] == found[1, "db1"] == "agrees"
    assert {*states(SMALL.run(DATA)).values()} == {"agrees"}


def test_the_graph_draws_every_tensor_in_its_state(wrong):
    drawn = graph(wrong)
    state = {name: kind for kind, name in re.findall(r'class="node (\w+)"[^>]*><title>(\w+):', drawn)}
    assert state["dW2"] == "culprit"
    assert state["W2_next"] == "follows"
    assert state["Z1"] == state["dZ1"] == "agrees"
    assert state["W1"] == "given"
    assert {row.name for row in wrong.rows} <= state.keys()


def test_the_graph_shows_what_was_not_recorded_and_ends_are_left_out():
    rng = np.random.default_rng(4)
    params = {"W": rng.standard_normal((3, 2)), "V": rng.standard_normal((1, 3))}

    def derivation(p, X):
        A = np.tanh(p["W"] @ X)
        dA = p["V"].T @ np.ones((1, X.shape[1]))
        return {"dW": (dA * (1 - A**2)) @ X.T, "dV": A.sum(axis=1)[None, :]}

    def reference(p, X):
        from handgrad import tap

        return (p["V"] @ tap("A", tap("Z", p["W"] @ X).tanh())).sum()

    drawn = graph(check_gradients(derivation, reference, params, (rng.standard_normal((2, 5)),)))
    state = {name: kind for kind, name in re.findall(r'class="node (\w+)"[^>]*><title>(\w+):', drawn)}
    assert state["Z"] == state["A"] == state["dZ"] == state["dA"] == "absent"
    assert state["dW"] == state["dV"] == "agrees"
    assert graph(check_initializer(lambda s, r: r.standard_normal(s), lambda t: t.normal_(), (3, 4))) == ""


def test_a_deep_graph_is_cut_around_the_culprit():
    deep = Experiment(layers=(3,) * 40 + (1,), activations=("tanh",) * 39 + ("sigmoid",), batch_size=4, steps=1)
    data = small_data(3, 1, 9, seed=5)
    with edited(handgrad.manual.network, (RIGHT, f"dW = 2 * ({RIGHT.removeprefix('dW = ')})")):
        report = deep.run(data)
    names = re.findall(r"<title>(\w+):", graph(report))
    assert "dW40" in names
    assert "dW2" not in names


def test_entries_are_shaded_by_their_difference(wrong):
    first, _ = culprits(wrong)
    cells = [cell for _, row in first.entries for cell in row]
    assert max(cell.shade for cell in cells) == 100
    assert [cell.worst for cell in cells].count(True) == 1
    assert next(cell for cell in cells if cell.worst).shade == 100
    same = Excerpt(1, "dW2", (0, 0), ((1.0, np.nan, np.inf),), ((1.0, 2.0, np.inf),))
    report = replace(wrong, details=wrong.details._replace(excerpts=(same,)))
    ((_, row),) = next(culprits(report)).entries
    assert [cell.shade for cell in row] == [0, 100, 0]


def test_the_line_to_look_at_is_where_a_common_factor_comes_in(tmp_path):
    report = check_gradients(_halved, _halved_reference, *_PROBLEM)
    assert report.first.cause == "scale"
    line = inspect.getsourcelines(_halved)[1] + 1
    assert where(report) == f"test_html.py, line {line}"
    said = "".join(Page(report.to_html()).text)
    assert f"are computed from what line {line} assigns" in said
    marked = re.findall(r'class="marked wrong">(.*?)\n', report.to_html())
    assert marked[0].strip() == html_of('e = (p["W"] @ X + p["b"] - Y) / 2')


def _halved(p, X, Y):
    e = (p["W"] @ X + p["b"] - Y) / 2
    return {"dW": e @ X.T, "db": e.sum(axis=1, keepdims=True)}


def _halved_reference(p, X, Y):
    return ((p["W"] @ X + p["b"] - Y) ** 2).sum() / 2


_RNG = np.random.default_rng(7)
_PROBLEM = (
    {"W": _RNG.standard_normal((3, 4)), "b": _RNG.standard_normal((3, 1))},
    (_RNG.standard_normal((4, 6)), _RNG.standard_normal((3, 6))),
)


def test_many_notes_are_folded(wrong):
    said = "".join(Page(replace(wrong, notes=tuple(f"note {i}" for i in range(9))).to_html()).text)
    assert "3 further notes" in said
    assert all(f"note {i}" in said for i in range(9))


def test_where_is_silent_if_it_cannot_be_told(wrong):
    assert where(wrong).startswith("manual/network.py, line ")
    assert where(replace(wrong, details=Details())) == ""
    assert where(SMALL.run(DATA)) == ""
    assert "Look at" not in replace(wrong, details=Details()).to_html()


def test_steps_are_binned_where_there_are_many(wrong):
    assert len(strip(wrong)[0].cells) == 4
    rows = tuple(wrong.rows[0]._replace(step=step) for step in range(1, 1001))
    (only,) = strip(Report(rows))
    assert len(only.cells) <= 60
    assert only.cells[-1][1].endswith("to 1000")
    assert strip(Report(rows[:1])) == ()


def test_a_plot_takes_colours_from_the_page_and_survives_any_number():
    lines = (
        Line("by hand", (1.0, 2.0, 3.0), (0.0, np.nan, 1e-9)),
        Line("torch", (1.0, 2.0, 3.0), (np.inf, -1.0, 2.0)),
        Line("huge", (1.0, 2.0, 1e308), (1e308, -1e308, 1e-310)),
    )
    for log in (False, True):
        drawn = svg(Plot("A <title>", "x & y", "y", lines, log=log), "p1")
        assert "currentColor" in drawn
        assert "var(--line-0)" in drawn
        assert not re.search(r"#01020\d|#0102[01]\d", drawn)
        assert 'id="p1-' in drawn
        assert "<title>" not in drawn.replace("&lt;title&gt;", "")
    assert svg(Plot("a", "x", "y", lines), "p") == svg(Plot("a", "x", "y", lines), "p"), "the same bytes every time"


@pytest.mark.parametrize("name", ["bias-gradient-mean", next(iter(catalogue())), [*catalogue()][-1]])
def test_a_fault_has_its_page_with_the_wrong_code(name, tmp_path):
    path = tmp_path / "fault.html"
    assert main(["faults", name, "--format", "html", "--output", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    needs_nothing(text)
    assert 'class="removed"' in text
    assert 'class="added"' in text
    (_, wrong_code), *_ = catalogue()[name].edits
    assert html_of(wrong_code.splitlines()[0]) in text


def html_of(code):
    from markupsafe import escape

    return str(escape(code.strip()))


def test_the_page_of_a_planted_fault_shows_the_code_that_ran(tmp_path):
    path = tmp_path / "fault.html"
    main(["faults", "bias-gradient-mean", "--format", "html", "--output", str(path)])
    assert re.search(r'class="marked wrong">    db = dZ\.mean\(axis=1', path.read_text(encoding="utf-8"))


def test_the_lists_have_their_pages(tmp_path):
    for command in (["faults"], ["notes", "--id", "L2"], ["notes", "--id", "I5"]):
        path = tmp_path / "list.html"
        assert main([*command, "--format", "html", "--output", str(path)]) == 0
        needs_nothing(path.read_text(encoding="utf-8"))
    for command in (["faults"], ["faults", "bias-gradient-mean"], ["notes", "--id", "L2"]):
        for form in ("json", "markdown"):
            assert main([*command, "--format", form, "--output", str(tmp_path / "list.txt")]) == 0


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
