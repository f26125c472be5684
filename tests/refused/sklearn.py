"""What the scikit-learn estimators refuse when they are fitted and used: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import flowtorch.bijectors as bij
from flowtorch.errors import DomainError, OptionError, OptionTypeError, ShapeError
from flowtorch.sklearn import ConditionalFlowDensity, FlowDensity

X = np.random.default_rng(0).normal(size=(40, 2))
LABELS = np.array(["a", "b"] * 20)
FAST: dict[str, Any] = {"flow": bij.Affine(), "max_epochs": 1}


def density(**options: Any) -> FlowDensity:
    return FlowDensity(**FAST | options).fit(X)


def conditional(y: Any = X, **options: Any) -> ConditionalFlowDensity:
    return ConditionalFlowDensity(**FAST | options).fit(X, y)


REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionError: {
        "FlowDensity: flow is expected to be one of ... 'nsf' ... got 'ncsf'": lambda: density(flow="ncsf"),
        "FlowDensity: standardize=False is expected with a flow that gives ... got True": lambda: density(
            flow=bij.Compose([bij.Affine(), bij.Exp()])
        ),
        "ConditionalFlowDensity: given is expected to be one of 'X', 'y'; got 'x'": lambda: conditional(given="x"),
        "FlowDensity.sample: n_samples is expected to be at least 1; got 0": lambda: density().sample(0),
        "fit: max_epochs is expected to be at least 1; got 0": lambda: density(max_epochs=0),
    },
    OptionTypeError: {
        "FlowDensity: flow is expected to be a Bijector; got ... Did you mean Affine()?": lambda: density(
            flow=bij.Affine
        ),
        "FlowDensity: standardize is expected to be True or False; got 1": lambda: density(standardize=1),
        "FlowDensity: fit_options is expected to be a dict; got list": lambda: density(fit_options=["ema"]),
    },
    ShapeError: {
        "ConditionalFlowDensity: labels in one column, or numbers ... got labels of shape (40, 2)": lambda: conditional(
            X.astype(int), given="y"
        ),
        "ConditionalFlowDensity: y of shape ('n', 2) ... got (40,)": lambda: conditional().score(X, X[:, 0]),
    },
    DomainError: {
        "ConditionalFlowDensity: labels among the 2 ... got 'c'": lambda: conditional(LABELS, given="y").sample(["c"]),
        "Standardize: columns with spread are expected; got zero spread in column 'y[:, 1]'": lambda: conditional(
            X * [1, 0]
        ),
        "Standardize: columns with spread are expected; got zero spread in column 'y'": lambda: conditional(
            0 * X[:, 0]
        ),
        "Standardize: columns with spread are expected; got zero spread in column 0": lambda: FlowDensity(**FAST).fit(
            0 * X + 1
        ),
    },
}
