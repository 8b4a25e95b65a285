"""The house in figures: `make figures`.

    python -m tests.architecture.figures [CHECKOUT]

Says how long and how dense functions are, how wide lines are, where names, docstrings and imports
may confuse, and, of a running service, how far a frame goes and how long a request waits. A figure
is a place to look, not a verdict.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from itertools import chain
from pathlib import Path, PurePosixPath
from statistics import quantiles
from typing import TYPE_CHECKING, Final

from runtime.logs import configure_logging
from tests.architecture.imports import runtime_imports_upwards
from tests.architecture.source import HOUSE, Module
from tests.processes.passage import measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDE: Final = 100
RELATIVE_CLAUSE: Final = re.compile(
    r"(Who|Whoever|Whom|Whose|What|Whatever|Which|Where|Wherever|When|Whether"
    r"|That|Of|Lest|Asked|With what)\b"
)
_LAYOUT: Final = {
    tokenize.ENCODING,
    tokenize.NEWLINE,
    tokenize.NL,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.COMMENT,
    tokenize.ENDMARKER,
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def product_modules(root: Path) -> list[Module]:
    paths = sorted(path for folder in HOUSE for path in (root / folder).rglob("*.py"))
    return [
        Module(PurePosixPath(path.relative_to(root).as_posix()), path.read_text(encoding="utf-8"))
        for path in paths
    ]


def static_figures(modules: Sequence[Module]) -> Iterator[str]:
    """The lines of the report that follow from the text alone."""
    yield f"files: {len(modules)}"
    yield from _functions(modules)
    yield _wide_lines(modules)
    yield from _openings(modules)
    yield from _imports(modules)
    yield _classes(modules)


def _functions(modules: Sequence[Module]) -> Iterator[str]:
    lengths, tokens = [], []
    for module in modules:
        lines = module.text.splitlines()
        for node in ast.walk(module.tree):
            if isinstance(node, Function):
                name = f"{module.path}:{node.lineno} {node.name}"
                lengths.append(((node.end_lineno or node.lineno) - node.lineno + 1, name))
                tokens.append((token_count(_source_of(node, lines)), name))
    yield f"functions: {len(lengths)}"
    yield _summary("lines a function", lengths)
    yield _summary("tokens a function", tokens)


def _summary(what: str, counts: Sequence[tuple[int, str]]) -> str:
    deciles = quantiles([count for count, _ in counts], n=10)
    longest, name = max(counts)
    return (
        f"{what}: median {deciles[4]:.0f}, ninetieth percentile {deciles[8]:.0f},"
        f" longest {longest} ({name})"
    )


def _source_of(node: Function, lines: Sequence[str]) -> str:
    body = lines[node.lineno - 1 : node.end_lineno]
    indent = len(body[0]) - len(body[0].lstrip())
    return "\n".join(line[indent:] for line in body) + "\n"


def token_count(source: str) -> int:
    """Count tokens without layout and comments; a string, a docstring too, counts as one."""
    try:
        return sum(
            token.type not in _LAYOUT
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
        )
    except (tokenize.TokenError, IndentationError):
        return 0


def _wide_lines(modules: Sequence[Module]) -> str:
    lines = list(chain.from_iterable(module.text.splitlines() for module in modules))
    wide = sum(len(line) > WIDE for line in lines)
    return f"lines over {WIDE} characters: {wide} of {len(lines)} ({wide / len(lines):.1%})"


def _openings(modules: Sequence[Module]) -> Iterator[str]:
    found, documented = [], 0
    for module in modules:
        for line, first in _docstrings(module.tree):
            documented += 1
            if RELATIVE_CLAUSE.match(first):
                found.append(f"  {module.path}:{line}")
    yield f"docstrings that open with a relative clause: {len(found)} of {documented}"
    yield from found


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, first line of the docstring) of everything that has one."""
    for node in ast.walk(tree):
        if isinstance(node, Function | ast.ClassDef | ast.Module):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text.splitlines()[0]


def _imports(modules: Sequence[Module]) -> Iterator[str]:
    upwards = {module: runtime_imports_upwards(module) for module in modules}
    yield f"runtime imports upwards: {sum(map(len, upwards.values()))}"
    yield from (f"  {module.path}:{line}" for module, found in upwards.items() for line in found)


def _classes(modules: Sequence[Module]) -> str:
    names = Counter(
        node.name
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    )
    twice = sorted(name for name, count in names.items() if count > 1)
    return f"classes of the same name: {len(twice)} ({', '.join(twice)})"


def main() -> None:
    configure_logging(level="warning")
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    for line in chain(static_figures(product_modules(root)), measure(root).lines()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
