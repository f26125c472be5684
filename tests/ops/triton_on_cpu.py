"""A plugin of pytest: Triton's kernels, interpreted, take the place of those for the CPU.

It is for processes of their own, with ``TRITON_INTERPRET=1`` (Triton reads that when it is imported) and
``FLOWTORCH_KERNELS=reference`` (so that nothing else runs, and operators are defined as where there is no compiler).
"""

from __future__ import annotations

from flowtorch._native import loader
from flowtorch._triton import launch
from flowtorch._triton import loader as triton

assert loader.capability is None
triton.register("CPU")
loader.capability, loader.reason = "TRITON", "interpreted"
# A program takes the interpreter as long however large it is. Programs of their own size are in triton_interpreted.py.
own_block = launch._block
launch._block = lambda constants, dtype: 4096
