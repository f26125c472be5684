"""What maps without parameters and triangular linear maps refuse: each message by its key words."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from flowtorch.bijectors.channel_permute import GeneralizedChannelPermute
from flowtorch.bijectors.discrete_cosine import DiscreteCosine
from flowtorch.bijectors.haar import Haar
from flowtorch.bijectors.lower_cholesky_affine import LowerCholeskyAffine
from flowtorch.bijectors.lu import LU
from flowtorch.bijectors.whiten import Whiten
from flowtorch.errors import DomainError, OptionError, OptionTypeError, ShapeError

data = torch.tensor([[1.0, 2.0], [3.0, 5.0], [-1.0, 0.0]])

# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionError: {
        "LU: scale_fn ... 'softplus', 'exp', 'sigmoid' ... got 'nope'": lambda: LU(scale_fn="nope"),
        "LU: log_scale_min_clip ... (-inf, 0); got 0.0": lambda: LU(log_scale_min_clip=0.0),
        "LowerCholeskyAffine: log_scale_max_clip ... (0, inf); got 0.0": lambda: LowerCholeskyAffine(
            log_scale_max_clip=0.0
        ),
        "LU: permutation ... each of 0 .. 2 once; got (0, 1, 1)": lambda: LU(permutation=(0, 1, 1)),
        "GeneralizedChannelPermute: initial ... 'rotation', 'permutation'; got 'identity'": lambda: (
            GeneralizedChannelPermute(initial="identity")
        ),
        "DiscreteCosine: smooth ... (-inf, inf); got nan": lambda: DiscreteCosine(math.nan),
        "DiscreteCosine: ... between e^-80 and e^80 ... smooth=60.0 for 64 coordinates": lambda: DiscreteCosine(
            60.0
        ).bind((64,)),
        "Whiten: a loc of shape (D,) ... shapes (2,) and (3, 3)": lambda: Whiten((0.0, 0.0), torch.eye(3)),
        "Whiten: finite numbers": lambda: Whiten((0.0, math.nan), torch.eye(2)),
        "Whiten: an invertible matrix ... rank 1 of 2": lambda: Whiten((0.0, 0.0), torch.ones(2, 2)),
        "Whiten: method ... 'pca', 'zca', 'cholesky'; got 'svd'": lambda: Whiten.from_data(data, method="svd"),
        "Whiten: shrinkage ... (-inf, 1); got 1.0": lambda: Whiten.from_data(data, shrinkage=1.0),
        "Whiten: shrinkage ... [0, 1); got -0.5": lambda: Whiten.from_data(data, shrinkage=-0.5),
    },
    OptionTypeError: {
        "LU: permutation ... a sequence of integers; got 'random'": lambda: LU(permutation="random"),
        "LU: bias ... True or False; got 1": lambda: LU(bias=1),
        "DiscreteCosine: dim ... an integer; got 0.5": lambda: DiscreteCosine(dim=0.5),
        "DiscreteCosine: smooth ... a number; got 'much'": lambda: DiscreteCosine("much"),
        "Haar: flip ... True or False; got None": lambda: Haar(flip=None),
        "Whiten: dim ... an integer; got 'rows'": lambda: Whiten.from_data(data, dim="rows"),
    },
    ShapeError: {
        "Haar: an event with an axis dim=1 ... (3,)": lambda: Haar(dim=1).bind((3,)),
        "LU: permutation has 2 entries; got 3": lambda: LU(permutation=(1, 0)).bind((3,)),
        "Whiten: vectors of 2 coordinates ... got 3": lambda: Whiten((0.0, 0.0), torch.eye(2)).bind((3,)),
        "Whiten: data of shape (rows, *event) ... (3,)": lambda: Whiten.from_data(data[:, 0]),
        "Whiten: names for 2 columns are expected; got 1": lambda: Whiten.from_data(data, names=["x"]),
    },
    DomainError: {
        "Whiten: columns with spread ... zero spread in column 0": lambda: Whiten.from_data(0.0 * data + 3.0),
        "Whiten: full rank ... rank 1 of 2 ... column 'b'": lambda: Whiten.from_data(data[:, :1] * data[0], names="ab"),
    },
}
