"""Good arguments of the choice between backends of the scan."""

import torch

from lib.ssm import _chunks_autograd
from tests.bad_input.kinds import KINDS, Call

MODULES = ("ssm.backends",)

KINDS |= {
    "backend": ("cuda", None, 1, ["auto"], True),
    "kernel": (None, 3, "triton"),
    "floating type of a scan": (torch.int64, torch.bool, "float32", None, 32),
}


def core(*arguments, resets):
    return _chunks_autograd.chunk_scan(*arguments, 16)


INPUTS = {
    "device": ("device", "cpu"),
    "dtype": ("floating type of a scan", torch.float32),
    "N": ("number", 4),
    "P": ("number", 2),
    "ranks": ("number", 1),
    "resets": ("flag", True),
}
CALLS = [
    Call("ssm.backends.choose", {"backend": ("backend", "auto"), **INPUTS}),
    Call("ssm.backends.disagreement", {"core": ("kernel", core), **INPUTS}),
]

ELSEWHERE = {"ssm.backends.chunk_scan": "takes what lib.ssm.scan has checked: tests/ssm/test_backends.py"}
