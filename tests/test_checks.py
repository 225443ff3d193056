"""The one place where arguments are checked."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from lib import checks
from lib.live import tracing


def test_lists_and_integer_tensors_become_float64():
    first, second = checks.tensors(a=[0, 1], b=torch.tensor([2, 3]))
    assert first.dtype == second.dtype == torch.float64


def test_numbers_follow_the_tensor_beside_them():
    first, second = checks.tensors(a=torch.ones(2, dtype=torch.float32), b=[1.0, 2.0])
    assert first.dtype == second.dtype == torch.float32


def test_lists_of_tensors_keep_their_gradient():
    slider = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    (row,) = checks.tensors(a=[1.0, slider])
    row.sum().backward()
    assert slider.grad == 1


@pytest.mark.parametrize("array", [np.arange(3.0)[::-1], np.array([2, 1, 0], ">i4"), np.arange(6.0)[::-2]])
def test_arrays_that_torch_does_not_take(array):
    """Running backwards, or in the byte order of another machine."""
    (tensor,) = checks.tensors(a=array)
    assert tensor.tolist() == array.tolist()


def test_read_only_arrays_are_copied_without_a_warning():
    array = np.ones(3)
    array.flags.writeable = False
    (tensor,) = checks.tensors(a=array)
    assert tensor.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("three", "a must be numbers in a rectangular array, got 'three'"),
        ([[1.0], [1.0, 2.0]], "a must be numbers in a rectangular array"),
        (torch.ones(2, dtype=torch.complex128), "a must be real numbers"),
        (torch.ones(2, dtype=torch.bool), "a must be real numbers"),
        ([1.0, float("nan")], "a must be finite"),
        ([float("inf")], "a must be finite"),
        (None, "a must be numbers"),
    ],
)
def test_what_is_no_real_tensor_is_refused(value, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        checks.tensors(a=value)


def test_types_are_never_mixed_silently():
    with pytest.raises(ValueError, match=r"a and b must share one dtype and device.*float32.*float64"):
        checks.tensors(a=torch.ones(1), b=torch.ones(1, dtype=torch.float64))


def test_require_stands_aside_while_recording():
    bad = torch.tensor([-1.0])
    with pytest.raises(ValueError, match="too small"):
        checks.require(bad >= 0, "too small")
    with pytest.raises(ValueError, match="lazy sentence"):
        checks.require(False, lambda: "lazy sentence")
    with tracing.recording():
        checks.require(bad >= 0, "too small")
        with tracing.recording():
            assert tracing.active()
        assert tracing.active()
        assert "float32" in checks.describe(torch.tensor(1.0))
    assert not tracing.active()


def test_recording_ends_after_an_error():
    with pytest.raises(RuntimeError), tracing.recording():
        raise RuntimeError
    assert not tracing.active()


def test_shapes():
    checks.shape("x", torch.zeros(4, 2, 3), 2, 3)
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., n, 3\), got \(3,\)"):
        checks.shape("x", torch.zeros(3), None, 3)
    with pytest.raises(ValueError, match=r"L must be a square matrix.*\(2, 3\)"):
        checks.square("L", torch.zeros(2, 3))
    with pytest.raises(ValueError, match="L must be a square matrix"):
        checks.square("L", torch.zeros(0, 0))


@pytest.mark.parametrize("value", [0, 11, 2.0, True, "2", None])
def test_integers(value):
    assert checks.integer("m", np.int64(3), lowest=1) == 3
    with pytest.raises(ValueError, match="m must be an integer from 1 to 10, got"):
        checks.integer("m", value, lowest=1, highest=10)


@pytest.mark.parametrize("value", [0, -1.0, 3.0, float("nan"), float("inf"), True, 1j, "1", None])
def test_numbers(value):
    assert checks.real_number("rate", np.float64(0.5), lowest=0) == 0.5
    with pytest.raises(ValueError, match="rate must be a finite number above 0 and at most 2, got"):
        checks.real_number("rate", value, lowest=0, highest=2, open_below=True)


def test_choices_and_long_values():
    with pytest.raises(ValueError, match="order must be one of 1, 2, got True"):
        checks.choice("order", True, (1, 2))
    assert checks.describe("x" * 200).endswith("...")
    with pytest.raises(ValueError, match="at least 3, got 2"):
        checks.integer("m", 2, lowest=3)
    with pytest.raises(ValueError, match="of at least 1, got 0"):
        checks.real_number("rate", 0, lowest=1)


@pytest.mark.parametrize("value", [True, [1.0, True], [[0.5], [False]], np.array([True]), np.bool_(True), [1j], 1 + 0j])
def test_true_false_and_complex_entries_are_not_cast(value):
    with pytest.raises(ValueError, match="a must be real numbers, got"):
        checks.tensors(a=value)


def test_the_message_ends_with_the_first_entry_that_fails():
    rates = torch.tensor([[0.5, 2.0], [-3.0, -4.0]])
    with pytest.raises(ValueError, match=r"^rates must be at least 0, got -3$"):
        checks.require(rates >= 0, "rates must be at least 0", rates)
    checks.require(rates >= -4, "rates must be at least -4", rates)


def test_batches_that_do_not_fit():
    assert checks.batch(M=(2, 1), z0=(3,)) == (2, 3)
    message = r"the leading dimensions of M and z0 must be equal or 1, got \(2,\) and \(3,\)"
    with pytest.raises(ValueError, match=message):
        checks.batch(M=(2,), z0=(3,))


def test_numbers_that_no_float_holds():
    assert checks.real_number("a", Fraction(1, 2), lowest=0) == 0.5
    with pytest.raises(ValueError, match="a must be a finite number of at least 0"):
        checks.real_number("a", 10**400, lowest=0)
