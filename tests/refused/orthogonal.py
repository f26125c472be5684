"""What linear plans of reflections, exponentials and low rank refuse: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable

from flowtorch.bijectors.householder import Householder
from flowtorch.bijectors.low_rank import DiagonalPlusLowRank
from flowtorch.bijectors.matrix_exponential import MatrixExponential
from flowtorch.bijectors.orthogonal import Orthogonal
from flowtorch.bijectors.qr import QR
from flowtorch.bijectors.svd import SVD
from flowtorch.errors import OptionError, OptionTypeError, ShapeError

# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionError: {
        "Householder: count_transforms ... at least 1; got 0": lambda: Householder(count_transforms=0),
        "QR: count_transforms ... at least 1; got 0": lambda: QR(count_transforms=0),
        "QR: scale_fn ... 'softplus', 'exp', 'sigmoid'; got 'nope'": lambda: QR(
            scale_fn="nope"  # type: ignore[arg-type]
        ),
        "SVD: count_transforms ... at least 1; got -1": lambda: SVD(count_transforms=-1),
        "SVD: log_scale_min_clip ... (-inf, 0); got 1.0": lambda: SVD(log_scale_min_clip=1.0),
        "Orthogonal: method ... 'cayley', 'exponential'; got 'qr'": lambda: Orthogonal(
            method="qr"  # type: ignore[arg-type]
        ),
        "MatrixExponential: normalization ... 'none', 'weight', 'spectral'; got 'l2'": lambda: MatrixExponential(
            normalization="l2",  # type: ignore[arg-type]
            bound=1.0,
        ),
        "a bound is expected with normalization='weight' or 'spectral', and with no other; got normalization='none' "
        "and bound=1.0": lambda: MatrixExponential(bound=1.0),
        "got normalization='weight' and bound=None": lambda: MatrixExponential(normalization="weight"),
        "MatrixExponential: bound ... (0, inf); got 0.0": lambda: MatrixExponential(normalization="weight", bound=0.0),
        "DiagonalPlusLowRank: rank ... at least 1; got 0": lambda: DiagonalPlusLowRank(rank=0),
    },
    OptionTypeError: {
        "Householder: count_transforms ... an integer; got 2.0": lambda: Householder(
            count_transforms=2.0  # type: ignore[arg-type]
        ),
        "QR: count_transforms ... an integer; got True": lambda: QR(count_transforms=True),
        "SVD: bias ... True or False; got 1": lambda: SVD(bias=1),  # type: ignore[arg-type]
        "MatrixExponential: bound ... a number; got '1'": lambda: MatrixExponential(
            normalization="spectral",
            bound="1",  # type: ignore[arg-type]
        ),
        "DiagonalPlusLowRank: rank ... an integer; got None": lambda: DiagonalPlusLowRank(
            rank=None  # type: ignore[arg-type]
        ),
    },
    ShapeError: {
        "DiagonalPlusLowRank: vectors of at least rank=3 coordinates are expected; got 2": lambda: DiagonalPlusLowRank(
            rank=3, dim=0
        ).bind((2, 5)),
    },
}
