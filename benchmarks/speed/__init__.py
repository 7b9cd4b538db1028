"""Speed and cost of the wrappers, networks, flow and metrics."""
