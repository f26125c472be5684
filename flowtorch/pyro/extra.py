"""Pyro, or an error that says how to install it."""

from __future__ import annotations

from torch.distributions import Distribution

_validates = Distribution._validate_args
try:
    import pyro as pyro
    from pyro import poutine as poutine
    from pyro.distributions import TorchDistribution as TorchDistribution
    from pyro.distributions.score_parts import ScoreParts as ScoreParts
    from pyro.infer.autoguide import AutoContinuous as AutoContinuous
    from pyro.infer.autoguide import init_to_median as init_to_median
except ImportError as error:
    raise ImportError("flowtorch.pyro: Pyro is expected; pip install 'flowtorch[pyro]' installs it.") from error
finally:
    # Importing Pyro sets it for all of torch, to whether Python checks assertions.
    Distribution.set_default_validate_args(_validates)
