"""The figures of `make figures` on small modules."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from tests.architecture.figures import static_figures, token_count
from tests.architecture.imports import runtime_imports_upwards
from tests.architecture.source import Module
from tests.processes.passage import files_in_every

MODULE = '''"""Where cursors are kept."""

from actors.ingest import IngestActor

class Cursor:
    """A place."""

    def move(self):
        return 1 + 2  # a comment is no token

class Cursor: ...
'''


def module(text: str, path: str = "storage/a.py") -> Module:
    return Module(PurePosixPath(path), text)


def test_each_figure_counts_what_it_names() -> None:
    wide = module(f"def wide():\n    return '{'x' * 100}'\n", "storage/b.py")
    assert list(static_figures([module(MODULE), wide])) == [
        "files: 2",
        "functions: 2",
        "lines a function: median 2, ninetieth percentile 2, longest 2 (storage/b.py:1 wide)",
        "tokens a function: median 8, ninetieth percentile 12, longest 10 (storage/a.py:8 move)",
        "lines over 100 characters: 1 of 13 (7.7%)",
        "docstrings that open with a relative clause: 1 of 2",
        "  storage/a.py:1",
        "runtime imports upwards: 1",
        "  storage/a.py:3",
        "classes of the same name: 1 (Cursor)",
    ]


def test_a_docstring_is_one_token() -> None:
    assert token_count('"""One."""') == token_count('"""One and two and three."""') == 1


@pytest.mark.parametrize(
    ("path", "text", "lines"),
    [
        ("domain/a.py", "import runtime.clock", [1]),
        ("runtime/a.py", "from domain.model import Reading, Signal", [1]),
        ("ports/a.py", "from actors.ingest import IngestActor", [1]),
        ("storage/a.py", "from actors.ports import IngestStore", [1]),
        ("api/a.py", "from actors.ports import Ingest\nfrom providers.http import Pool", [1, 2]),
        ("actors/a.py", "def late():\n    import lastheard.service", [2]),
        ("simulator/a.py", "from domain.model import Reading", [1]),
        ("actors/a.py", "if x:\n    import api.app\nelse:\n    import trio", [2]),
        ("actors/a.py", "if TYPE_CHECKING:\n    import trio\nelse:\n    import api.app", [4]),
        ("actors/a.py", "if TYPE_CHECKING:\n    from api.app import App", []),
        ("actors/a.py", "import typing\nif typing.TYPE_CHECKING:\n    import api.app", []),
        ("storage/a.py", "from ports.ingest import IngestStore\nimport domain.model", []),
        ("lastheard/a.py", "import simulator.run", []),
    ],
)
def test_runtime_imports_upwards(path: str, text: str, lines: list[int]) -> None:
    assert runtime_imports_upwards(module(text, path)) == lines


def test_a_frame_passes_the_files_that_run_for_every_frame() -> None:
    """What runs now and then may use one of them before the frame reaches it, as in the first."""
    trace = "1 seldom.py\n2 b.py\n3 a.py\n4 between.py\n5 a.py\n6 b.py\n7 after.py\n"
    assert files_in_every([(1, 3), (5, 6)], trace) == ["a.py", "b.py"]
