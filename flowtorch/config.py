"""What this installation of flowtorch can do."""

from __future__ import annotations

import platform

import torch

from ._native import loader
from .ops.fused import CUDA, FIXED, FUSED


def show_config() -> None:
    """Prints the versions in use, and which form of each op runs where, and why.

    An op has a reference form, which is plain PyTorch, and may have a fused form, which is one kernel.

    Example:
        >>> import flowtorch
        >>> flowtorch.show_config()
        torch ...
    """
    from ._triton import loader as triton  # not before: it loads Triton

    cpu = "reference" if loader.capability is None else "fused"
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}")
    print(f"CPU kernels: {loader.capability or 'none'} ({loader.reason})")
    found = "none" if triton.capability is None else f"Triton {triton.capability}"
    print(f"CUDA kernels: {found} ({triton.reason})")
    print()
    print(f"{'op':<28}{'CPU':<12}{'CUDA':<12}other devices")
    mixtures = ("deep_sigmoid", "gaussian_mixture_cdf", "logistic_mixture_cdf")
    behind = {"fixed": tuple(FIXED), "mixture": mixtures}  # the ops that one kernel serves
    for name in sorted(op for kernel in FUSED for op in behind.get(kernel, (kernel,))):
        cuda = "reference" if triton.capability is None or name not in CUDA else "fused"
        print(f"{name:<28}{cpu:<12}{cuda:<12}reference")
    print(f"{'dense and masked layers':<28}{cpu:<12}{'reference':<12}reference")
    print(f"{'all others':<28}{'reference':<12}{'reference':<12}reference")
    if loader.capability is not None or triton.capability is not None:
        print()
        print("Fused forms run for plain tensors of float32 and float64, and narrower ones, which are widened.")
        print("In function transforms, forward mode, second derivatives and exported programs the reference forms run.")
        print("FLOWTORCH_KERNELS=reference turns fused forms off; it is read when flowtorch is imported.")
        print("ATEN_CPU_CAPABILITY=avx2 or default chooses an older instruction set.")
