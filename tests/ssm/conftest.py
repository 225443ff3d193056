"""What tests of kernels share."""

import pytest
import torch


@pytest.fixture
def poison():
    """Memory that nobody wrote holds NaN: every entry of every output has to be written."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
