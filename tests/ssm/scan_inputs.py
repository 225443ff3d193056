"""Random arguments of a scan, in the distribution of the acceptance checks, and how far results are apart."""

import torch

__all__ = ["SEQUENCE", "distance", "pieces", "random_inputs"]

# Arguments that have a time, which a step and a piece of a sequence take apart.
SEQUENCE = ("x", "dt", "A", "B", "C", "lam", "theta")


def random_inputs(b=2, T=37, H=3, P=4, N=8, M=4, G=None, R=None, seed=0, dtype=torch.float64):
    """Inputs by name; M = 0 is without rotation, G groups (by default one for each head), R ranks."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    groups, rank = H if G is None else G, () if R is None else (R,)
    inputs = {
        "x": normal(b, T, H, P, *rank),
        "dt": torch.nn.functional.softplus(normal(b, T, H)),
        "A": -normal(b, T, H).exp(),
        "B": normal(b, T, groups, N, *rank),
        "C": normal(b, T, groups, N, *rank),
        "lam": normal(b, T, H).sigmoid(),
        "theta": torch.pi * normal(b, T, H, M).tanh(),
    }
    if M == 0:
        del inputs["theta"]
    return {name: value.to(dtype) for name, value in inputs.items()}


def pieces(inputs, *tokens):
    """The same tokens of every argument that has a time."""
    return {name: value[tokens] for name, value in inputs.items()}


def distance(a, b):
    """Largest difference of two results, of y or of y and a state."""
    if isinstance(a, tuple):
        return max(distance(left, right) for left, right in zip(a, b, strict=True))
    assert a.shape == b.shape
    return float((a - b).abs().max()) if a.numel() else 0.0
