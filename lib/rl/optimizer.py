"""Gradient steps on all parameters at once: one flat tensor, Adam on it, and averages of what it was.

A network of a dozen small tensors spends more time on calls than on arithmetic. Here the parameters of several modules
become views into one tensor with a row for each member (seeds trained side by side), so that clipping, Adam, averages,
copies and sums over processes are one operation each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lib import checks
from lib._compiled import loops

__all__ = ["EWMA", "Adam", "FlatParameters", "ewma_decay"]


SMALL = 2**20
"""Up to so many parameters a compiled step on one core beats torch's two dozen operations, many times over."""

COMPILED = (torch.float32, torch.float64)


def _compiled():
    return loops("lib.rl._adam_numba", "steps of small networks")


class FlatParameters:
    """Parameters of modules as views into one tensor, with their gradients in another.

    Parameters
    ----------
    modules : sequence of torch.nn.Module
        Their parameters are moved into the flat tensor, in this order; what they compute does not change.
    members : int, optional
        Leading dimension of every parameter; without it there is one row.

    Attributes
    ----------
    data, grad : Tensor, (members or 1, count)

    Raises
    ------
    ValueError
        If the parameters do not share one type and device, or lack the members dimension.

    Examples
    --------
    >>> layer = nn.Linear(3, 2)
    >>> flat = FlatParameters([layer])
    >>> _ = flat.data.fill_(1.0)
    >>> layer(torch.ones(3)).tolist()
    [4.0, 4.0]
    """

    def __init__(self, modules: Sequence[nn.Module], members: int | None = None):
        parameters = list(dict.fromkeys(p for module in modules for p in module.parameters()))
        kinds = {(p.dtype, p.device) for p in parameters}
        if len(kinds) != 1:
            raise ValueError(f"modules must have parameters of one dtype on one device, got {sorted(map(str, kinds))}")
        for p in parameters:
            if members is not None and (p.dim() == 0 or p.shape[0] != members):
                raise ValueError(f"modules must have parameters of {members} members, got shape {tuple(p.shape)}")
        rows = 1 if members is None else members
        self.data = torch.cat([p.detach().reshape(rows, -1) for p in parameters], dim=1)
        self.grad = torch.zeros_like(self.data)
        self.modules, self.parameters = modules, parameters
        sizes = [p.numel() // rows for p in parameters]
        self.places = [grad.view(p.shape) for p, grad in zip(parameters, self.grad.split(sizes, 1))]
        for p, data in zip(parameters, self.data.split(sizes, 1)):
            p.data = data.view(p.shape)

    def places_of(self, module: nn.Module) -> list[Tensor]:
        """Where the gradients of a module's parameters stand in the flat one, in the order of the parameters."""
        places = {id(p): place for p, place in zip(self.parameters, self.places)}
        return [places[id(p)] for p in module.parameters()]

    def require_views(self) -> None:
        """Refuse to go on where the modules no longer show the flat tensor.

        Raises
        ------
        ValueError
            If a parameter was replaced, as by ``.to(...)``, ``.data = ...`` or ``load_state_dict(..., assign=True)``.
        """
        found = dict.fromkeys(p for module in self.modules for p in module.parameters())
        starts = [self.data.data_ptr() + (place.data_ptr() - self.grad.data_ptr()) for place in self.places]
        if [*map(id, found)] != [*map(id, self.parameters)] or [p.data_ptr() for p in found] != starts:
            raise ValueError(
                "modules must keep their parameters while they are trained, but some were replaced: write into them "
                "(load_state_dict, copy_) instead"
            )

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        self.grad.zero_()

    def backward(self, *outputs: Tensor, slopes: Sequence[Tensor | float] | None = None) -> None:
        """Add the gradient of a loss, or of one that has these slopes in its outputs (of their shapes, or numbers).

        Some parameters may have no part in it, and some outputs no gradient. Frozen parameters stay as they are.

        Raises
        ------
        ValueError
            If no output has a gradient.
        """
        if slopes is not None:
            known = [(y, _like(slope, y)) for y, slope in zip(outputs, slopes, strict=True) if y.requires_grad]
            if not known:
                raise ValueError(
                    "policy and value_fn must both have parameters to train, and gradients must not be switched off "
                    "(torch.no_grad): there is no gradient"
                )
            outputs, slopes = zip(*known)
        trained = [(p, place) for p, place in zip(self.parameters, self.places) if p.requires_grad]
        gradients = torch.autograd.grad(outputs, [p for p, _ in trained], slopes, allow_unused=True)
        known = [(place, gradient) for (_, place), gradient in zip(trained, gradients) if gradient is not None]
        torch._foreach_add_(*map(list, zip(*known)))


def _like(slope: Tensor | float, output: Tensor) -> Tensor:
    """Slopes in an output, of its type and shape."""
    slope = slope.to(output.dtype) if isinstance(slope, Tensor) else output.new_tensor(slope)
    return slope.expand_as(output)


class Adam:
    """Adam (Kingma and Ba 2015) with global gradient clipping, for every member on its own.

    Parameters
    ----------
    flat : FlatParameters
    eps : float
        Added to the root of the second moment; PPO's customary value is 1e-5.
    betas : tuple of float
        Decays of the first and the second moment.

    Examples
    --------
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> adam = Adam(FlatParameters([layer]))
    >>> before = layer.weight.item()
    >>> _ = adam.flat.grad.fill_(3.0)
    >>> norm = adam.step(0.1)
    >>> round(before - layer.weight.item(), 4), norm.tolist()
    (0.1, [[3.0]])
    """

    def __init__(self, flat: FlatParameters, eps: float = 1e-5, betas: tuple[float, float] = (0.9, 0.999)):
        self.flat = flat
        self.eps = eps
        self.betas = betas
        self.first = torch.zeros_like(flat.data)
        self.second = torch.zeros_like(flat.data)
        self.count = torch.zeros_like(flat.data[:, :1])

    @torch.no_grad()
    def step(
        self, learning_rate: float | Tensor, max_norm: float | None = None, active: Tensor | None = None
    ) -> Tensor:
        """Take one step and return the norms of the gradients before clipping, (members or 1, 1).

        Parameters
        ----------
        learning_rate : float or Tensor, (members or 1, 1)
        max_norm : float, optional
            Largest norm of a member's gradient; longer ones are shortened to it.
        active : Tensor, (members or 1, 1), optional
            1 where a member takes the step, 0 where it stays as it is, moments included.
        """
        grad = self.flat.grad
        if grad.is_cpu and grad.dtype in COMPILED and grad.numel() <= SMALL and _compiled():
            return self._compiled_step(learning_rate, max_norm, active)
        norm = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
        if max_norm is not None:
            grad.mul_((max_norm / (norm + 1e-6)).clamp_(max=1.0))
        first_weight, second_weight = (1 - beta for beta in self.betas)
        if active is None:
            self.count += 1
            self.first.lerp_(grad, first_weight)
            self.second.lerp_(grad.square_(), second_weight)
        else:
            self.count += active
            self.first.lerp_(grad, first_weight * active)
            self.second.lerp_(grad.square_(), second_weight * active)
            learning_rate = learning_rate * active
        # 1 - beta ** count, without the cancellation of early steps.
        seen = self.count.clamp(min=1)
        first_seen, second_seen = (-torch.expm1(seen * math.log(beta)) for beta in self.betas)
        root = (self.second / second_seen).sqrt_().add_(self.eps)
        self.flat.data.sub_((self.first / root).mul_(learning_rate / first_seen))
        return norm

    def _compiled_step(self, learning_rate: float | Tensor, max_norm: float | None, active: Tensor | None) -> Tensor:
        flat, count = self.flat, self.count
        norm = torch.empty_like(count)
        ones = count.new_ones(()) if active is None else active
        rows = (torch.as_tensor(learning_rate, dtype=count.dtype), ones)
        parts = [part.numpy() for part in (flat.data, flat.grad, self.first, self.second)]
        columns = [part.expand_as(count).numpy()[:, 0] for part in (count, *rows)]
        limit = math.inf if max_norm is None else float(max_norm)
        _compiled().step(*parts, *columns, limit, self.eps, *self.betas, norm.numpy()[:, 0])
        return norm

    def state_dict(self) -> dict[str, Tensor]:
        """Moments and step counts."""
        return {"first": self.first, "second": self.second, "count": self.count}

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Go on from where :meth:`state_dict` stood."""
        for name in ("first", "second", "count"):
            getattr(self, name).copy_(saved[name])


def ewma_decay(center_of_mass: float) -> float:
    """Decay of an exponential moving average that looks back this many steps on average: COM / (COM + 1).

    Examples
    --------
    >>> ewma_decay(99)
    0.99
    """
    center_of_mass = checks.real_number("center_of_mass", center_of_mass, lowest=0)
    return center_of_mass / (center_of_mass + 1)


class EWMA:
    """Exponentially weighted moving average of parameters, bias-corrected.

    After t updates it is (1 - beta) sum_i beta^(t-i) theta_i / (1 - beta^(t+1)), with theta_0 the parameters it was
    made with. Its centre of mass lies beta / (1 - beta) steps back (Hilton, Cobbe and Schulman 2021, section 3).

    Parameters
    ----------
    params : Tensor or iterable of Tensor
    beta : float
        Decay per update, from 0 (keeps only the last) to below 1; see :func:`ewma_decay`.

    Raises
    ------
    ValueError
        If the decay is out of range.

    Examples
    --------
    >>> average = EWMA([torch.tensor([0.0])], 0.5)
    >>> average.update([torch.tensor([3.0])])
    >>> average.average
    [tensor([2.])]
    """

    def __init__(self, params: Tensor | Iterable[Tensor], beta: float):
        self.beta = checks.real_number("beta", beta, lowest=0)
        if self.beta >= 1:
            raise ValueError(f"beta must be below 1, got {beta}")
        self.sums = [p.detach() * (1 - self.beta) for p in _listed(params)]
        self.weights = [torch.full_like(p[..., :1], 1 - self.beta) for p in self.sums]

    @torch.no_grad()
    def update(self, params: Tensor | Iterable[Tensor], active: Tensor | None = None) -> None:
        """Take in the next parameters; where ``active`` is 0 the average stays as it is."""
        share = 1 - self.beta if active is None else (1 - self.beta) * active
        for total, weight, p in zip(self.sums, self.weights, _listed(params), strict=True):
            total.lerp_(p, share)
            weight.lerp_(torch.ones_like(weight), share)

    @property
    def average(self) -> list[Tensor]:
        """The average of each tensor."""
        return [total / weight for total, weight in zip(self.sums, self.weights)]

    def state_dict(self) -> dict[str, Any]:
        """Weighted sums of parameters, and of ones."""
        return {"sums": self.sums, "weights": self.weights}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` stood."""
        self.sums, self.weights = list(saved["sums"]), list(saved["weights"])


def _listed(params: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [params] if isinstance(params, Tensor) else list(params)
