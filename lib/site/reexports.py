"""References to a function by the name readers import it under, where the API page describes it in its home module.

`lib.leslie.evolve` is what a chapter calls; the function lives, and is described once, in `lib.projection`.
"""

from __future__ import annotations

from importlib import import_module

__all__ = ["home", "setup"]


def home(name: str) -> str:
    """Full name of an object in the module that defines it.

    Parameters
    ----------
    name : str
        Such as ``"lib.leslie.evolve"``.

    Returns
    -------
    str
        The same name if nothing else is known.

    Examples
    --------
    >>> home("lib.leslie.evolve"), home("lib.leslie.nothing")
    ('lib.projection.evolve', 'lib.leslie.nothing')
    """
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module), attribute)
        real = f"{found.__module__}.{found.__qualname__}"
    except (ImportError, AttributeError, ValueError):
        return name
    return real if real.startswith("lib.") else name


def _resolve(app, env, node, contnode):
    """Try again under the home name what Sphinx did not find (event ``missing-reference``)."""
    if node.get("refdomain") != "py":
        return None
    target = node.get("reftarget", "")
    real = home(target)
    if real == target:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], real, node, contnode)


def setup(app):
    """Connect with Sphinx."""
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
