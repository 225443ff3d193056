"""Stochastic discrete lot sizing: which item does each machine make next, before the demand is known?

A step has two halves. The decision changes set-ups and stock in a known way (:meth:`LotSizing.post_decision`); then
demand comes and chance decides (:meth:`LotSizing.realise`). The state in between is the post-decision state.

Source: L. K. Felizardo, E. Fadda, P. Brandimarte, E. Del-Moral-Hernandez and M. C. V. Nascimento, "A reinforcement
learning method for environments with stochastic variables", arXiv:2504.05150 (2025). Two things differ from the code
released with it: a set-up never loses more than what the machine makes, so that stock cannot become negative, and the
demand may follow any law on 0, 1, 2, ...
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch

from lib import checks
from lib.rl import _tables
from lib.rl.envs.vec_env import VecEnv
from lib.rl.spaces import Box, MultiDiscrete

__all__ = ["LotSizing", "LotSizingSpec", "binomial_demand", "random_lot_sizing"]


def binomial_demand(trials: int, chance: float) -> torch.Tensor:
    """Probabilities of the demands 0 .. trials when each of ``trials`` customers comes with the same chance.

    Parameters
    ----------
    trials : int
        At least 1.
    chance : float
        From 0 to 1.

    Returns
    -------
    Tensor, (trials + 1,)
        float64.

    Examples
    --------
    >>> binomial_demand(2, 0.5)
    tensor([0.2500, 0.5000, 0.2500], dtype=torch.float64)
    """
    trials = checks.integer("trials", trials, lowest=1)
    chance = checks.real_number("chance", chance, lowest=0, highest=1)
    law = [math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(trials + 1)]
    return torch.tensor(law, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class LotSizingSpec:
    """I items, M machines, and what everything costs. Tensors are kept as float64 on the CPU.

    Parameters
    ----------
    production : array, (M, I)
        Units of an item that a machine makes in a step.
    setup_cost : array, (M, I)
        Cost of setting a machine up for an item that it was not set up for.
    setup_loss : array, (M, I), or number
        Units lost by that; never more than are made.
    holding : array, (I,), or number
        Cost of a unit in stock after the demand, per step.
    lost_sales : array, (I,), or number
        Cost of a unit of demand that is not met.
    capacity : array, (I,), or number
        Largest stock after the demand, at least 1; what is over is lost without cost.
    demand : array, (I, D) or (D,)
        Probabilities of the demands 0 .. D - 1 of each item, or of all; see :func:`binomial_demand`.
    initial_stock : int
        Episodes start with 0 .. initial_stock units of each item, all equally likely; at most the smallest capacity.
    random_setups : bool
        Whether machines start set up for anything, or idle, with equal chances; all are idle otherwise.

    Raises
    ------
    ValueError
        If shapes do not fit each other, a cost or amount is negative, a unit is not whole, or probabilities do not sum
        to 1.

    Examples
    --------
    >>> spec = LotSizingSpec([[2, 2]], [[1, 1]], 1, 0.1, 2, 3, [0.5, 0.5])
    >>> spec.items, spec.machines, spec.demand.shape
    (2, 1, torch.Size([2, 2]))
    """

    production: torch.Tensor
    setup_cost: torch.Tensor
    setup_loss: torch.Tensor
    holding: torch.Tensor
    lost_sales: torch.Tensor
    capacity: torch.Tensor
    demand: torch.Tensor
    initial_stock: int = 0
    random_setups: bool = False

    def __post_init__(self):
        names = ("production", "setup_cost", "setup_loss", "holding", "lost_sales", "capacity", "demand")
        read = {name: checks.tensors(**{name: getattr(self, name)})[0].detach().cpu().double() for name in names}
        if read["production"].dim() != 2 or not read["production"].numel():
            raise ValueError(f"production must have shape (M, I), got {tuple(read['production'].shape)}")
        machines, items = read["production"].shape
        shapes = {name: (machines, items) if name.startswith("setup") else (items,) for name in names[1:-1]}
        for name, wanted in shapes.items():
            if read[name].shape != wanted and (read[name].dim() or name == "setup_cost"):
                number = "" if name == "setup_cost" else " or be a number"
                raise ValueError(f"{name} must have shape {wanted}{number}, got {tuple(read[name].shape)}")
            read[name] = read[name].expand(wanted).clone()
        for name in names[:-1]:
            checks.require(read[name] >= 0, f"{name} must be at least 0", read[name])
        for name in ("production", "setup_loss", "capacity"):
            checks.require(read[name] == read[name].round(), f"{name} must be whole units", read[name])
        law = read["demand"]
        if law.dim() not in (1, 2) or not law.numel() or law.shape[:-1] not in ((), (items,)):
            raise ValueError(f"demand must have shape (D,) or ({items}, D), got {tuple(law.shape)}")
        _tables.check_chances("demand", law)
        read["demand"] = law.expand(items, law.shape[-1]).clone()
        checks.require(read["capacity"] >= 1, "capacity must be at least 1", read["capacity"])
        checks.integer("initial_stock", self.initial_stock, lowest=0, highest=int(read["capacity"].min()))
        checks.flag("random_setups", self.random_setups)
        for name, value in read.items():
            object.__setattr__(self, name, value)

    @property
    def machines(self) -> int:
        """Number of machines, M."""
        return self.production.shape[0]

    @property
    def items(self) -> int:
        """Number of items, I."""
        return self.production.shape[1]

    def post_decision(
        self, inventory: torch.Tensor, setup: torch.Tensor, action: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Set machines up and make items: see :meth:`LotSizing.post_decision`."""
        constants = _constants(self, inventory.device, inventory.dtype)
        chosen = action.long()
        setup, chosen = torch.broadcast_tensors(setup, chosen)
        made, cost, loss = (_at(table, chosen) for table in (constants.production, constants.cost, constants.loss))
        switched = (chosen != setup).to(inventory.dtype)
        made = (made - loss * switched).clamp(min=0)
        gained = made.new_zeros(*made.shape[:-1], self.items + 1).scatter_add(-1, chosen, made)
        return inventory + gained[..., 1:], chosen.to(setup.dtype), -(cost * switched).sum(-1)

    def realise(self, inventory: torch.Tensor, demand: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Meet the demand and pay for what is left and what is missing: see :meth:`LotSizing.realise`."""
        constants = _constants(self, inventory.device, inventory.dtype)
        left = inventory - demand
        stock = left.clamp(min=0).minimum(constants.capacity)
        missing = (-left).clamp(min=0)
        return stock, -(constants.holding * stock + constants.lost_sales * missing).sum(-1)


class _Constants(NamedTuple):
    """The numbers of a spec on one device; tables of machines begin with a column for the idle machine."""

    production: torch.Tensor
    cost: torch.Tensor
    loss: torch.Tensor
    holding: torch.Tensor
    lost_sales: torch.Tensor
    capacity: torch.Tensor
    steps: torch.Tensor
    """Cumulated probabilities of the demands."""


@lru_cache(maxsize=64)
def _constants(spec: LotSizingSpec, device: torch.device, dtype: torch.dtype) -> _Constants:
    """Move the numbers of a spec to a device, once."""
    tables = [torch.nn.functional.pad(table, (1, 0)) for table in (spec.production, spec.setup_cost, spec.setup_loss)]
    parts = (*tables, spec.holding, spec.lost_sales, spec.capacity, _tables.cumulative(spec.demand))
    return _Constants(*(part.to(device=device, dtype=dtype) for part in parts))


def _at(table: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Entries (..., M) of a table (M, I + 1) at one choice for each machine."""
    return table.expand(*chosen.shape[:-1], *table.shape).gather(-1, chosen[..., None])[..., 0]


SMALL = LotSizingSpec(
    production=[[4, 3, 0, 2], [0, 3, 4, 3]],
    setup_cost=[[1, 2, 2, 1], [2, 1, 1, 2]],
    setup_loss=1,
    holding=0.1,
    lost_sales=[2, 1, 2, 1],
    capacity=10,
    demand=binomial_demand(3, 0.4),
    initial_stock=5,
    random_setups=True,
)


class LotSizing(VecEnv):
    """Machines that make items for stock, while demand is random.

    State and observation: the I stocks, then the M set-ups, (n, I + M): 0 for an idle machine, i for item i. Actions:
    (n, M), for each machine 0 (idle) or the item that it makes. Restarting an idle machine needs a set-up. The reward
    is minus the costs of set-ups, of stock and of lost sales. Episodes never terminate; they are cut after 100 steps.

    Examples
    --------
    >>> env = LotSizing(3, seed=1)
    >>> env.reset().shape, env.action_space
    (torch.Size([3, 6]), MultiDiscrete(sizes=(5, 5)))
    >>> env.step(torch.tensor([[0, 0], [1, 3], [4, 4]])).reward.shape
    torch.Size([3])
    """

    max_steps = 100
    default_params = SMALL
    stochastic = True

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        spec = self.params
        highest = (*spec.capacity.tolist(), *(float(spec.items),) * spec.machines)
        self.observation_space = Box(0.0, highest, shape=(spec.items + spec.machines,))
        self.action_space = MultiDiscrete((spec.items + 1,) * spec.machines)

    def post_decision(
        self, inventory: torch.Tensor, setup: torch.Tensor, action: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What a decision does for certain; draws no random numbers.

        Parameters
        ----------
        inventory : Tensor, (..., I)
            Stocks, in a floating type.
        setup : Tensor, (..., M)
            What machines are set up for; 0 is idle.
        action : Tensor, (..., M)
            What they are to make; 0 is idle.

        Returns
        -------
        inventory_x : Tensor, (..., I)
            Stocks with what was made; capacity does not bind before the demand.
        setup_x : Tensor, (..., M)
        r_det : Tensor, (...)
            Minus the set-up costs.

        Raises
        ------
        ValueError
            If a shape does not fit, or an action or set-up is not from 0 to I.

        Examples
        --------
        >>> stock, setup, reward = LotSizing(1).post_decision(torch.zeros(4), torch.zeros(2), torch.tensor([1, 0]))
        >>> stock, setup, reward
        (tensor([3., 0., 0., 0.]), tensor([1., 0.]), tensor(-1.))
        """
        spec = self.params
        (inventory,) = checks.tensors(inventory=inventory)
        checks.shape("inventory", inventory, spec.items)
        for name, value in (("setup", setup), ("action", action)):
            (number,) = checks.tensors(**{name: value})
            checks.shape(name, number, spec.machines)
            whole = (number >= 0) & (number <= spec.items) & (number == number.round())
            checks.require(whole, f"{name} must be whole numbers from 0 to {spec.items}", number)
        setup, action = torch.as_tensor(setup), torch.as_tensor(action)
        checks.batch(inventory=inventory.shape[:-1], setup=setup.shape[:-1], action=action.shape[:-1])
        return spec.post_decision(inventory, setup, action)

    def realise(self, inventory_x: torch.Tensor, demand: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the demand does to stocks.

        Parameters
        ----------
        inventory_x : Tensor, (..., I)
            Stocks after the decision, in a floating type.
        demand : Tensor, (..., I)
            Units asked for.

        Returns
        -------
        inventory : Tensor, (..., I)
            From 0 to the capacity.
        r_sto : Tensor, (...)
            Minus the costs of holding stock and of lost sales.

        Raises
        ------
        ValueError
            If a shape does not fit or a demand is negative.

        Examples
        --------
        >>> LotSizing(1).realise(torch.tensor([3.0, 0, 0, 0]), torch.tensor([1.0, 1, 0, 0]))
        (tensor([2., 0., 0., 0.]), tensor(-1.2000))
        """
        inventory_x, demand = checks.tensors(inventory_x=inventory_x, demand=demand)
        checks.shape("inventory_x", inventory_x, self.params.items)
        checks.shape("demand", demand, self.params.items)
        checks.require(demand >= 0, "demand must be at least 0", demand)
        checks.batch(inventory_x=inventory_x.shape[:-1], demand=demand.shape[:-1])
        return self.params.realise(inventory_x, demand)

    def draw_demand(
        self, batch: Sequence[int], generator: torch.Generator, params: LotSizingSpec | None = None
    ) -> torch.Tensor:
        """Draw the demands of all items: (batch, I)."""
        spec = self.params if params is None else params
        source = checks.generator("generator", generator)
        size = (spec.items, math.prod(batch))
        drawn = torch.rand(size, generator=source, dtype=self.dtype, device=self.device)
        steps = _constants(spec, self.device, self.dtype).steps
        return torch.searchsorted(steps, drawn, right=True).to(self.dtype).T.reshape(*batch, spec.items)

    def initial(self, n, generator, params=None):
        """Draw n first states."""
        spec = self.params if params is None else params
        source = checks.generator("generator", generator)
        stock = torch.randint(spec.initial_stock + 1, (spec.items, n), generator=source, device=self.device)
        if spec.random_setups:
            setup = torch.randint(spec.items + 1, (spec.machines, n), generator=source, device=self.device)
        else:
            setup = torch.zeros(spec.machines, n, device=self.device)
        return torch.cat([stock.to(self.dtype), setup.to(self.dtype)]).movedim(0, -1)

    def dynamics(self, state, action, params=None, generator=None):
        """Decide, then meet the demand: (next_state, reward, terminated)."""
        spec = self.params if params is None else params
        inventory, setup = state[..., : spec.items], state[..., spec.items :]
        inventory, setup, r_det = spec.post_decision(inventory, setup, action)
        inventory, r_sto = spec.realise(inventory, self.draw_demand(inventory.shape[:-1], generator, spec))
        reward = r_det + r_sto
        return torch.cat([inventory, setup], dim=-1), reward, torch.zeros_like(reward, dtype=torch.bool)


def random_lot_sizing(items: int, machines: int, generator: torch.Generator) -> LotSizingSpec:
    """Draw a large instance as the source's generator does.

    A machine makes nothing of an item with probability 0.4 and else 1 to 40 units; stocks hold 100 units and start with
    0 to 50; holding costs 0.01, a lost sale 0.1 to 0.3, a set-up 15 to 30 and 1 to 3 units; demands are binomial (20,
    0.4).

    Parameters
    ----------
    items, machines : int
        At least 1; the source has 25 items and 15 machines, among others.
    generator : torch.Generator

    Returns
    -------
    LotSizingSpec

    Examples
    --------
    >>> random_lot_sizing(25, 15, torch.Generator().manual_seed(0)).production.shape
    torch.Size([15, 25])
    """
    size = (checks.integer("machines", machines, lowest=1), checks.integer("items", items, lowest=1))
    source = checks.generator("generator", generator)
    uniform = [torch.rand(shape, generator=source, dtype=torch.float64) for shape in (size, size, size[1:])]
    amount = torch.randint(1, 41, size, generator=source)
    loss = torch.randint(1, 4, size, generator=source)
    return LotSizingSpec(
        production=torch.where(uniform[0] < 0.4, 0, amount),
        setup_cost=15 + 15 * uniform[1],
        setup_loss=loss,
        holding=0.01,
        lost_sales=0.1 + 0.2 * uniform[2],
        capacity=100,
        demand=binomial_demand(20, 0.4),
        initial_stock=50,
        random_setups=True,
    )
