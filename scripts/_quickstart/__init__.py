"""The parts of ``scripts/quickstart``: reading a table, finding lattices, the fit, the report and the picture."""
