"""Names that parents and children of the benchmarks share.

Imports nothing, so that it works with any tree.
"""

FRAMES, UPDATES, HEALTH = "bench-frames", "bench-updates", "bench-health"  # workspaces
PROVIDER = "feed"
# The packages of the product.
PACKAGES = (
    "lastheard",
    "api",
    "ports",
    "actors",
    "providers",
    "legacy",
    "storage",
    "domain",
    "runtime",
    "simulator",
)
# Those that every tree must have: trees older than ports/ and legacy/ can be driven, too.
REQUIRED = tuple(name for name in PACKAGES if name not in ("ports", "legacy"))
