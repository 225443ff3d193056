"""Good arguments of the functions of the chapter on Leslie populations."""

import torch

from tests.bad_input.kinds import Call

MODULES = (
    "competition",
    "competition_ensemble",
    "hamiltonian",
    "leslie",
    "leslie_fit",
    "leslie_gower",
    "lotka_volterra",
    "projection",
)

ONE = [[1.0]]
FEW = [[0.1]]
T = torch.ones(1, 1, dtype=torch.float64)
BLOCKS = {"A": ("rates", ONE), "B": ("rates", FEW), "C": ("rates", ONE), "D": ("rates", FEW)}
PAIR = {"A": ("rates", ONE), "B": ("rates", FEW)}
START = {"x0": ("counts", [2.0]), "y0": ("counts", [1.0])}
AGES = {"ages_x": ("counts", [1.0]), "ages_y": ("counts", [1.0])}
COUNTS = torch.full((3, 2, 26), 5.0, dtype=torch.float64)
PRESENT = torch.ones(3, 2, dtype=torch.bool)
FIT = {
    "counts": ("experiments", COUNTS),
    "present": ("present", PRESENT),
    "m": ("number", 1),
    "founders": ("above zero", 2.0),
    "train_days": ("number", 21),
    "steps": ("number", 1),
    "learning_rate": ("above zero", 0.05),
    "seed": ("seed", 0),
    "restarts": ("number or none", None),
    "progress": ("progress", None),
}
MODEL = {
    "m": ("number", 1),
    "restarts": ("number or none", None),
    "generator": ("generator or none", None),
    "dtype": ("floating", torch.float64),
}
CALLS = [
    Call("projection.leslie_matrix", {"fecundity": ("vector", [0.0, 4.0]), "survival": ("vector", [0.5])}),
    Call("projection.block_matrix", {**BLOCKS, "kind": ("kind", "competition")}),
    Call(
        "projection.evolve",
        {
            "M": ("matrix", ONE),
            "z0": ("vector", [1.0]),
            "steps": ("steps", 2),
            "clip": ("flag", True),
            "species": ("number", 1),
        },
    ),
    Call(
        "projection.evolve_normalised",
        {
            "M": ("matrix", ONE),
            "z0": ("vector", [1.0]),
            "steps": ("steps", 2),
            "clip": ("flag", True),
            "species": ("number", 1),
        },
    ),
    Call("projection.growth_factor", {"L": ("matrix", ONE)}),
    Call("projection.eigenvalues", {"L": ("matrix", ONE)}),
    Call("projection.net_reproduction", {"L": ("rates", ONE)}),
    Call("projection.stable_age_distribution", {"L": ("rates", ONE)}),
    Call("projection.leading_projector", {"N": ("rates", ONE)}),
    Call("leslie.evolve_complex", {**PAIR, "x0": ("vector", [1.0]), "y0": ("vector", [1.0]), "steps": ("steps", 2)}),
    Call("leslie.binomial_form", {**PAIR, "x0": ("vector", [1.0]), "y0": ("vector", [1.0]), "steps": ("steps", 2)}),
    Call("leslie.perturbed_growth", {**PAIR, "order": ("order", 2)}),
    Call("leslie.rotation_angle", PAIR),
    Call("leslie.extinction_step", {**PAIR, **START}),
    Call("competition.mirror_matrix", BLOCKS),
    Call("competition.standing_margin", {**BLOCKS, **START}),
    Call("competition.last_species_standing", {**BLOCKS, **START}),
    Call("competition.tie_ratio", {**BLOCKS, **AGES}),
    Call(
        "competition.winner_map",
        {
            **BLOCKS,
            "x_totals": ("row", [1.0, 2.0]),
            "y_totals": ("row", [1.0]),
            **AGES,
            "steps": ("number", 3),
            "clip": ("flag", False),
        },
    ),
    Call(
        "competition_ensemble.random_competition",
        {
            "systems": ("number", 1),
            "classes": ("number", 1),
            "generator": ("generator", torch.Generator()),
            "dtype": ("floating", torch.float64),
        },
    ),
    Call(
        "competition_ensemble.march",
        {
            "M": ("matrix", [ONE]),
            "z0": ("vector", [[1.0]]),
            "steps": ("steps", 2),
            "clip": ("flag", False),
            "chunk": ("number or none", None),
            "progress": ("progress", None),
        },
    ),
    Call(
        "competition_ensemble.standing_ensemble",
        {
            "systems": ("number", 2),
            "classes": ("number", 1),
            "steps": ("number", 3),
            "seed": ("seed", 0),
            "device": ("device", "cpu"),
            "dtype": ("floating", torch.float32),
            "chunk": ("number or none", None),
            "bins": ("number", 2),
            "progress": ("progress", None),
        },
    ),
    Call(
        "leslie_gower.beverton_holt",
        {
            "fecundity": ("positive", 2.0),
            "crowding": ("positive", 0.1),
            "founders": ("positive", 2.0),
            "steps": ("reals", 3),
        },
    ),
    Call(
        "leslie_gower.leslie_gower_totals",
        {
            "fecundity": ("tensor", T),
            "survival": ("tensor", T[:, :0]),
            "crowding": ("tensor", T),
            "start": ("tensor", T[None]),
            "steps": ("steps", 2),
        },
    ),
    Call(
        "leslie_gower.linear_competition_totals",
        {
            "fecundity": ("tensor", T.expand(2, 1)),
            "survival": ("tensor", T.expand(2, 1)[:, :0]),
            "harm": ("tensor", T.expand(2, 1, 1)),
            "start": ("tensor", T.expand(1, 2, 1)),
            "steps": ("steps", 2),
        },
    ),
    Call("leslie_gower.LeslieGower", {**MODEL, "species": ("number", 2)}),
    Call("leslie_gower.LinearCompetition", MODEL),
    Call("leslie_fit.fit_leslie_gower", FIT),
    Call("leslie_fit.fit_linear_competition", FIT),
    Call(
        "leslie_fit.log_rmse",
        {"totals": ("tensor", COUNTS), "counts": ("tensor", COUNTS), "used": ("tensor", COUNTS > 0)},
    ),
    Call(
        "lotka_volterra.logistic",
        {
            "growth_rate": ("real", 0.5),
            "capacity": ("above zero", 9.0),
            "founders": ("above zero", 2.0),
            "days": ("reals", [0.0]),
        },
    ),
    Call(
        "lotka_volterra.fit_logistic",
        {"counts": ("table", [2.0, 4.0, 6.0, 7.0]), "founders": ("above zero", 2.0)},
    ),
    Call(
        "lotka_volterra.lotka_volterra",
        {
            "growth_rate": ("vector", [0.5]),
            "capacity": ("counts", [9.0]),
            "competition": ("rates", [[1.0]]),
            "initial": ("counts", [2.0]),
            "days": ("row", [0.0, 1.0]),
        },
    ),
    Call(
        "lotka_volterra.fit_lotka_volterra",
        {
            "counts": ("table", COUNTS.numpy()),
            "present": ("who", PRESENT.numpy()),
            "founders": ("above zero", 2.0),
            "train_days": ("number", 21),
        },
    ),
    Call("hamiltonian.hamiltonian", {"L": ("matrix", ONE)}),
    Call(
        "hamiltonian.two_class_hamiltonian",
        {"fecundity": ("counts", [1.0, 2.0]), "survival": ("counts", [0.5])},
    ),
    Call(
        "hamiltonian.fractional_steps",
        {
            "fecundity": ("counts", [1.0, 2.0]),
            "survival": ("counts", [0.5]),
            "x0": ("vector", [1.0, 1.0]),
            "times": ("row", [1.0]),
        },
    ),
    Call("hamiltonian.hermitian_parts", {"H": ("complex matrix", torch.eye(2))}),
    Call("hamiltonian.occupations", {"cutoff": ("number", 2)}),
    Call("hamiltonian.fock_lift", {"H": ("complex matrix", torch.eye(2)), "cutoff": ("number", 2)}),
]

# Nothing can be wrong about their arguments.
ELSEWHERE = {
    "leslie_fit.gause_paramecium": "no argument",
}
