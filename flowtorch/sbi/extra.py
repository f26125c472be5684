"""sbi, or an error that says how to install it."""

from __future__ import annotations

from torch.distributions import Distribution

_validates = Distribution._validate_args
try:
    from sbi.neural_nets.estimators.base import (  # type: ignore[import-untyped]  # sbi has no types
        ConditionalDensityEstimator as ConditionalDensityEstimator,
    )
except ImportError as error:
    raise ImportError("flowtorch.sbi: sbi is expected; pip install 'flowtorch[sbi]' installs it.") from error
finally:
    # Importing zuko, of which sbi has flows, turns it off for all of torch.
    Distribution.set_default_validate_args(_validates)
