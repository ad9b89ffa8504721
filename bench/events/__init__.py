"""The benchmarks of events: the load, the gateway and its peers as the load sees them, and the rows."""
