"""Bad input of every public function: the message names the argument, says what came and what is allowed.

Each function stands once in a table of ``tests/bad_input`` with good arguments, and each argument with its kind. Every
bad value of the kind is then put in the argument's place.
"""

import importlib
import inspect
import pkgutil
import re

import pytest
import torch

import lib
from tests import bad_input
from tests.bad_input.kinds import KINDS, Kinds

TABLES = [
    importlib.import_module(f"tests.bad_input.{found.name}")
    for found in pkgutil.iter_modules(bad_input.__path__)
    if found.name != "kinds"
]
MODULES = sorted(name for table in TABLES for name in table.MODULES)
CALLS = [call for table in TABLES for call in table.CALLS]
ELSEWHERE = {name: reason for table in TABLES for name, reason in table.ELSEWHERE.items()}

# Modules that are called by others with arguments those have checked.
NO_TABLE = {"checks": "tests/test_checks.py", "claims_table": "tests/test_claims.py"}

# Packages that make the book, with tests of their own: tests/live, tests/site.
MAKING = ("live", "site")


def modules_below(path, prefix=""):
    """Public modules of `lib` and of its packages, as ``module`` or ``package.module``."""
    for found in pkgutil.iter_modules(path):
        if found.ispkg and found.name not in MAKING:
            package = importlib.import_module(f"lib.{prefix}{found.name}")
            yield from modules_below(package.__path__, f"{prefix}{found.name}.")
        elif not found.ispkg and found.name[0] != "_":
            yield prefix + found.name


def test_every_module_stands_in_one_table():
    assert sorted(set(modules_below(lib.__path__)) - set(NO_TABLE)) == MODULES


def test_a_kind_is_defined_once():
    """A second definition would change, without a word, what the first table refuses."""
    kinds = Kinds({"size": (0,)})
    kinds |= {"width": (1,)}
    assert kinds == {"size": (0,), "width": (1,)}
    with pytest.raises(ValueError, match="kinds must have names of their own, got size, width a second time"):
        kinds |= {"width": (1,), "size": (2,), "height": (3,)}
    assert "height" not in kinds


def public_functions():
    """Functions, models and questions that the modules define themselves, as ``module.name``."""
    for module in MODULES:
        contents = importlib.import_module(f"lib.{module}")
        for name in contents.__all__:
            value = getattr(contents, name)
            model = inspect.isclass(value) and (issubclass(value, torch.nn.Module) or hasattr(value, "check"))
            if (inspect.isfunction(value) or model) and value.__module__ == contents.__name__:
                yield f"{module}.{name}"


@pytest.mark.parametrize("function", public_functions())
def test_every_public_function_stands_in_the_table(function):
    assert function in {call.function for call in CALLS} | set(ELSEWHERE)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.function)
def test_the_message_names_the_argument(call, tmp_path, monkeypatch):
    if call.function == "results.write":
        monkeypatch.setenv("LIVING_MODELS_ROOT", str(tmp_path))
    if call.function == "glue.show":
        monkeypatch.setattr("IPython.display.display", lambda value: None)
        importlib.import_module("lib.glue").glue("growth", 1.0)
    call()  # the arguments of the table are good
    written = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    silent, unclear = [], []
    for name, (kind, _) in call.arguments.items():
        for bad in KINDS[kind]:
            try:
                call(**{name: bad})
            except ValueError as error:
                if not re.search(rf"\b{name}\b", str(error)):
                    unclear.append(f"{name} = {bad!r}: {error}")
            except Exception as error:
                unclear.append(f"{name} = {bad!r}: {type(error).__name__} {error}")
            else:
                silent.append(f"{name} = {bad!r}")
    assert silent == []
    assert unclear == []
    assert written == {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
