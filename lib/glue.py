"""Numbers of the run inside sentences.

A chapter glues a value to a name and pastes it into its text with MyST-NB's role ``glue:text``. A notebook has no such
role: there the generator turns the paragraph into a cell that calls `text`.
"""

import re

__all__ = ["GLUED", "glue", "show", "text"]

GLUED = {}
"""What has been glued in this kernel, by name."""

SLOT = re.compile(r"\[\[([\w.-]+)(?::([^\]]+))?\]\]")


def glue(name, value, display=False):
    """Give a value a name under which the text can paste it.

    Parameters
    ----------
    name : str
        Letters, digits, ``-``, ``_`` and ``.``.
    value : object
        A number, a text, or anything Jupyter can display.
    display : bool
        Show the value here, too.

    Raises
    ------
    ValueError
        If the name has other characters.

    Examples
    --------
    >>> glue("growth", 1.61803)
    >>> GLUED["growth"]
    1.61803
    """
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"name is {name!r}; allowed: letters, digits, '-', '_' and '.'")
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    GLUED[name] = value
    try:
        from myst_nb import glue as paste
    except ImportError:  # outside the book's environment the text cells read GLUED
        if display:
            show(name)
        return
    from IPython import get_ipython

    if get_ipython() is not None:
        paste(name, value, display=display)


def _value(name):
    if name not in GLUED:
        raise ValueError(f"name is {name!r}; glued so far: {', '.join(GLUED) or 'nothing'} (run the cells above first)")
    return GLUED[name]


def _filled(place):
    value = _value(place[1])
    try:
        return format(value, place[2] or "")
    except (TypeError, ValueError) as problem:
        raise ValueError(f"{place[0]} asks for the format {place[2]!r}, but the value is {value!r}") from problem


def text(markdown):
    """Show Markdown with glued values in the places ``[[name]]`` and ``[[name:.3f]]``.

    Parameters
    ----------
    markdown : str
        Text with places.

    Returns
    -------
    IPython.display.Markdown
        Shown by Jupyter.

    Raises
    ------
    ValueError
        If ``markdown`` is no text, a name has not been glued, or a format does not fit its value.

    Examples
    --------
    >>> glue("growth", 1.61803)
    >>> text("It grows by [[growth:.3f]] a year.").data
    'It grows by 1.618 a year.'
    """
    from IPython.display import Markdown

    if not isinstance(markdown, str):
        raise ValueError(f"markdown is {markdown!r}; allowed: a text")
    return Markdown(SLOT.sub(_filled, markdown))


def show(name):
    """Display a glued object, such as a figure.

    Parameters
    ----------
    name : str
        Its name.

    Raises
    ------
    ValueError
        If the name has not been glued.
    """
    from IPython.display import display

    display(_value(name))
