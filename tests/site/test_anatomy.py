"""The check of a chapter's order and measure sees each fault."""

import pytest

from lib.site import anatomy

WORDS = "word " * 95
OPENING = """---
file_format: mystnb
kernelspec: {name: python3, display_name: Python 3}
---

(chapter-x)=
# A title

{.question}
Who wins?

Move the slider.

```{code-cell} ipython3
:tags: [hide-input]

@live(a=Slider(0, 1, 0.5))
def play(a):
    return a
```

"""
CODE = "```{code-cell} ipython3\n" + "x = 1\n" * 70 + "```\n"


def chapter(**replaced):
    """A sound chapter, with the bodies of some headings replaced."""
    bodies = dict.fromkeys(anatomy.HEADINGS, WORDS)
    bodies["Bet"] += "\n```{code-cell} ipython3\nBet('b', 'Who?', ('x', 'y'), 'x', 'x.')\n```\n"
    bodies["The claim"] += "{cite}`someone2024`"
    bodies["Experiments"] += "\n\n" + CODE
    bodies["Paper and ours"] += '\n```{code-cell} ipython3\nclaims.table("x")\n```\n'
    bodies.update(replaced)
    return OPENING + "\n".join(f"## {heading}\n\n{body}\n" for heading, body in bodies.items())


@pytest.fixture
def faults(tmp_path):
    def check(text):
        path = tmp_path / "x.md"
        path.write_text(text)
        return anatomy.faults(path)

    return check


def test_a_sound_chapter_has_no_fault(faults):
    assert faults(chapter()) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (chapter().replace("## Bet", "## Wager"), "headings must be, in this order"),
        (chapter().replace("{.question}\n", ""), "the question must stand once"),
        (chapter().replace("Who wins?\n", "Who wins?\nAnd when?\n"), "the question must stand once"),
        (chapter().replace("@live(a=Slider(0, 1, 0.5))\n", ""), "a live figure (@live) must stand above"),
        (chapter().replace("Move the slider.", "word " * 61), "words stand above the first figure; at most 60"),
        (chapter(**{"The claim": WORDS}), "the chapter cites nothing"),
        (chapter(**{"Paper and ours": WORDS}), "must show claims.table"),
        (chapter(Further="word " * 700), "words; 900 to 1500 are wanted"),
        (chapter(Further="").replace(WORDS, "few words"), "words; 900 to 1500 are wanted"),
        (chapter(Experiments=WORDS), "lines of code are visible; 60 to 130 are wanted"),
        (chapter(Experiments=WORDS + "\n" + CODE + CODE), "lines of code are visible; 60 to 130 are wanted"),
        (chapter(**{"Why it happens": WORDS + "\n$$\na\n$$\n" * 4}), "displays 4 equations; at most 3"),
        (chapter(Further=WORDS + "TODO"), "something is still to be filled in"),
        (chapter() + "\n# Another title\n", "exactly one title"),
        (chapter(Bet=WORDS), "'Bet' must ask the reader to commit"),
    ],
)
def test_a_fault_is_named(faults, text, fault):
    assert [found for found in faults(text) if fault in found], faults(text)


def test_folded_cells_are_not_counted():
    text = "```{code-cell}\n:tags: [hide-input]\nx = 1\n```\n```{code-cell}\ny = 1\n\nz = 2\n```\n"
    assert anatomy.visible_code_lines(text) == 2


def test_tags_in_a_yaml_block_are_read():
    assert anatomy.code_cells("```{code-cell}\n---\ntags: [hide-cell]\n---\nx = 1\n```\n")[0].tags == ("hide-cell",)


def test_an_included_function_is_counted():
    text = "```{literalinclude} ../../lib/site/layout.py\n:pyobject: site_address\n```\n"
    assert anatomy.visible_code_lines(text) == 3


def test_included_lines_are_counted():
    assert anatomy.visible_code_lines("```{literalinclude} ../../lib/site/layout.py\n:lines: 1-4,7\n```\n") == 5


def test_labels_roles_and_formulas_are_not_words():
    assert anatomy.prose_words("(label)=\n{.question}\nSee {ref}`the text <label>` and $x_1 + y$ here.\n") == 5
