"""What all pictures keep to: figures without pyplot, axes accepted, nothing left changed."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from collections.abc import Callable

import matplotlib
import numpy as np
import pytest
import torch

import flowtorch.flows as flows
import flowtorch.plot as plot
from flowtorch.plot.extra import Axes, Figure, SubFigure

from .laws import conditional, contexts, flow, own_draws

X = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
ROWS = own_draws(60)
# What it draws, how many axes it takes, and how these are given.
PICTURES: dict[str, tuple[Callable[..., Figure], int, str]] = {
    "density": (lambda **o: plot.density(flow(), 50, cells=10, colorbar=False, title="T", **o), 1, "ax"),
    "density at a context": (
        lambda **o: plot.density(conditional(), 50, context=contexts(1)[0], cells=9, **o),
        1,
        "ax",
    ),
    "corner": (lambda **o: plot.corner(X, flow(), title="T", **o), 4, "fig"),
    "layers": (lambda **o: plot.layers(flow(), count=50, **o), 4, "axes"),
    "layers' densities": (lambda **o: plot.layers(flow(), count=50, show="densities", cells=9, **o), 4, "axes"),
    "marginals": (lambda **o: plot.marginals(*ROWS, draws=20, **o), 4, "axes"),
    "losses": (lambda **o: plot.losses({"a": [2.0, 1.0], "b": [3.0, 1.0]}, title="T", **o), 1, "ax"),
    "calibration": (lambda **o: plot.calibration(*ROWS, draws=20, **o), 2, "axes"),
    "coverage": (lambda **o: plot.coverage(*ROWS, draws=20, title="T", **o), 1, "ax"),
    "central coverage": (lambda **o: plot.coverage(*ROWS, draws=20, regions="central", **o), 1, "ax"),
    "graph": (lambda **o: plot.graph(conditional(), title="T", **o), 1, "ax"),
    "graph of a plan": (lambda **o: plot.graph(flows.nsf(), (3,), **o), 1, "ax"),
}
drawn = pytest.mark.parametrize(("picture", "count", "how"), PICTURES.values(), ids=PICTURES)


def pixels(figure: Figure) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", dpi=50)
    return np.frombuffer(buffer.getvalue(), np.uint8)


@drawn
def test_a_figure_that_can_be_written_and_is_the_same_by_the_seed(
    picture: Callable[..., Figure], count: int, how: str
) -> None:
    figure = picture()
    assert type(figure) is Figure
    shown = pixels(figure)
    assert len(np.unique(shown)) > 2 and np.array_equal(shown, pixels(picture()))


@drawn
def test_axes_that_are_given_are_drawn_in(picture: Callable[..., Figure], count: int, how: str) -> None:
    figure = Figure(layout="constrained")
    _, part = figure.subfigures(1, 2)
    if how == "fig":
        assert picture(fig=part) is figure
        return
    axes = part.subplots(2, count // 2) if count > 1 else part.subplots()
    assert picture(**{how: axes}) is figure
    assert all(ax.has_data() or ax.texts for ax in np.ravel(axes))
    extra = [ax for ax in figure.axes if ax not in set(np.ravel(axes))]
    assert all(ax.get_label() == "<colorbar>" for ax in extra)


@drawn
def test_nothing_is_left_changed(picture: Callable[..., Figure], count: int, how: str) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), dict(matplotlib.rcParams)  # type: ignore[index]
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    picture()
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # type: ignore[index]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # options that Matplotlib deprecates
        assert before[2] == dict(matplotlib.rcParams)
    assert (threads, grad) == (torch.get_num_threads(), torch.is_grad_enabled())


class Noisy(torch.nn.Module):
    """An embedding that would draw random numbers in training."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout(0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.inner(x)
        return out


def test_flows_are_looked_at_in_evaluation_mode_and_put_back() -> None:
    law = flow(context_shape=(3,), embedding=Noisy())
    modes = {m: m.training for m in law.modules()}
    modes[law.bijector] = law.bijector.training = False
    context, window = torch.ones(3), ((-2.0, 2.0), (-2.0, 2.0))
    images = [
        np.asarray(
            plot.density(seen, 0, context=given, window=window, cells=5, seed=seed).axes[0].images[0].get_array()
        )
        for seed in (0, 1)
        for seen, given in ((law, context), (law.condition(context), None))
    ]
    assert all(np.array_equal(image, images[0]) for image in images)
    assert {m: m.training for m in law.modules()} == modes
    assert all(p.grad is None for p in law.parameters())


def test_figures_of_the_tests_are_of_the_kinds_they_say() -> None:
    part = Figure().subfigures(1, 1)
    assert isinstance(part, SubFigure) and isinstance(part.subplots(), Axes)


FRESH = """
import sys, torch
import flowtorch.plot as plot, flowtorch.distributions as dist
plot.density(dist.DiagNormal(2), 10, cells=5).savefig(sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
assert not {"lightning", "scipy", "pandas"} & set(sys.modules)
"""


def test_pyplot_is_not_imported(tmp_path: object) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", FRESH, f"{tmp_path}/a.png"], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


def test_without_matplotlib_the_extra_is_named_and_flowtorch_does_without() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = sys.modules['matplotlib.axes'] = None\n"
        "import flowtorch\n"
        "try:\n    import flowtorch.plot\n"
        "except ImportError as error:\n    print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "flowtorch.plot: Matplotlib is expected; pip install 'flowtorch[plot]' installs it.\n"
