"""@title@: the module against independent references, and the chapter's claims."""

from pathlib import Path

import pytest

from lib import @module@
from lib.site import anatomy, layout

CHAPTER = layout.ROOT / "book/@part@/@slug@.md"


def test_nothing_is_left_to_fill_in():
    for path in (CHAPTER, Path(@module@.__file__)):
        left = [f"line {i}" for i, line in enumerate(path.read_text().split("\n"), 1) if "FILL IN" in line]
        assert not left, f"{path.relative_to(layout.ROOT)}: still to be filled in at {', '.join(left)}"


def test_the_chapter_is_complete():
    assert anatomy.faults(CHAPTER) == []


def test_the_claims_are_listed():
    assert "\n- " in (layout.ROOT / "claims/@slug@.yml").read_text(), "claims/@slug@.yml lists no claim"


def test_trajectory_rejects_no_steps():
    with pytest.raises(ValueError, match="steps: got 0"):
        @module@.trajectory(1.0, steps=0)
