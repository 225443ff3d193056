"""Good arguments of the functions that all chapters share."""

import math

from tests.bad_input.kinds import Call

MODULES = (
    "claims",
    "claims_file",
    "data",
    "device",
    "exercises",
    "figures",
    "glue",
    "results",
)

QUESTION = {"id": ("id", "first"), "question": ("text", "Which one?")}
CHOSEN = {**QUESTION, "options": ("options", ("x", "y")), "answer": ("option", "x")}
CALLS = [
    Call(
        "exercises.Number",
        {
            **QUESTION,
            "answer": ("finite", 1.0),
            "tolerance": ("size", 0.1),
            "unit": ("any text", ""),
            "hints": ("ranges", [(2, math.inf, "Less.")]),
            "otherwise": ("text", "No."),
            "right": ("text", "Yes."),
            "solution": ("text or none", None),
        },
    ),
    Call(
        "exercises.Pick",
        {**CHOSEN, "hints": ("hints", {"y": "No."}), "right": ("text", "Yes."), "solution": ("text or none", None)},
    ),
    Call("exercises.Bet", {**CHOSEN, "reveal": ("text", "It is x.")}),
    Call("data.dataset", {"name": ("name", "gause_paramecium")}),
    Call("data.verify", {"name": ("name", "gause_paramecium")}),
    Call("data.load", {"name": ("name", "gause_paramecium")}),
    Call("device.dtype", {"where": ("device or none", None)}),
    Call("device.generator", {"seed": ("seed", 0), "where": ("device or none", "cpu")}),
    Call("device.scale", {"where": ("device or none", None)}),
    Call("figures.figure", {"title": ("text", "Growth"), "x": ("text", "day"), "y": ("text", "individuals")}),
    Call("glue.glue", {"name": ("glue name", "growth"), "value": ("anything", 1.0)}),
    Call("glue.show", {"name": ("glue name", "growth")}),
    Call("glue.text", {"markdown": ("markdown", "It grows.")}),
    Call("claims.load", {"slug": ("slug", "leslie")}),
    Call("claims.table", {"slug": ("slug", "leslie")}),
    Call("claims_file.load", {"slug": ("slug", "leslie")}),
    Call(
        "results.write",
        {
            "slug": ("slug to write", "demo"),
            "run": ("slug to write", "run"),
            "values": ("values", {"share": 0.5}),
            "device": ("sentence", "CPU"),
            "command": ("sentence", "make"),
            "seconds": ("duration", 1.0),
            "seeds": ("seeds", [0]),
            "commit": ("sentence or none", "3f2a9c1"),
            "date": ("date", None),
        },
    ),
]

# Tested where they live, with the files or environments they read; or nothing can be wrong about their arguments.
ELSEWHERE = {
    "claims.agreement": "tests/test_claims.py",
    "claims.check": "tests/test_claims.py",
    "claims.judge": "tests/test_claims.py",
    "claims.measured_elsewhere": "tests/test_claims.py",
    "results.measured_elsewhere": "tests/test_claims.py",
    "results.shipped": "a path that need not exist",
    "device.device": "tests/test_device.py",
    "exercises.judge": "takes whatever a reader gives: tests/live/test_exercises.py",
    **{
        f"figures.{role}": "free text and Plotly's own settings"
        for role in ["model", "observed", "paper", "rival", "theory"]
    },
}
