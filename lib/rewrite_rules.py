"""Rules that rewrite hypergraphs: what an event consumes and what it creates, with variables for nodes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lib import checks

__all__ = ["RewriteRule"]

SIDE = re.compile(r"\s*\{[^{}]*\}\s*(,\s*\{[^{}]*\}\s*)*")


@dataclass(frozen=True)
class RewriteRule:
    """What an event consumes and creates, as tuples of variable names.

    Parameters
    ----------
    left, right : tuple of tuple of str
        Hyperedges with variables; equal names stand for equal nodes. Variables that stand only on the right become
        fresh nodes.

    Raises
    ------
    ValueError
        If the left side is empty, or a hyperedge is not a tuple of names.

    Examples
    --------
    >>> RewriteRule.parse("{x,y} -> {x,z}, {z,y}").fresh
    ('z',)
    """

    left: tuple[tuple[str, ...], ...]
    right: tuple[tuple[str, ...], ...]

    def __post_init__(self):
        for name in ("left", "right"):
            side = getattr(self, name)
            names = isinstance(side, tuple) and all(
                isinstance(edge, tuple) and edge and all(isinstance(node, str) and node for node in edge)
                for edge in side
            )
            if not names:
                raise ValueError(f"{name} must be a tuple of tuples of variable names, got {checks.describe(side)}")
        if not self.left:
            raise ValueError("left must hold at least one hyperedge, got none")

    @classmethod
    def parse(cls, text: str) -> RewriteRule:
        """Read a rule from text such as ``"{x,y},{y,z} -> {x,z}"``; the right side may be empty.

        Parameters
        ----------
        text : str

        Returns
        -------
        RewriteRule

        Raises
        ------
        ValueError
            If the text is not two lists of hyperedges in braces around an arrow.

        Examples
        --------
        >>> print(RewriteRule.parse("{x, y} -> {y, x}"))
        {x,y} -> {y,x}
        """
        problem = f"rule must be text such as '{{x,y}} -> {{x,z}},{{z,y}}', got {checks.describe(text)}"
        if not isinstance(text, str) or text.count("->") != 1:
            raise ValueError(problem)
        left, right = text.split("->")
        if not SIDE.fullmatch(left) or (right.strip() and not SIDE.fullmatch(right)):
            raise ValueError(problem)
        sides = []
        for side in (left, right):
            edges = [re.split(r"\s*,\s*", inner.strip()) for inner in re.findall(r"\{([^{}]*)\}", side)]
            if not all(re.fullmatch(r"\w+", node) for edge in edges for node in edge):
                raise ValueError(problem)
            sides.append(tuple(tuple(edge) for edge in edges))
        return cls(*sides)

    @property
    def fresh(self) -> tuple[str, ...]:
        """Variables that stand only on the right, in order of appearance."""
        known = {node for edge in self.left for node in edge}
        return tuple(dict.fromkeys(node for edge in self.right for node in edge if node not in known))

    def __str__(self) -> str:
        left, right = (",".join("{" + ",".join(edge) + "}" for edge in side) for side in (self.left, self.right))
        return f"{left} -> {right}"


def read_rule(rule: RewriteRule | str) -> RewriteRule:
    return rule if isinstance(rule, RewriteRule) else RewriteRule.parse(rule)


def bind(pattern: tuple[str, ...], edge: tuple[int, ...], binding: dict) -> dict | None:
    """The binding with the variables of a pattern added; None if the hyperedge does not fit."""
    if len(pattern) != len(edge):
        return None
    bound = dict(binding)
    for variable, node in zip(pattern, edge, strict=True):
        if bound.setdefault(variable, node) != node:
            return None
    return bound


def check_edges(edges) -> list[tuple[int, ...]]:
    problem = f"edges must be sequences of nodes, integers of at least 0, got {checks.describe(edges)}"
    if isinstance(edges, (str, dict)) or not isinstance(edges, Sequence):
        raise ValueError(problem)
    read = []
    for edge in edges:
        if isinstance(edge, str) or not isinstance(edge, Sequence) or not edge:
            raise ValueError(problem)
        if not all(isinstance(node, int) and not isinstance(node, bool) and node >= 0 for node in edge):
            raise ValueError(problem)
        read.append(tuple(edge))
    return read
