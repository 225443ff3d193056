"""Claims: what a file may hold, what a verdict may be, what is shown. And measurements made elsewhere."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib import claims, claims_table, results
from lib.claims import CONTRADICTED, OUT_OF_REACH, PARTLY, RECONSTRUCTED, REPRODUCED, VERDICTS, Claim, judge

GOOD = """\
- id: growth-factor
  statement: The growth factor of the golden system is $1.618$.
  where: Section 2, eq. (7)
  value: 1.618034
  unit: per year
  tolerance: {rel: 1e-6}
- id: three
  statement: Three rates.
  where: Table 1
  value: [1, 2.0, 3.0e+0]
  tolerance: {abs: 0.5}
- id: sign
  statement: The winner is decided at time zero.
  where: Theorem 2
  value: true
- id: words
  statement: It fits `well`.
  where: Figure 3
  value: null
- id: million
  statement: It takes a GPU.
  where: Table 2
  value: 0.03
  tolerance: {abs: 0.01}
  scale: gpu
- id: cluster
  statement: It takes a cluster.
  where: Table 3
  value: 7
  tolerance: {abs: 0}
  scale: out of reach
  note: A thousand machines.
- id: rebuilt
  statement: The matrix was not printed.
  where: Figure 4
  value: 2
  tolerance: {abs: 0.1}
  kind: reconstructed
"""
RUN = {
    "values": {"share": 0.031, "curve": [1.0, 2.0], "held": True},
    "device": "NVIDIA H100",
    "date": "2026-11-22",
    "commit": "3f2a9c1",
    "command": "python benchmarks/demo.py --gpu",
    "seconds": 41.5,
    "seeds": [0, 1],
    "note": "float32",
}


@pytest.fixture(autouse=True)
def book(tmp_path, monkeypatch):
    """A book of one chapter, `demo`, and a kernel that has checked nothing."""
    monkeypatch.setenv("LIVING_MODELS_ROOT", str(tmp_path))
    monkeypatch.delenv("LIVE_PAGE", raising=False)
    monkeypatch.setattr(claims, "_outcomes", {})
    (tmp_path / "claims").mkdir()
    (tmp_path / "results" / "demo").mkdir(parents=True)
    (tmp_path / "claims" / "demo.yml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "results" / "demo" / "ensemble.json").write_text(json.dumps(RUN), encoding="utf-8")
    return tmp_path


def rewrite(book, text):
    (book / "claims" / "demo.yml").write_text(text, encoding="utf-8")


# -- the file


def test_a_good_file_is_read_whole():
    loaded = claims.load("demo")
    assert list(loaded) == ["growth-factor", "three", "sign", "words", "million", "cluster", "rebuilt"]
    first = loaded["growth-factor"]
    assert (first.value, first.unit, first.tolerance, first.scale, first.kind) == (
        1.618034,
        "per year",
        ("rel", 1e-6),
        "build",
        "paper",
    )
    assert loaded["three"].value == (1.0, 2.0, 3.0)
    assert loaded["sign"].value is True
    assert loaded["words"].value is None
    assert loaded["cluster"].note == "A thousand machines."


def test_a_folder_may_be_given(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.yml").write_text("- {id: a, statement: b, where: c, value: null}\n", encoding="utf-8")
    assert list(claims.load("x", other)) == ["a"]


CLAIM = "- id: a\n  statement: b\n  where: c\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"claims/demo\.yml: holds NoneType; allowed: a list"),
        ("a: 1\n", r"claims/demo\.yml: holds dict"),
        ("[]\n", r"holds list; allowed: a list of at least one claim"),
        ("- id: [\n", r"claims/demo\.yml: is not YAML"),
        ("- just words\n", r"claim number 1 is str; allowed: a mapping"),
        ("- id: a\n  where: c\n  value: 1\n", r"claim 'a': field 'statement' is missing; required: id, statement"),
        ("- statement: b\n  where: c\n  value: 1\n", r"claim 'number 1': field 'id' is missing"),
        (CLAIM, r"claim 'a': field 'value' is missing"),
        (CLAIM + "  value: null\n  vlaue: 3\n", r"claim 'a': field 'vlaue' is 3; allowed: only the fields id,"),
        (CLAIM.replace("id: a", "id: 3") + "  value: null\n", r"field 'id' is 3; allowed: a non-empty text"),
        (CLAIM.replace("id: a", "id: a b") + "  value: null\n", r"field 'id' is 'a b'; allowed: letters and digits"),
        (CLAIM.replace("where: c", "where: ''") + "  value: null\n", r"field 'where' is ''"),
        (CLAIM + "  value: .nan\n  tolerance: {abs: 1}\n", r"field 'value' is nan; allowed: a number"),
        (CLAIM + "  value: [1, .nan]\n  tolerance: {abs: 1}\n", r"field 'value' is \[1, nan\]"),
        (CLAIM + "  value: []\n  tolerance: {abs: 1}\n", r"field 'value' is \[\]"),
        (CLAIM + "  value: [[1]]\n  tolerance: {abs: 1}\n", r"field 'value' is \[\[1\]\]; allowed: .*flat list"),
        (CLAIM + "  value: [true]\n  tolerance: {abs: 1}\n", r"field 'tolerance' is {'abs': 1}; allowed: no tolerance"),
        (
            CLAIM + "  value: [true, false]\n",
            r"field 'value' is \[True, False\]; allowed: .*a list of true \(one a case",
        ),
        (CLAIM + "  value: [true, 1]\n", r"field 'value' is \[True, 1\]"),
        (CLAIM + "  value: about three\n  tolerance: {abs: 1}\n", r"field 'value' is 'about three'"),
        (CLAIM + "  value: 1\n", r"field 'tolerance' is None; allowed: {abs: size} or {rel: size}, needed"),
        (CLAIM + "  value: true\n  tolerance: {abs: 1}\n", r"field 'tolerance' is {'abs': 1}; allowed: no tolerance"),
        (CLAIM + "  value: 1\n  tolerance: 0.1\n", r"field 'tolerance' is 0\.1; allowed: exactly one"),
        (CLAIM + "  value: 1\n  tolerance: {abs: 1, rel: 1}\n", r"allowed: exactly one of"),
        (CLAIM + "  value: 1\n  tolerance: {absolute: 1}\n", r"allowed: exactly one of"),
        (CLAIM + "  value: 1\n  tolerance: {abs: -1}\n", r"allowed: a finite size"),
        (CLAIM + "  value: 1\n  tolerance: {abs: .inf}\n", r"allowed: a finite size"),
        (CLAIM + "  value: 1\n  tolerance: {abs: small}\n", r"allowed: a finite size"),
        (
            CLAIM + "  value: 1\n  tolerance: {rel: 1}\n",
            r"allowed: a relative size below 1, because from 1 on it accepts 0",
        ),
        (CLAIM + "  value: 1\n  tolerance: {abs: true}\n", r"allowed: a finite size"),
        (CLAIM + "  value: 1\n  value: 2\n  tolerance: {abs: 1}\n", r"is not YAML \(field 'value' is written twice"),
        (CLAIM + "  value: 1\n  tolerance: {abs: 1, abs: 2}\n", r"is not YAML \(field 'abs' is written twice"),
        (CLAIM + "  value: 0\n  tolerance: {rel: 0.1}\n", r"because a relative tolerance of the value 0 is 0"),
        (CLAIM + "  value: null\n  scale: laptop\n", r"field 'scale' is 'laptop'; allowed: build, gpu, out of reach"),
        (CLAIM + "  value: null\n  kind: rumour\n", r"allowed: paper, cited, reconstructed, calibrated"),
        (CLAIM + "  value: null\n  unit: 3\n", r"field 'unit' is 3; allowed: a text"),
        (CLAIM + "  value: null\n" + CLAIM + "  value: null\n", r"claim 'a': field 'id' is used twice"),
    ],
)
def test_a_bad_file_is_refused_naming_file_claim_and_field(book, text, message):
    rewrite(book, text)
    with pytest.raises(ValueError, match=message) as raised:
        claims.load("demo")
    assert "claims/demo.yml" in str(raised.value)


def test_an_absent_file_names_those_there_are():
    with pytest.raises(ValueError, match=r"slug is 'nothing' but there is no claims/nothing\.yml; .*: demo"):
        claims.load("nothing")


# -- the verdict

NUMBER = Claim("demo", "x", "s", "w", 2.0, tolerance=("abs", 0.5))
LIST = Claim("demo", "x", "s", "w", (1.0, 2.0, 4.0), tolerance=("rel", 0.25))
CASES = Claim("demo", "x", "s", "w", (True, True, True), unit="seeds")


@pytest.mark.parametrize(
    ("claim", "measured", "verdict"),
    [
        (NUMBER, 2.0, REPRODUCED),
        (NUMBER, 2.5, REPRODUCED),
        (NUMBER, 2.5000001, CONTRADICTED),
        (NUMBER, math.inf, CONTRADICTED),
        (replace(NUMBER, value=math.inf), math.inf, REPRODUCED),
        (replace(NUMBER, value=math.inf), -math.inf, CONTRADICTED),
        (replace(NUMBER, value=math.inf), 1e300, CONTRADICTED),
        (replace(NUMBER, tolerance=("abs", 0.0)), 2.0, REPRODUCED),
        (replace(NUMBER, value=-2.0, tolerance=("rel", 0.1)), -2.19, REPRODUCED),
        (LIST, (1.25, 2.5, 5.0), REPRODUCED),
        (LIST, (1.25, 2.6, 5.0), PARTLY),
        (LIST, (9.0, 9.0, 9.0), CONTRADICTED),
        (CASES, (True, True, True), REPRODUCED),
        (CASES, [np.bool_(True), False, True], PARTLY),
        (CASES, torch.zeros(3, dtype=torch.bool), CONTRADICTED),
        (replace(NUMBER, kind="reconstructed"), 2.1, RECONSTRUCTED),
        (replace(NUMBER, kind="reconstructed"), 3.0, CONTRADICTED),
        (replace(NUMBER, kind="calibrated"), 2.1, RECONSTRUCTED),
        (replace(NUMBER, kind="calibrated"), 3.0, CONTRADICTED),
        (replace(NUMBER, value=True, tolerance=None), True, REPRODUCED),
        (replace(NUMBER, value=True, tolerance=None), False, CONTRADICTED),
        (replace(NUMBER, value=None, tolerance=None, kind="reconstructed"), "in its spirit", RECONSTRUCTED),
        (replace(NUMBER, scale="gpu", note="No GPU here."), None, OUT_OF_REACH),
        (replace(NUMBER, scale="out of reach", note="Too large."), None, OUT_OF_REACH),
    ],
)
def test_the_numbers_decide(claim, measured, verdict):
    assert judge(claim, measured) == verdict
    assert judge(claim, measured, verdict, "why") == verdict  # stating what the numbers say is always allowed


@pytest.mark.parametrize(
    ("claim", "measured", "stated", "note", "message"),
    [
        (
            NUMBER,
            3.0,
            REPRODUCED,
            "close",
            r"verdict is 'reproduced' but measured 3\.0 against 2\.0 .*allowed: partly, con",
        ),
        (NUMBER, 2.0, CONTRADICTED, "x", r"verdict is 'contradicted' but measured 2\.0"),
        (NUMBER, 2.0, OUT_OF_REACH, "x", r"verdict is 'out of reach here'"),
        (NUMBER, 2.0, RECONSTRUCTED, "x", r"verdict is 'reconstructed'"),
        (replace(NUMBER, kind="reconstructed"), 2.0, REPRODUCED, "x", r"verdict is 'reproduced'"),
        (replace(NUMBER, kind="reconstructed"), 3.0, RECONSTRUCTED, "x", r"verdict is 'reconstructed'"),
        (LIST, (1.0, 2.0, 9.0), REPRODUCED, "x", r"verdict is 'reproduced'.*allowed: partly, contradicted"),
        (NUMBER, 2.0, "confirmed", "x", r"verdict is 'confirmed'; allowed: reproduced, partly"),
        (NUMBER, 3.0, PARTLY, "", r"note is empty; the verdict 'partly' needs a reason"),
        (NUMBER, None, None, "", r"measured is None; allowed: a value, as the scale is 'build'"),
        (replace(NUMBER, scale="out of reach", note="x"), 2.0, None, "", r"measured is 2\.0; allowed: None"),
        (
            replace(NUMBER, scale="out of reach"),
            None,
            None,
            " ",
            r"note is empty; .*'out of reach here' needs a reason",
        ),
        (replace(NUMBER, scale="gpu", note="x"), None, REPRODUCED, "", r"allowed: out of reach here"),
        (replace(NUMBER, value=None, tolerance=None), "good", None, "", r"verdict is None; the paper gives no number"),
        (NUMBER, math.nan, None, "", r"a measurement that is nan has no verdict"),
        (LIST, (1.0, math.nan, 4.0), None, "", r"a measurement that is nan has no verdict"),
        (LIST, (1.0, 2.0), None, "", r"measured is \(1\.0, 2\.0\); allowed: a list of 3 numbers"),
        (LIST, 1.0, None, "", r"allowed: a list of 3 numbers"),
        (NUMBER, (2.0,), None, "", r"allowed: one number"),
        (NUMBER, "two", None, "", r"allowed: numbers"),
        (NUMBER, True, None, "", r"allowed: numbers"),
        (replace(NUMBER, value=True, tolerance=None), 1.0, None, "", r"allowed: True or False"),
        (replace(NUMBER, value=True, tolerance=None), None, REPRODUCED, "x", r"measured is None; allowed: a value"),
        (replace(NUMBER, value=False, tolerance=None), 0, None, "", r"allowed: True or False"),
        (replace(NUMBER, value=1.0), True, REPRODUCED, "x", r"allowed: numbers"),
        (LIST, (1.0, 2.0, True), None, "", r"allowed: numbers"),
        (LIST, (1.0, 2.0, 4.0, 4.0), REPRODUCED, "x", r"allowed: a list of 3 numbers"),
        (LIST, ((1.0, 2.0, 4.0),), None, "", r"allowed: a list of 3 numbers"),
        (LIST, [1.0, 2.0, None], None, "", r"allowed: numbers"),
        (CASES, (True, True), None, "", r"measured is \(True, True\); allowed: a list of 3 true and false"),
        (CASES, (True, 1.0, True), None, "", r"measured is \(True, 1\.0, True\); allowed: true or false for each case"),
        (CASES, True, None, "", r"allowed: a list of 3 true and false"),
        (NUMBER, 2.0 + 0j, None, "", r"allowed: numbers"),
        (
            replace(NUMBER, tolerance=("abs", 0.0)),
            2.0 + 1e-15,
            REPRODUCED,
            "x",
            r"but measured 2\.000000000000001 again",
        ),
        (replace(NUMBER, value=math.inf), math.nan, REPRODUCED, "x", r"nan has no verdict"),
        (NUMBER, 3.0, PARTLY, 3, r"note is 3; allowed: a text"),
    ],
)
def test_a_verdict_the_numbers_contradict_is_refused(claim, measured, stated, note, message):
    with pytest.raises(ValueError, match=message) as raised:
        judge(claim, measured, stated, note)
    assert "claims/demo.yml: claim 'x'" in str(raised.value)


FREE = replace(NUMBER, value=None, tolerance=None)


@pytest.mark.parametrize("kind", ["paper", "reconstructed", "calibrated"])
@pytest.mark.parametrize(
    "measured", [math.nan, (1.0, math.nan), (), ((1.0,),), "", " ", True, False, {}, {"a": 1.0}, 1j, ("a", "b")]
)
def test_a_claim_without_a_number_still_needs_something_measured(kind, measured):
    for stated in (None, *VERDICTS):
        with pytest.raises(ValueError, match=r"measured is .*; allowed: a number, a list of numbers or a text"):
            judge(replace(FREE, kind=kind), measured, stated, "why")


def test_agreement_asks_for_a_number_to_compare_with():
    with pytest.raises(ValueError, match=r"value is None; allowed: a claim with a number"):
        claims.agreement(FREE, 1.0)


def test_an_author_may_soften_with_a_reason_and_harden_partly():
    assert judge(NUMBER, 2.0, PARTLY, "Only for small systems.") == PARTLY
    assert judge(NUMBER, 3.0, PARTLY, "The sign holds, the size does not.") == PARTLY
    assert judge(LIST, (1.0, 2.0, 9.0), CONTRADICTED) == CONTRADICTED
    wordy = replace(NUMBER, value=None, tolerance=None)
    assert [judge(wordy, "seen", verdict, "why") for verdict in VERDICTS[:3]] == list(VERDICTS[:3])


FINITE = st.floats(-1e9, 1e9)


@given(FINITE, FINITE, st.floats(0, 1e9), st.sampled_from(("abs", "rel")), st.sampled_from((None, *VERDICTS)))
def test_reproduced_means_within_tolerance(value, measured, size, mode, stated):
    if mode == "rel" and value == 0:
        mode = "abs"
    claim = replace(NUMBER, value=value, tolerance=(mode, size))
    limit = size if mode == "abs" else size * abs(value)
    within = abs(measured - value) <= limit
    try:
        verdict = judge(claim, measured, stated, "why")
    except ValueError:
        assert stated not in (None, REPRODUCED if within else CONTRADICTED, PARTLY)
    else:
        assert verdict == (stated or (REPRODUCED if within else CONTRADICTED))
        assert verdict != REPRODUCED or within
        assert verdict != CONTRADICTED or not within


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=6), st.floats(0, 1e6))
def test_a_list_is_reproduced_exactly_if_each_entry_is(pairs, size):
    claim = replace(NUMBER, value=tuple(value for value, _ in pairs), tolerance=("abs", size))
    measured = tuple(ours for _, ours in pairs)
    each = [judge(replace(NUMBER, value=value, tolerance=("abs", size)), ours) for value, ours in pairs]
    share = claims.agreement(claim, measured)
    assert share == each.count(REPRODUCED) / len(pairs)
    assert judge(claim, measured) == {1: REPRODUCED, 0: CONTRADICTED}.get(share, PARTLY)


@given(FINITE, st.floats(0, 1e3), st.floats(0, 1e3))
def test_a_wider_tolerance_never_turns_reproduced_into_contradicted(measured, small, more):
    narrow = replace(NUMBER, tolerance=("abs", small))
    wide = replace(NUMBER, tolerance=("abs", small + more))
    assert claims.agreement(wide, measured) >= claims.agreement(narrow, measured)


# -- check


@pytest.mark.parametrize(
    "measured", [1.618034, np.float64(1.618034), np.array(1.618034), torch.tensor(1.618034, dtype=torch.float64)]
)
def test_check_takes_numbers_arrays_and_tensors(measured):
    outcome = claims.check("demo", "growth-factor", measured, seconds=0.5, unit="per year")
    assert outcome.verdict == REPRODUCED
    assert outcome.record()["measured"] == 1.618034


def test_check_takes_lists_of_any_kind():
    for measured in ([1, 2, 3], (1.0, 2.0, 3.0), np.array([1, 2, 3]), torch.tensor([1.0, 2.0, 3.0])):
        assert claims.check("demo", "three", measured).measured == (1.0, 2.0, 3.0)
    assert claims.check("demo", "sign", torch.tensor(True)).verdict == REPRODUCED


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("demo", "nothing", 1.0), {}, r"id is 'nothing'; allowed: growth-factor, three"),
        (("demo", "growth-factor", 1.618034), {"unit": "per day"}, r"unit is 'per day'; allowed: 'per year'"),
        (("demo", "growth-factor", 1.618034), {"seconds": -1}, r"seconds is -1; allowed: a number of seconds"),
        (("demo", "growth-factor", 1.618034), {"seconds": math.nan}, r"seconds is nan"),
        (("demo", "growth-factor"), {}, r"measured is None"),
        (("demo", "growth-factor", 1.7), {"verdict": REPRODUCED}, r"verdict is 'reproduced' but measured 1\.7"),
        (("demo", "million", 0.03), {}, r"measured is 0\.03; allowed: a Measurement from results/"),
    ],
)
def test_check_refuses(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        claims.check(*arguments, **options)
    assert "not checked yet" in claims.table("demo")._repr_mimebundle_()["text/plain"]


def test_measurements_of_other_machines_are_never_mixed():
    run = claims.measured_elsewhere("demo", "ensemble", "share")
    outcome = claims.check("demo", "million", run)
    assert outcome.verdict == REPRODUCED
    assert outcome.seconds == 41.5
    assert outcome.record()["elsewhere"] == "NVIDIA H100, 2026-11-22, commit 3f2a9c1, 41.5 s"
    assert "NVIDIA H100, 2026-11-22" in outcome._repr_mimebundle_()["text/html"]
    with pytest.raises(ValueError, match=r"measured is from results/demo/ensemble\.json; allowed: a value of this run"):
        claims.check("demo", "growth-factor", run)
    assert claims.check("demo", "million", note="No GPU run yet.").verdict == OUT_OF_REACH


def test_a_record_is_left_only_for_the_build(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *data, **options: shown.append((data, options)))
    claims.check("demo", "growth-factor", 1.618034)
    assert shown == []
    monkeypatch.setenv("LIVE_PAGE", "1")
    claims.check("demo", "growth-factor", 1.618034)
    ((data, options),) = shown
    assert data == ({},)
    record = options["metadata"]["living_models"]["claim"]
    assert (record["slug"], record["id"], record["verdict"]) == ("demo", "growth-factor", REPRODUCED)
    assert json.loads(json.dumps(record)) == record


def test_a_file_in_another_encoding_is_named(book):
    (book / "claims" / "demo.yml").write_bytes(b"- id: \xff\xfe")
    with pytest.raises(ValueError, match=r"claims/demo\.yml: is not YAML"):
        claims.load("demo")
    (book / "results" / "demo" / "ensemble.json").write_bytes(b"{\xff")
    with pytest.raises(ValueError, match=r"results/demo/ensemble\.json: is not JSON"):
        claims.measured_elsewhere("demo", "ensemble", "share")


def test_trying_again_shows_the_last_outcome_alone_and_leaves_both_records_for_the_build(monkeypatch):
    """A kernel may run a cell twice; the build finds two records and refuses them (see tests/site)."""
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *data, **options: shown.append(options))
    monkeypatch.setenv("LIVE_PAGE", "1")
    for measured in (1.7, 1.618034):
        claims.check("demo", "growth-factor", measured)
    records = [options["metadata"]["living_models"]["claim"]["verdict"] for options in shown]
    assert records == [CONTRADICTED, REPRODUCED]


# -- the table


def check_all():
    claims.check("demo", "growth-factor", 1.618034, seconds=0.5)
    claims.check("demo", "three", [1, 2, 9])
    claims.check("demo", "sign", True)
    claims.check("demo", "words", "12 of 12 cultures", verdict=REPRODUCED)
    claims.check("demo", "million", claims.measured_elsewhere("demo", "ensemble", "share"))
    claims.check("demo", "cluster")
    claims.check("demo", "rebuilt", 2.05)


def test_the_table_shows_every_claim_in_every_form():
    check_all()
    bundle = claims.table("demo")._repr_mimebundle_()
    for form in bundle.values():
        for words in (
            "golden system",
            "Table 1",
            "1.618034 per year",
            "12 of 12 cultures",
            "NVIDIA H100",
            "not measured",
        ):
            assert words in form
        for verdict in (REPRODUCED, PARTLY, OUT_OF_REACH, RECONSTRUCTED):
            assert verdict in form
    for form in bundle.values():
        assert form.count("◆") == 5  # the paper's own numbers: not the missing one, not the reconstructed one
        assert "our expectation" in form
    assert 'id="claim-growth-factor"' in bundle["text/html"]
    assert "<code>well</code>" in bundle["text/html"]
    assert "no number given" in bundle["text/html"]


@pytest.mark.parametrize(
    ("value", "tolerance", "digits"),
    [
        (2.0, ("abs", 0.5), 6),
        (542.9, ("abs", 5e-8), 12),
        (1.1321736, ("abs", 5e-8), 9),
        (2.0, ("rel", 1e-8), 9),
        (2.0, ("abs", 0.0), 12),
        (0.0, ("abs", 0.1), 6),
        (math.inf, ("abs", 0.1), 6),
        ((1.0, 1000.0), ("abs", 1e-5), 9),
        (True, None, 6),
    ],
)
def test_enough_digits_are_shown_to_see_the_tolerance(value, tolerance, digits):
    assert claims_table.digits_of(replace(NUMBER, value=value, tolerance=tolerance)) == digits


def test_cases_are_counted(book):
    rewrite(book, "- {id: a, statement: b, where: c, value: [true, true, true, true, true], unit: seeds}\n")
    outcome = claims.check("demo", "a", (True, False, True, True, False), verdict=PARTLY)
    assert outcome.record()["measured"] == [True, False, True, True, False]
    for form in outcome._repr_mimebundle_().values():
        assert "5 of 5 seeds" in form
        assert "3 of 5 seeds" in form
        assert "exact" in form
        assert "yes" not in form


def test_a_single_check_gives_no_anchor_so_that_ids_stay_unique():
    outcome = claims.check("demo", "three", [1, 2, 3])
    assert 'id="claim-' not in outcome._repr_mimebundle_()["text/html"]


def test_html_is_escaped_and_verdicts_do_not_rely_on_colour(book):
    rewrite(book, "- {id: a, statement: '<b>x</b> & y', where: '<i>', value: null, note: '<u>'}\n")
    page = claims.check("demo", "a", "<s>", verdict=REPRODUCED)._repr_mimebundle_()["text/html"]
    for tag in ("<b>", "<i>", "<u>", "<s>"):
        assert tag not in page
    assert '<span aria-hidden="true">✓</span> reproduced' in page
    assert 'scope="row"' in page
    assert "<caption>" in page


def test_markdown_stays_one_table(book):
    rewrite(book, "- {id: a, statement: 'a | b', where: c, value: null}\n")
    rows = claims_table.markdown([(claims.load("demo")["a"], None)]).split("\n")
    assert len(rows) == 3
    assert {row.count("|") for row in rows} == {7}


# -- results


@pytest.mark.parametrize(("name", "value"), [("share", 0.031), ("curve", (1.0, 2.0)), ("held", True)])
def test_results_carry_their_circumstances(name, value):
    run = results.measured_elsewhere("demo", "ensemble", name)
    assert run.value == value
    assert (run.device, run.date, run.seeds, run.note) == ("NVIDIA H100", "2026-11-22", (0, 1), "float32")
    assert run.source == "results/demo/ensemble.json"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": ""}, r"field 'device' is ''; allowed: a non-empty text"),
        ({"commit": None}, r"field 'commit' is None"),
        ({"date": "yesterday"}, r"field 'date' is 'yesterday'; allowed: a date such as"),
        ({"seconds": -1}, r"field 'seconds' is -1"),
        ({"seconds": True}, r"field 'seconds' is True"),
        ({"seeds": 3}, r"field 'seeds' is 3; allowed: a list of integers"),
        ({"seeds": [0.5]}, r"field 'seeds' is \[0\.5\]"),
        ({"values": {}}, r"field 'values' is {}"),
        ({"values": {"share": None}}, r"field 'values\.share' is None; allowed: a finite number"),
        ({"values": {"share": math.nan}}, r"field 'values\.share' is nan"),
        ({"values": {"share": [1.0, "x"]}}, r"field 'values\.share' is"),
        ({"who": "me"}, r"field 'who' is unknown"),
    ],
)
def test_bad_results_are_refused(book, change, message):
    (book / "results/demo/bad.json").write_text(json.dumps(RUN | change), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as raised:
        results.measured_elsewhere("demo", "bad", "share")
    assert "results/demo/bad.json" in str(raised.value)


def test_results_that_are_not_there(book):
    with pytest.raises(ValueError, match=r"run is 'other' but there is no results/demo/other\.json; .*: ensemble"):
        results.measured_elsewhere("demo", "other", "share")
    with pytest.raises(ValueError, match=r"name is 'other'; allowed: share, curve, held"):
        results.measured_elsewhere("demo", "ensemble", "other")
    (book / "results/demo/broken.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"results/demo/broken\.json: is not JSON"):
        results.measured_elsewhere("demo", "broken", "share")
    (book / "results/demo/short.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match="holds list"):
        results.measured_elsewhere("demo", "short", "share")
    (book / "results/demo/bare.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="field 'values' is missing"):
        results.measured_elsewhere("demo", "bare", "share")


def test_what_is_written_is_read_back(book):
    path = results.write(
        "demo",
        "new",
        {"share": 0.5, "curve": (1.0, 2.0)},
        device="CPU",
        command="make",
        seconds=2.0,
        seeds=[3],
        commit="abc",
    )
    assert path == book / "results/demo/new.json"
    assert results.measured_elsewhere("demo", "new", "curve").value == (1.0, 2.0)
    with pytest.raises(ValueError, match="field 'device' is ''"):
        results.write("demo", "worse", {"a": 1.0}, device="", command="x", seconds=1.0, seeds=[], commit="abc")
    assert not (book / "results/demo/worse.json").exists()
    with pytest.raises(ValueError, match=r"run is '\.\./x'; allowed: letters"):
        results.write("demo", "../x", {"a": 1.0}, device="CPU", command="x", seconds=1.0, seeds=[], commit="abc")


def test_records_are_found_beside_the_package_without_a_build(monkeypatch):
    monkeypatch.delenv("LIVING_MODELS_ROOT")
    assert results.shipped("claims").name == "claims"
    assert (results.shipped("claims").parent / "lib").is_dir()
