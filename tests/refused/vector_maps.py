"""What planar, radial and Sylvester plans refuse: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable

import flowtorch.parameters as params
from flowtorch.bijectors.planar import Planar
from flowtorch.bijectors.radial import Radial
from flowtorch.bijectors.sylvester import Sylvester
from flowtorch.errors import OptionError, OptionTypeError, ShapeError

# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionError: {
        "Planar: a conditioner such as Tensor() or DenseNN() ... got MADE": lambda: Planar(params.MADE()),
        "Planar: nonlinearity ... 'tanh', 'leaky_relu'; got 'relu'": lambda: Planar(
            nonlinearity="relu"  # type: ignore[arg-type]
        ),
        "Planar: negative_slope ... (0, 1); got 1.0": lambda: Planar(negative_slope=1.0),
        "Sylvester: kind ... 'householder', 'orthogonal', 'triangular'; got 'qr'": lambda: Sylvester(
            kind="qr"  # type: ignore[arg-type]
        ),
        "Sylvester: count_transforms ... at least 1; got 0": lambda: Sylvester(count_transforms=0),
        "Sylvester: rank ... at least 1; got 0": lambda: Sylvester(kind="orthogonal", rank=0),
        "Sylvester: rank is expected with kind='orthogonal' only; got 2 with kind='householder'": lambda: Sylvester(
            rank=2
        ),
        "Sylvester: flip is expected with kind='triangular' only; got True": lambda: Sylvester(flip=True),
        "Sylvester: count_transforms is expected with kind='householder' only; got 2": lambda: Sylvester(
            kind="triangular", count_transforms=2
        ),
    },
    OptionTypeError: {
        "Planar: negative_slope ... a number; got 'a'": lambda: Planar(
            negative_slope="a"  # type: ignore[arg-type]
        ),
        "Radial: dim ... an integer; got 'a'": lambda: Radial(dim="a"),  # type: ignore[arg-type]
        "Radial: params_fn ... Did you mean Tensor()?": lambda: Radial(params.Tensor),  # type: ignore[arg-type]
        "Sylvester: rank ... an integer; got 2.0": lambda: Sylvester(
            kind="orthogonal",
            rank=2.0,  # type: ignore[arg-type]
        ),
        "Sylvester: flip ... True or False; got 1": lambda: Sylvester(
            kind="triangular",
            flip=1,  # type: ignore[arg-type]
        ),
    },
    ShapeError: {
        "Sylvester: vectors of at least rank=3 coordinates are expected; got 2": lambda: Sylvester(
            kind="orthogonal", rank=3, dim=0
        ).bind((2, 5)),
    },
}
