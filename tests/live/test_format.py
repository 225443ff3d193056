"""Numbers in titles: the page's ``format`` is Python's, for every specification a figure may use."""

import json
import math

import pytest

SPECS = [
    ".0f",
    ".2f",
    ".3f",
    "+.1f",
    " .2f",
    "d",
    ",d",
    ",.0f",
    ",.2f",
    ".1%",
    ".0%",
    ".3e",
    ".2g",
    ".3g",
    ".4g",
    "g",
    "+.3g",
]
SPECS += ["8.2f", "08.2f", ".10f", "f", "e", ".1e", ".6g", "+d", "6.1%"]
NUMBERS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1.5,
    2.5,
    -2.5,
    0.125,
    0.375,
    2.675,
    1 / 3,
    -2 / 3,
    1e-3,
    1e-4,
    9.99995e-5,
    1e-5,
    123.456,
]
NUMBERS += [
    999.5,
    999.95,
    1234.5,
    12345.678,
    123456.0,
    999999.5,
    1e6,
    1234567.0,
    1e12,
    1e15,
    123456789012345.0,
    4.35,
    0.045,
]
NUMBERS += [-1234567.891, 5e-324, 1.7e-7, -0.004, -0.005, 0.0049999, 0.9999, 99.995, math.pi, math.e]


@pytest.mark.parametrize("spec", SPECS)
def test_format_is_pythons(page, spec):
    numbers = [n for n in NUMBERS if "d" not in spec or n == int(n)]
    want = [format(int(n), spec) if "d" in spec else format(n, spec) for n in numbers]
    got = page.evaluate(
        "([spec, numbers]) => numbers.map((n) => live.format(n === '-0' ? -0 : n, spec))",
        [spec, ["-0" if n == 0 and math.copysign(1, n) < 0 and "d" not in spec else n for n in numbers]],
    )
    assert [(n, g) for n, g in zip(numbers, got, strict=True)] == list(zip(numbers, want, strict=True))


@pytest.mark.parametrize(("word", "number"), [("NaN", "nan"), ("Infinity", "inf"), ("-Infinity", "-inf")])
def test_numbers_that_are_none(page, word, number):
    assert page.evaluate(f"live.format({word}, '.2f')") == number


def test_a_specification_the_page_does_not_know_is_an_error(page):
    message = page.evaluate("(() => { try { return live.format(1, '>8') } catch (e) { return e.message } })()")
    assert json.dumps(message) == '"cannot format by >8"'
