"""What ready-made plans refuse: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable

import flowtorch.bijectors as bij
from flowtorch import flows
from flowtorch.errors import OptionError, OptionTypeError

# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionError: {
        "maf: layers is expected to be at least 1; got 0": lambda: flows.maf(layers=0),
        "bnaf: layers ... at least 1; got -1": lambda: flows.bnaf(layers=-1),
        "nice: mixing ... 'reverse', 'permute', 'lu', 'orthogonal'; got 'shuffle'": lambda: flows.nice(
            mixing="shuffle"  # type: ignore[arg-type]
        ),
        "ncsf: mixing ... None, 'reverse', 'permute'; got 'lu'": lambda: flows.ncsf(
            mixing="lu"  # type: ignore[arg-type]
        ),
        "Affine: scale_fn ... 'softplus', 'exp', 'sigmoid'; got 'relu'": lambda: flows.realnvp(
            scale_fn="relu"  # type: ignore[arg-type]
        ),
        "Affine: gated=True ... scale_fn='sigmoid' ... got scale_fn='exp'": lambda: flows.iaf(gated=True),
        "Spline: count_bins ... at least 1; got 0": lambda: flows.nsf(count_bins=0),
        "MADE: each of hidden_dims ... at least 1; got 0": lambda: flows.maf(hidden_dims=(0,)),
        "DenseNN: each of hidden_dims ... at least 1; got 0": lambda: flows.nsf(coupling=True, hidden_dims=(8, 0)),
        "Coupling: mask ... 'half', 'alternate'; got 'odd'": lambda: flows.realnvp(
            mask="odd"  # type: ignore[arg-type]
        ),
        "Residual: lipschitz ... (0, 1); got 1.0": lambda: flows.residual(lipschitz=1.0),
    },
    OptionTypeError: {
        "stack: layer is expected to be a Bijector ... Did you mean Planar()?": lambda: flows.stack(
            bij.Planar,  # type: ignore[arg-type]
            layers=2,
        ),
        "gf: layers is expected to be an integer; got 2.0": lambda: flows.gf(
            layers=2.0  # type: ignore[arg-type]
        ),
        "planar: act_norm is expected to be True or False; got 'yes'": lambda: flows.planar(
            act_norm="yes"  # type: ignore[arg-type]
        ),
        "nsf: coupling is expected to be True or False; got 1": lambda: flows.nsf(
            coupling=1  # type: ignore[arg-type]
        ),
        "nsf: affine is expected to be True or False; got 'maybe'": lambda: flows.nsf(
            affine="maybe"  # type: ignore[arg-type]
        ),
        "ncsf: coupling is expected to be True or False; got None": lambda: flows.ncsf(
            coupling=None  # type: ignore[arg-type]
        ),
        "MADE: hidden_dims ... a sequence such as (128, 128); got 64": lambda: flows.naf(
            hidden_dims=64  # type: ignore[arg-type]
        ),
        "MADE: nonlinearity ... a class such as torch.nn.ReLU": lambda: flows.umnn(
            nonlinearity="relu"  # type: ignore[arg-type]
        ),
    },
}
