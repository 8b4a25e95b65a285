"""Names that parents and children of the benchmarks share.

Imports nothing, so that it works with any tree.
"""

FRAMES, UPDATES, HEALTH = "bench-frames", "bench-updates", "bench-health"  # workspaces
PROVIDER = "feed"
# The packages of the product.
PACKAGES = ("lastheard", "api", "actors", "providers", "storage", "domain", "runtime", "simulator")
