"""Trains every ready-made flow on every two-dimensional target, beside its peers, and writes ``website/flows.md``."""
