"""The kernels for CUDA, written in Triton, which is loaded with the first CUDA tensor that they are for."""

__all__ = ()
