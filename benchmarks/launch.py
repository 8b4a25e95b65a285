"""Run a module in a tree: `python -P -m benchmarks.launch MODULE ARGUMENTS`, PYTHONPATH naming the tree first.

An editable install finds every module that the path does not have in the checkout, so an old tree
would be filled up with present modules unnoticed. That finder is taken out before anything of the
product is imported.
"""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    sys.meta_path[:] = [each for each in sys.meta_path if "editable" not in getattr(each, "__module__", "")]
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
