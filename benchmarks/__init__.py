"""Benchmarks as ratios of the service to a reference, both measured in the same run.

What was written is verified before a figure is printed.
"""
