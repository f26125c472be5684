"""Parameters of flows in Pyro's param store."""

from __future__ import annotations

import torch

from ..errors import ShapeError
from .extra import pyro


def register(who: str, name: str, module: torch.nn.Module) -> None:
    """Puts a module's parameters into the param store, or into the module what the store holds under the name.

    Raises:
        ShapeError: if that is of other shapes.
    """
    store = pyro.get_param_store()
    for key, parameter in module.named_parameters():
        full = f"{name}$$${key}"
        if full in store and store[full].shape != parameter.shape:
            raise ShapeError(
                f"{who}: parameters of this plan are expected under the name {name!r} in Pyro's param store; got "
                f"{key} of shape {tuple(store[full].shape)} in place of {tuple(parameter.shape)}. "
                "pyro.clear_param_store() forgets them."
            )
    # Without the update Pyro would train the store's tensors and the flow never see it.
    pyro.module(name, module, update_module_params=True)
