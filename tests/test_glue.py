"""Numbers of the run inside sentences, outside the book's build."""

import sys

import pytest
import torch

from lib import glue


@pytest.fixture(autouse=True)
def nothing_glued(monkeypatch):
    """A kernel that has glued nothing, where MyST-NB is not installed (as in Colab)."""
    monkeypatch.setattr(glue, "GLUED", {})
    monkeypatch.setitem(sys.modules, "myst_nb", None)


def test_values_are_pasted_with_their_format():
    glue.glue("rate", 1.23456)
    glue.glue("count-of.days", 26)
    glue.glue("where", "here")
    shown = glue.text("$x_{[[count-of.days]]}$ grows by [[rate:.2f]] [[where]], [[1, 2]] stays.")
    assert shown.data == "$x_{26}$ grows by 1.23 here, [[1, 2]] stays."


def test_tensors_without_dimensions_are_numbers():
    glue.glue("rate", torch.tensor(0.5, dtype=torch.float64))
    assert glue.text("[[rate:.1%]]").data == "50.0%"


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(ValueError, match=r"name is 'rate'; glued so far: nothing \(run the cells above first\)"):
        glue.text("[[rate]]")
    glue.glue("other", 1)
    with pytest.raises(ValueError, match=r"name is 'rate'; glued so far: other"):
        glue.show("rate")


@pytest.mark.parametrize("name", ["", "two words", "a:b", 3, None])
def test_a_bad_name_is_refused(name):
    with pytest.raises(ValueError, match=r"name is .*; allowed: letters, digits"):
        glue.glue(name, 1)


def test_objects_are_displayed(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    glue.glue("figure", {"a": 1}, display=True)
    glue.show("figure")
    assert shown == [{"a": 1}, {"a": 1}]
