"""What binds a figure to its program: outputs found, proofs, and refusals with a reason."""

from __future__ import annotations

import copy
import json
import textwrap

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from lib.live import Choice, Seed, Slider, live, uniform
from lib.live.bind import compile_figure
from lib.live.errors import NotLive
from lib.live.leaves import at, differ, leaves, plain, put
from lib.live.program import replay

A = Slider(0, 4, 1.0, label="A")
LINE = torch.arange(5, dtype=torch.float64)


def variant(function, **chosen):
    return compile_figure(function, {"a": A}, chosen)


def test_outputs_are_found_wherever_they_go():
    def figure(a):
        y = LINE * a
        made = go.Figure(layout={"title": f"sum {y.sum():.2f}, last {y[-1]:+.1e}"}).add_scatter(x=LINE, y=y)
        made.add_vline(x=float(a))
        made.add_heatmap(z=torch.outer(y, LINE))
        made.add_annotation(text="fixed", x=0, y=y.mean().item())
        return made

    made = variant(figure)
    paths = {json.dumps(bind["path"]) for bind in made["binds"]}
    assert json.dumps(["data", 0, "y"]) in paths and json.dumps(["data", 1, "z"]) in paths
    assert json.dumps(["data", 0, "x"]) not in paths  # does not change: stays in the template
    assert json.dumps(["layout", "shapes", 0, "x0"]) in paths
    title = next(bind for bind in made["binds"] if bind["path"] == ["layout", "title", "text"])
    assert [t if isinstance(t, str) else t[1] for t in title["text"]] == ["sum ", ".2f", ", last ", "+.1e", ""]
    outs = replay(made["program"], {"a": 2.5})
    y = next(bind for bind in made["binds"] if bind["path"] == ["data", 0, "y"])
    np.testing.assert_allclose(outs[y["out"]], LINE * 2.5)


def test_a_gap_in_constant_data_is_valid_json():
    def figure(a):
        return go.Figure().add_scatter(x=[1.0, float("nan"), 3.0], y=torch.tensor([1.0, float("nan"), 2.0]) * a)

    made = variant(figure)
    assert json.loads(json.dumps(made["template"], allow_nan=False))["data"][0]["x"] == [1.0, None, 3.0]


def test_only_what_is_shown_stays_in_the_program():
    def figure(a):
        torch.linalg.solve(torch.eye(5, dtype=torch.float64) + a, LINE)  # nobody looks at it
        return go.Figure().add_scatter(y=LINE * a)

    assert [s[0] for s in variant(figure)["program"]["signatures"]] == ["mul"]


def test_a_list_of_numbers_and_a_list_of_rows_are_bound_in_pieces():
    def figure(a):
        made = go.Figure().add_bar(x=["one", "two", "three"], y=[float(a), 2.0, (LINE * a).mean()])
        return made.add_heatmap(z=[LINE, LINE * a])

    made = variant(figure)
    paths = [bind["path"] for bind in made["binds"]]
    assert paths == [["data", 0, "y", 0], ["data", 0, "y", 2], ["data", 1, "z", 1]]
    assert made["template"]["data"][0]["y"] == [None, 2.0, None]


def test_an_array_that_no_probe_changes_is_bound_all_the_same():
    def figure(a):
        rare = ((a - 1.2345).abs() < 1e-6).double()
        return go.Figure().add_heatmap(z=rare * torch.ones(2, 3)).add_scatter(y=LINE * a)

    made = variant(figure)
    z = next(bind for bind in made["binds"] if bind["path"] == ["data", 0, "z"])
    assert replay(made["program"], {"a": 1.2345})[z["out"]].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_integers_in_texts_stay_integers():
    def figure(a):
        k = (a * 1000).long()
        return go.Figure(layout={"title": f"{k} {k:,} {k:6d} {k:.1f}"}).add_scatter(y=LINE * a)

    (title,) = (bind["text"] for bind in variant(figure)["binds"] if "text" in bind)
    assert [t if isinstance(t, str) else t[1] for t in title] == ["", "d", " ", ",d", " ", "6d", " ", ".1f", ""]


def test_one_element_at_a_position_of_a_slider():
    cube = torch.arange(60.0, dtype=torch.float64).reshape(3, 4, 5)

    def figure(a):
        k = (a / 2).long()
        made = go.Figure().add_heatmap(z=cube[k]).add_scatter(y=cube[..., k]).add_scatter(y=cube[:, k, 1:3][0])
        return made.add_scatter(y=cube[k, 1, None, k + 1][0].reshape(1) * LINE).add_scatter(y=cube[1, -1 - k])

    assert len(variant(figure)["binds"]) == 5


def test_full_and_one_hot_follow_a_slider():
    def figure(a):
        classes = torch.nn.functional.one_hot((LINE * a / 4).long(), 5)
        return go.Figure().add_heatmap(z=classes).add_scatter(y=torch.full((4,), a))

    assert len(variant(figure)["binds"]) == 2


def colour(a):
    return go.Figure().add_scatter(y=LINE * a, line_color="red" if float(a) > 2 else "blue")


def branch(a):
    return go.Figure().add_scatter(y=LINE * (a if a > 2 else 1))


def outside_torch(a):
    return go.Figure().add_scatter(y=(LINE * a).numpy() ** 2)


def more_traces(a):
    made = go.Figure().add_scatter(y=LINE * a)
    return made.add_scatter(y=[1, 2]) if float(a) > 2 else made


def length(a):
    return go.Figure().add_scatter(y=torch.arange(int(a)))


def drawn(a):
    return go.Figure().add_scatter(y=torch.rand(5) * a)


def complex_numbers(a):
    return go.Figure().add_scatter(y=torch.exp(1j * a * LINE))


def loop_length(a):
    y, i = LINE * a, 0
    while y.sum() > i:
        i += 1
    return go.Figure().add_scatter(y=y * i)


def words(a):
    return go.Figure(layout={"title": "large" if float(a) > 2 else "small"}).add_scatter(y=LINE * a)


def order_of_eigenvalues(a):
    return go.Figure().add_scatter(y=torch.linalg.eigvals(torch.diag(LINE + a) + a).real)


def sign_of_eigenvectors(a):
    return go.Figure().add_scatter(y=torch.linalg.eigh(torch.diag(LINE) + a).eigenvectors[0])


def vector_in_text(a):
    return go.Figure(layout={"title": f"{LINE * a:.2f}"}).add_scatter(y=LINE * a)


def alignment(a):
    return go.Figure(layout={"title": f"{a:>8.2f}"}).add_scatter(y=LINE * a)


def capitals(a):
    return go.Figure(layout={"title": f"{a:.2E}"}).add_scatter(y=LINE * a)


def true_or_false(a):
    return go.Figure(layout={"title": f"{a > 2}"}).add_scatter(y=LINE * a)


def float_in_text(a):
    return go.Figure(layout={"title": f"{float(a):.2f}"}).add_scatter(y=LINE * a)


def tensor_of_tensors(a):
    return go.Figure().add_scatter(y=torch.tensor([a, 2 * a]))


def element_set(a):
    y = torch.zeros(9, dtype=torch.float64)
    y[a.long()] = 1
    return go.Figure().add_scatter(y=y)


def line_at_a_tensor(a):
    made = go.Figure().add_scatter(y=LINE * a)
    made.add_vline(x=a, annotation_text="here")
    return made


def optimiser(a):
    torch.optim.SGD([torch.ones(2, requires_grad=True)], lr=a)
    return go.Figure().add_scatter(y=LINE * a)


def distance_of_equals(a):
    p = torch.softmax(a * torch.sin(torch.arange(40, dtype=torch.float64)), 0)
    t = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
    path = t * p + (1 - t) / 40
    return go.Figure().add_scatter(y=torch.acos((path.sqrt() * p.sqrt()).sum(1).clamp(max=1)))


def decided_by_rounding(a):
    p = torch.softmax(a * torch.sin(torch.arange(40, dtype=torch.float64)), 0)
    return go.Figure().add_scatter(y=torch.cat([LINE * a, (p.sum() > 1).double().reshape(1)]))


REFUSED = {
    alignment: "cannot format a number by '>8.2f'",
    capitals: "cannot format a number by '.2E'",
    true_or_false: "shows True or False",
    float_in_text: "Format tensors in texts",
    tensor_of_tensors: "use torch.stack",
    element_set: "x[i.reshape(1)] = ...",
    line_at_a_tensor: "hand Plotly float(x)",
    optimiser: "write the step itself",
    distance_of_equals: "rounding decides some of it",
    decided_by_rounding: "round what argmax or sort compares",
    colour: "line.color would not follow",
    branch: "__bool__",
    outside_torch: "not computed by torch",
    more_traces: "figure.data would not follow",
    length: "__int__",
    drawn: "lib.live.uniform",
    complex_numbers: "complex",
    loop_length: "__bool__",
    words: "title",
    vector_in_text: "format one number",
    order_of_eigenvalues: "sort eigenvalues",
    sign_of_eigenvectors: "not computed by torch",
}


@pytest.mark.parametrize("function", REFUSED, ids=lambda f: f.__name__)
def test_what_the_page_could_not_follow_is_refused(function):
    with pytest.raises(NotLive) as refused:
        variant(function)
    assert REFUSED[function] in str(refused.value)
    assert "test_bind.py:" in str(refused.value)


def test_not_returning_a_figure_is_refused():
    with pytest.raises(NotLive, match=r"must return a plotly\.graph_objects\.Figure, got dict"):
        variant(lambda a: {"y": a})


def test_a_refusal_in_a_chapter_names_the_chapters_line(tmp_path, monkeypatch):
    """A cell is compiled under a temporary name; the message points into the chapter."""
    import linecache

    cell = textwrap.dedent("""\
        def figure(a):
            y = torch.ones(3) * a
            if y.sum() > 1:
                y = y + 1
            return go.Figure().add_scatter(y=y)
        """)
    (tmp_path / "chapter.md").write_text(f"# Title\n\ntext\n\n```{{code-cell}}\n{cell}```\n", encoding="utf8")
    monkeypatch.chdir(tmp_path)
    name = "/tmp/ipykernel_1/123.py"
    linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
    names = {"torch": torch, "go": go}
    exec(compile(cell, name, "exec"), names)
    with pytest.raises(NotLive, match=r"chapter\.md:8: if y\.sum\(\) > 1"):
        variant(names["figure"])


def test_choices_and_seeds():
    @live(n=Choice((3, 5)), seed=Seed(2), a=A)
    def figure(n, seed, a):
        """Points."""
        return go.Figure().add_scatter(y=a * uniform(seed, n))

    spec = figure.spec()
    assert set(spec["variants"]) == {"3", "5"}
    for n in (3, 5):
        made = spec["variants"][str(n)]
        outs = replay(made["program"], {"seed": 7, "a": 2.0})
        np.testing.assert_array_equal(outs[0], plain(figure(n=n, seed=7, a=2.0))["data"][0]["y"])


def test_two_recordings_are_identical():
    def figure(a):
        return go.Figure(layout={"title": f"{a:.2f}"}).add_scatter(y=torch.linalg.matrix_power(torch.eye(3) * a, 5)[0])

    assert json.dumps(variant(figure)) == json.dumps(variant(figure))


# -- plain figures and their leaves --------------------------------------------------------------------------------
def test_plain_unpacks_arrays():
    made = plain(go.Figure().add_heatmap(z=np.arange(6.0).reshape(2, 3)).add_scatter(y=np.arange(3)))
    assert made["data"][0]["z"] == [[0, 1, 2], [3, 4, 5]] and made["data"][1]["y"] == [0, 1, 2]
    assert "template" not in made["layout"]


def test_leaves_are_texts_numbers_and_arrays():
    found = {
        tuple(path): value for path, value in leaves({"a": [1, 2], "b": {"c": "x", "d": True, "e": 3}, "f": ["y"]})
    }
    assert found == {("a",): [1, 2], ("b", "c"): "x", ("b", "e"): 3, ("f", 0): "y"}


FIGURE = {"data": [{"y": [1.0, 2.0], "name": "n 1.00"}], "layout": {"title": "mean 1.50", "show": True}}


def test_equal_figures_do_not_differ():
    differ(copy.deepcopy(FIGURE), FIGURE, "f")


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (["data", 0, "y"], [1.0, 2.1], r"figure\.data\[0\]\.y"),
        (["data", 0, "y"], [1.0], "y"),
        (["data", 0, "name"], "m 1.00", "name"),
        (["layout", "title"], "mean 1.60", "title"),
        (["layout", "show"], False, "show"),
        (["data"], [], "data"),
    ],
)
def test_a_difference_is_named(path, value, named):
    other = copy.deepcopy(FIGURE)
    put(other, path, value)
    with pytest.raises(NotLive, match=named):
        differ(other, FIGURE, "f")


def test_at_of_a_missing_path_is_none():
    assert at(FIGURE, ["data", 3, "y"]) is None
    assert at(FIGURE, ["data", 0, "y"]) == [1.0, 2.0]
