"""What the plans of monotone networks and mixtures refuse: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable

import torch

from flowtorch.bijectors.block_autoregressive import BlockAutoregressive
from flowtorch.bijectors.dense_deep_sigmoid import DenseDeepSigmoid
from flowtorch.bijectors.monotonic_network import MonotonicNetwork
from flowtorch.bijectors.unconstrained_monotonic import UnconstrainedMonotonic
from flowtorch.errors import ContextError, OptionError, OptionTypeError
from flowtorch.nn.block import BlockDense

# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionTypeError: {
        "BlockAutoregressive: hidden_factors ... a sequence such as (8, 8); got '88'": lambda: BlockAutoregressive(
            "88"
        ),  # a sequence, but of letters
    },
    ContextError: {
        "BlockDense: a context ... made with one; got none": lambda: BlockDense(2, 3, (4,))(torch.zeros(5, 2), None),
    },
    OptionError: {
        "BlockAutoregressive: hidden_factors ... at least one layer; got ()": lambda: BlockAutoregressive(()),
        "BlockAutoregressive: each of hidden_factors ... at least 1; got 0": lambda: BlockAutoregressive((8, 0)),
        "DenseDeepSigmoid: hidden_dims ... at least one layer; got ()": lambda: DenseDeepSigmoid(hidden_dims=()),
        "DenseDeepSigmoid: each of hidden_dims ... at least 1; got 0": lambda: DenseDeepSigmoid(hidden_dims=(8, 0)),
        "MonotonicNetwork: hidden_dims ... at least one layer; got ()": lambda: MonotonicNetwork(hidden_dims=()),
        "MonotonicNetwork: count_conditions ... got 0": lambda: MonotonicNetwork(count_conditions=0),
        "UnconstrainedMonotonic: quadrature ... 'gauss_legendre', 'clenshaw_curtis'; got 'nope'": lambda: (
            UnconstrainedMonotonic(quadrature="nope")  # type: ignore[arg-type]
        ),
    },
}
