"""Run a module in a tree of the product.

`python -P -m benchmarks.launch MODULE ARGUMENTS`, with the tree first in PYTHONPATH.

An editable install finds in the checkout every module that the path lacks. So present modules would
replace the missing ones of an old tree, unnoticed. That finder is removed before anything of the
product is imported.
"""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    sys.meta_path[:] = [
        each for each in sys.meta_path if "editable" not in getattr(each, "__module__", "")
    ]
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
