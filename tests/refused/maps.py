"""What the plans of further elementwise maps refuse: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import distributions as td

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.errors import OptionError, ShapeError

# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionError: {
        "CDF: df is expected for 'student_t', and for no other; got None": lambda: bij.CDF("student_t"),
        "SigmoidTo: low < high is expected; got low=2": lambda: bij.SigmoidTo(low=2.0, high=2.0),
        "CDF: the name of a distribution ... got a Normal. Use CDF.of": lambda: bij.CDF(td.Normal(0.0, 1.0)),
        "CDF: distribution ... 'normal' ... got 'nope'": lambda: bij.CDF("nope"),
        "CDF: scale ... (0, inf); got 0.0": lambda: bij.CDF(scale=0.0),
        "CDF: one of torch's Normal ... got Beta": lambda: bij.CDF.of(td.Beta(1.0, 1.0)),
        "CircularShift: either a shift or a params_fn": lambda: bij.CircularShift(params.Tensor(), shift=1.0),
    },
    ShapeError: {
        "CDF: a single location and scale are expected; got batch shape (2,)": lambda: bij.CDF.of(
            td.Normal(torch.zeros(2), 1.0)
        ),
    },
}
