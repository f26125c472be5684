"""What ``flowtorch.plot`` refuses: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.plot as plot
from flowtorch.errors import ContextError, DomainError, OptionError, OptionTypeError, ShapeError
from flowtorch.plot.extra import Figure

X = torch.linspace(-1, 1, 40).reshape(20, 2)
C = torch.zeros(20, 3)
BAD = X.clone()
BAD[[3, 4, 8, 9, 11, 17]] = torch.nan
PAIR = dist.DiagNormal(2)


def flow(*plans: bij.Bijector, dims: int = 2, **options: Any) -> dist.Flow:
    return dist.Flow(dist.DiagNormal(dims), bij.Compose([bij.AffineCoupling(), *plans]), **options)


def given() -> dist.Flow:
    return flow(context_shape=(3,))


def call(picture: Callable[..., object], *args: Any, **options: Any) -> Callable[[], object]:
    return lambda: picture(*args, **options)


def new_axes(count: int) -> object:
    return Figure().subplots(1, count)


REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionTypeError: {
        "density: a flow is expected, or a log-density with window=...": call(plot.density, lambda x: x, 0),
        "density: a flow is expected, or a log-density ... got int 3": call(plot.density, 3),
        "density: cells is expected to be an integer; got 1.5": call(plot.density, PAIR, cells=1.5),
        "density: colorbar is expected to be True or False": call(plot.density, PAIR, colorbar="no"),
        "density: samples is expected to be numbers; got str": call(plot.density, PAIR, "many"),
        "density: context is expected to be numbers; got": lambda: plot.density(given(), context="here"),
        "density: ax is expected to be a Axes; got": call(plot.density, PAIR, ax=Figure()),
        "density: each window is expected to be a pair (low, high); got int 3": call(plot.density, PAIR, window=(3, 4)),
        "density: each end of a window is expected to be a number": call(plot.density, PAIR, window=(("a", 1), (0, 1))),
        "corner: fig is expected to be a Matplotlib figure; got int 1": call(plot.corner, X, X, fig=1),
        "corner: a context is expected along with a flow; got a tensor": call(plot.corner, X, X, context=C),
        "corner: columns are expected to be a sequence of integers; got int 1": call(plot.corner, X, X, columns=1),
        "corner: each of columns is expected to be an integer; got 0.0": call(plot.corner, X, X, columns=(0.0,)),
        "corner: bins are expected to be a number, or one entry a column; got float": call(plot.corner, X, X, bins=2.5),
        "corner: data is expected to be numbers; got list": call(plot.corner, [["a"]], X),
        "layers: flow is expected to be a Flow; got": call(plot.layers, PAIR),
        "layers: count is expected to be an integer": lambda: plot.layers(flow(), count=1.0),  # type: ignore[arg-type]
        "layers: axes are expected to be Matplotlib's Axes; got": lambda: plot.layers(flow(), axes=[1, 2]),  # type: ignore[list-item]
        "losses: losses are expected to be numbers; got str": call(plot.losses, "falling"),
        "pit: a flow or another distribution is expected; got int 3": call(plot.pit, 3, X),
        "graph: a flow, a bound bijector or a plan is expected; got int 3": call(plot.graph, 3),
    },
    OptionError: {
        "density: cells is expected to be at least 1; got 0": call(plot.density, PAIR, cells=0),
        "density: chunk_size is expected to be at least 1; got 0": call(plot.density, PAIR, chunk_size=0),
        "density: samples is expected to be at least 0; got -1": call(plot.density, PAIR, -1),
        "density: a window ((low, high), (low, high)) is expected; got": call(plot.density, PAIR, window=(0, 1, 2)),
        "density: each window is expected to be (low, high), low < high; got (1, 0)": call(
            plot.density, PAIR, window=((1, 0), (0, 1))
        ),
        "density: each end of a window is expected to lie in (-inf, inf); got nan": call(
            plot.density, PAIR, window=((float("nan"), 0), (0, 1))
        ),
        "density: 2 labels are expected; got ('a',)": call(plot.density, PAIR, labels=("a",)),
        "corner: columns are expected to be among 0 to 1; got (0, 2)": call(plot.corner, X, X, columns=(0, 2)),
        "corner: windows for each of 2 columns are expected; got 1": call(plot.corner, X, X, window=((0, 1),)),
        "corner: bins for each of 2 columns are expected; got 3": call(plot.corner, X, X, bins=(3, 4, 5)),
        "corner: bins is expected to be at least 1; got 0": call(plot.corner, X, X, bins=0),
        "corner: edges of bins are expected to rise, two at least; got": call(plot.corner, X, X, bins=(3, [1, 0])),
        "layers: show is expected to be one of 'samples', 'densities'": lambda: plot.layers(flow(), show="all"),  # type: ignore[arg-type]
        "layers: a window ((low, high), (low, high)) is expected; got": lambda: plot.layers(flow(), window=((0, 1),)),
        "layers: two columns are expected; got (0,)": lambda: plot.layers(flow(), columns=(0,)),  # type: ignore[arg-type]
        "layers: columns are expected to be among 0 to 1; got (0, 5)": lambda: plot.layers(flow(), which=(0, 5)),
        "layers: 2 axes are expected; got 3": lambda: plot.layers(flow(), axes=new_axes(3)),  # type: ignore[arg-type]
        "losses: at least one loss is expected; got none": call(plot.losses, []),
        "losses: losses, or pairs of step and loss, are expected; got shape (1, 3)": call(plot.losses, [[1, 2, 3]]),
        "pit: draws is expected to be at least 1; got 0": call(plot.pit, PAIR, X, draws=0),
        "credibility: chunk_size is expected to be at least 1": call(plot.credibility, PAIR, X, chunk_size=0),
        "marginals: band is expected to lie in (0, 1); got 1": call(plot.marginals, PAIR, X, band=1),
        "marginals: chunk_size is expected to be at least 1": call(plot.marginals, PAIR, X, chunk_size=0),
        "marginals: 4 axes are expected; got 2": lambda: plot.marginals(PAIR, X, axes=new_axes(2)),  # type: ignore[arg-type]
        "calibration: bins is expected to be at least 2; got 1": call(plot.calibration, PAIR, X, bins=1),
        "calibration: band is expected to lie in (0, 1); got 0": call(plot.calibration, PAIR, X, band=0),
        "coverage: regions is expected to be one of 'highest_density', 'central'; got": call(
            plot.coverage, PAIR, X, regions="all"
        ),
        "coverage: band is expected to lie in (0, 1); got 2": call(plot.coverage, PAIR, X, band=2),
    },
    ShapeError: {
        "density: a flow over two numbers is expected; got event shape (3,)": call(plot.density, dist.DiagNormal(3)),
        "density: samples are expected to be of shape (n, 2); got (4,)": call(plot.density, PAIR, torch.zeros(4)),
        "density: one distribution is expected, at one context ... got a batch of shape (20,)": lambda: plot.density(
            given(), context=C
        ),
        "corner: data are expected to be of shape (n, *event), n at least 1; got (0, 2)": call(plot.corner, X[:0], X),
        "corner: samples like the data, of shape (m, 2), are expected; got (20, 1)": call(plot.corner, X, X[:, :1]),
        "corner: data is expected to be of shape (n, 2), n at least 1; got (20, 1)": call(plot.corner, X[:, :1], PAIR),
        "layers: a flow over two numbers or more is expected; got event shape (1,)": lambda: plot.layers(flow(dims=1)),
        "layers: a flow over two numbers is expected for densities; got event shape (3,)": lambda: plot.layers(
            flow(dims=3), show="densities"
        ),
        "pit: x is expected to be of shape (n, 2), n at least 1; got (2,)": call(plot.pit, PAIR, X[0]),
        "pit: x is expected to be of shape (n, 2), n at least 1; got (0, 2)": call(plot.pit, PAIR, X[:0]),
        "pit: one context, or one for each of the 20 rows of x, is expected; got a batch of shape (5,)": lambda: (
            plot.pit(given(), X, C[:5])
        ),
        "graph: the shape of events is expected along with a plan; got None": call(plot.graph, bij.AffineCoupling()),
        "graph: shapes are expected along with a plan only; got": lambda: plot.graph(flow(), (2,)),
    },
    ContextError: {
        "density: no context is expected for a Independent": call(
            plot.density,
            torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2), torch.ones(2)), 1),
            context=torch.zeros(3),
        ),
        "Flow.sample: ... context ... got": lambda: plot.layers(given()),
    },
    DomainError: {
        "pit: finite values in x are expected; got others in 6 of 20 rows: 3, 4, 8, 9, 11...": call(
            plot.pit, PAIR, BAD
        ),
        "corner: finite values in samples are expected; got others in 6 of 20 rows": call(plot.corner, X, BAD),
        "density: finite values in context are expected; got others in 1 of 3": lambda: plot.density(
            given(), context=[0.0, float("inf"), 0.0]
        ),
    },
}
