"""Benchmarks as ratios: the service and a reference in the same run, verified before a figure is printed."""
