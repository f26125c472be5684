"""The benchmark of flowtorch and its peers: scripts/bench/run."""
