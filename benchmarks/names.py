"""Names that parents and children of the benchmarks share. Imports nothing, so any tree can be
driven with it.
"""

FRAMES, UPDATES, HEALTH = "bench-frames", "bench-updates", "bench-health"  # workspaces
PROVIDER = "feed"
# Of the product.
PACKAGES = ("lastheard", "api", "actors", "providers", "storage", "domain", "runtime", "simulator")
