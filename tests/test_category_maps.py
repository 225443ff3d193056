"""Maps of categories as readers bring them: any integer type, byte order and direction; counts by a plain loop."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lib import category_maps, transition_statistics

CODES = [1, 4, 7]
KINDS = ["i1", "u1", "<i2", ">i2", "u2", ">u2", "i4", ">u4", "i8", "u8"]
maps = st.sampled_from(KINDS).flatmap(
    lambda kind: arrays(kind, array_shapes(min_dims=2, max_dims=3, max_side=6), elements=st.integers(0, 9))
)


@given(maps, st.integers(0, 2**31 - 1))
@settings(max_examples=60)
def test_any_array_of_codes(before, seed):
    after = np.random.default_rng(seed).permuted(before).astype(before.dtype)
    views = (slice(None, None, -1),) * before.ndim
    for a, b in ((before, after), (before[views], after[views]), (before.T, after.T)):
        original = a.copy()
        expected = [[int(((a == old) & (b == new)).sum()) for new in CODES] for old in CODES]
        assert category_maps.transition_counts(a, b, CODES).tolist() == expected
        assert (a == original).all()


@given(maps)
@settings(max_examples=40)
def test_shares_of_every_map_of_a_stack(stack):
    images = stack.reshape(-1, *stack.shape[-2:])
    if not all(np.isin(image, CODES).any() for image in images):
        with pytest.raises(ValueError, match="maps must each hold a pixel with one of the codes"):
            category_maps.class_fractions(stack, CODES)
        return
    expected = [[(image == code).sum() / np.isin(image, CODES).sum() for code in CODES] for image in images]
    found = category_maps.class_fractions(stack, CODES)
    np.testing.assert_allclose(found.reshape(len(images), -1), expected, rtol=1e-15)


def test_relabelling_leaves_its_input_alone_and_draws_every_code_alike():
    truth = torch.full((200, 200), 7, dtype=torch.uint8)
    seen = category_maps.relabel_at_random(truth, 0.3, CODES, torch.Generator().manual_seed(0))
    assert (truth == 7).all()
    assert seen.dtype == torch.uint8
    share = torch.tensor([(seen == code).double().mean() for code in CODES])
    # Four standard errors of a share of .1 among 40 000 pixels.
    torch.testing.assert_close(share.double(), torch.tensor([0.1, 0.1, 0.8], dtype=torch.float64), rtol=0, atol=0.006)


def test_equal_periods_differ_by_nothing_in_any_precision():
    """Counts of a large map in single precision: the sums alone would leave a G of hundreds."""
    C = torch.tensor([[3e7, 1e7], [5e6, 5e7]], dtype=torch.float32)
    G, df, p = transition_statistics.g_test(torch.stack([C, C]))
    assert (float(G), int(df), float(p)) == (pytest.approx(0, abs=1e-5), 2, pytest.approx(1, abs=1e-5))
