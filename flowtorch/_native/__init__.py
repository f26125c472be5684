"""The kernels for the CPU: compiled when flowtorch is installed, where there are a compiler and torch's headers."""

__all__ = ()
