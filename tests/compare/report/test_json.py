import json

import jsonschema
import pytest

import handgrad
from handgrad import Finding, Row
from handgrad.compare.facts.causes import Scaled
from handgrad.compare.facts.fact import content_of
from handgrad.compare.names import Key
from handgrad.compare.report.json import render, render_all
from handgrad.compare.results import Code, Curve, Details, Excerpt, Plot, Results, SourceLine, Suspects, Worst
from tests.compare.report.samples import FAILING, GOLDEN, PASSING, SAMPLES
from tests.repository import ROOT

SCHEMA = json.loads((ROOT / "compare" / "report" / "schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SAMPLES)
def test_the_json_of_a_report_is_as_the_schema_says(name):
    text = render(SAMPLES[name])
    assert text == (GOLDEN / f"{name}.json").read_text(encoding="utf-8")
    jsonschema.validate(json.loads(text), SCHEMA)


def test_the_schema_is_sound_and_has_the_fields_of_the_classes():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == "urn:handgrad:report:2"
    defined = SCHEMA["$defs"]
    finding, details = defined["finding"]["properties"], defined["details"]["properties"]
    plots = details["plots"]["items"]
    schemas = {
        Row: defined["row"],
        Details: defined["details"],
        Key: finding["where"],
        SourceLine: finding["line"]["oneOf"][1],
        Worst: finding["worst"]["oneOf"][1],
        Code: details["code"]["items"],
        Excerpt: details["excerpts"]["items"],
        Suspects: details["suspects"]["additionalProperties"],
        Plot: plots,
        Curve: plots["properties"]["lines"]["items"],
    }
    for kind, schema in schemas.items():
        assert [*schema["properties"]] == schema["required"] == [*kind._fields], kind
    assert [*finding] == defined["finding"]["required"] == [*Finding.__annotations__, "text"]


def test_what_json_has_not_is_a_text():
    finding = Finding(Key(1, "forward", "Z"), "NONFINITE", Scaled(float("inf")), worst=Worst((0,), float("nan"), 1.0))
    row = Row(1, "forward", "Z", "", (2,), float("nan"), rho=float("-inf"), verdict="NONFINITE")
    content = json.loads(render(Results((row,), (finding,))), parse_constant=pytest.fail)
    jsonschema.validate(content | {"environment": json.loads(render(PASSING))["environment"]}, SCHEMA)
    assert (content["rows"][0]["max_abs_diff"], content["rows"][0]["rho"]) == ("nan", "-inf")
    assert content["findings"][0]["cause"]["factor"] == "inf"
    assert content["findings"][0]["worst"]["by_hand"] == "nan"
    assert "details" not in content


def test_a_cause_is_its_code_its_type_its_facts_and_its_sentence():
    first = json.loads(render(FAILING))["findings"][0]
    assert first["cause"] == content_of(FAILING.first.cause)
    assert {"at", "belongs", "code", "type", "text"} == {*first["cause"]}
    for part in ("the derivative is taken at Z1", "at (0, 2): by hand 1.0782", "2 later tensors", "it stays where"):
        assert part in first["text"], part


def test_several_are_ok_if_there_is_one_and_all_pass():
    for reports, not_run, ok in (
        ({"a": PASSING}, {}, True),
        ({"a": PASSING, "b": FAILING}, {}, False),
        ({"a": PASSING}, {"b": "no torch"}, False),
        ({}, {}, False),
    ):
        content = json.loads(render_all(reports, not_run))
        jsonschema.validate(content, SCHEMA)
        assert content["ok"] is ok
        assert [*content["reports"]] == [*reports]
        assert content["not_run"] == not_run


def test_the_report_of_a_run_has_every_name_in_every_step():
    rows = json.loads(handgrad.Experiment(steps=3).run("synthetic").to_json())["rows"]
    expected = {f"{stem}{l}" for l in (1, 2) for stem in ("Z", "A", "dZ", "dW", "db", "vW", "vb")}
    expected |= {"J", "dA1", "W1_next", "W2_next", "b1_next", "b2_next"}
    for step in (1, 2, 3):
        assert expected <= {row["name"] for row in rows if row["step"] == step}
