"""Good regulators by brute force: the policies that leave an outcome with the least entropy.

A disturbance s with probabilities p(s) and a response r of the regulator give the outcome z = psi(s, r). Conant and
Ashby: among the regulators with the least entropy H(Z) there is one whose response is a function of the disturbance,
because H(Z) is concave in the policy.

Source: R. C. Conant and W. R. Ashby, International Journal of Systems Science 1 (1970) 89.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib import checks
from lib.fisher_rao import distributions

__all__ = ["optimal_regulators", "outcome_entropy"]

LARGEST = 2_000_000
BLOCK = 65_536
# Entropies closer than this (nats) count as equal.
TIE = 1e-12


def outcome_entropy(psi, p_s, policy) -> Tensor:
    """Entropy of the outcome under a policy that may be random.

    Parameters
    ----------
    psi : array_like of int, (disturbances, responses)
        Outcome, integers of at least 0.
    p_s : array_like, (disturbances,)
        Probability of each disturbance.
    policy : array_like, (..., disturbances, responses)
        Probability of each response to each disturbance.

    Returns
    -------
    Tensor, (...)
        In nats.

    Raises
    ------
    ValueError
        If the shapes do not fit, an outcome is no integer of at least 0, or probabilities do not sum to 1.

    Examples
    --------
    >>> round(float(outcome_entropy([[0, 1], [1, 0]], [0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]])), 6)
    0.693147
    """
    psi, p_s = _check_problem(psi, p_s)
    (policy,) = checks.tensors(policy=policy)
    checks.shape("policy", policy, *psi.shape)
    distributions(policy=policy)
    outcomes = torch.nn.functional.one_hot(psi).to(policy)
    return _entropy(torch.einsum("s,...sr,srz->...z", p_s.to(policy), policy, outcomes))


def optimal_regulators(psi, p_s) -> tuple[float, list[tuple[int, ...]]]:
    """Find every deterministic policy with the least entropy of the outcome, by trying all of them.

    Parameters
    ----------
    psi : array_like of int, (disturbances, responses)
        Outcome, integers of at least 0.
    p_s : array_like, (disturbances,)
        Probability of each disturbance.

    Returns
    -------
    entropy : float
        In nats.
    policies : list of tuple of int
        For each, the response to every disturbance.

    Raises
    ------
    ValueError
        As :func:`outcome_entropy`, and if there are more than two million policies.

    Examples
    --------
    >>> optimal_regulators([[0, 1], [1, 0]], [0.5, 0.5])
    (0.0, [(0, 1), (1, 0)])
    """
    psi, p_s = _check_problem(psi, p_s)
    disturbances, responses = psi.shape
    count = responses**disturbances
    if count > LARGEST:
        raise ValueError(f"psi must allow at most {LARGEST} policies, got {responses}^{disturbances} = {count}")
    outcomes = int(psi.max()) + 1
    places = torch.arange(disturbances, device=psi.device)
    powers = responses ** places.flip(0)
    best, policies = float("inf"), []
    for block in torch.arange(count, device=psi.device).split(BLOCK):
        answers = block[:, None] // powers % responses
        reached = psi[places, answers]
        p = p_s.new_zeros(len(block), outcomes).scatter_add(1, reached, p_s.expand(len(block), disturbances))
        entropies = _entropy(p)
        lowest = float(entropies.min())
        if lowest < best - TIE:
            policies = []
        best = min(best, lowest)
        policies += [tuple(row) for row in answers[entropies <= best + TIE].tolist()]
    return best, policies


def _entropy(p: Tensor) -> Tensor:
    return (0 - torch.xlogy(p, p).sum(dim=-1)).clamp(min=0)  # rounding may leave -1e-16 of a sure outcome


def _check_problem(psi, p_s) -> tuple[Tensor, Tensor]:
    table, p_s = checks.tensors(psi=psi, p_s=p_s)
    if table.dim() != 2 or 0 in table.shape:
        raise ValueError(f"psi must have shape (disturbances, responses), got {tuple(table.shape)}")
    checks.require((table >= 0) & (table == table.round()), "psi must be integers of at least 0", table)
    if p_s.shape != table.shape[:1]:
        raise ValueError(f"p_s must have shape ({len(table)},), one per disturbance, got {tuple(p_s.shape)}")
    distributions(p_s=p_s)
    # Outcomes are only told apart; numbered without gaps they take no more room than there are of them.
    return table.unique(return_inverse=True)[1], p_s
