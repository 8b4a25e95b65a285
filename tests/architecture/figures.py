"""The house in figures: `make figures`, or `python -m tests.architecture.figures [FOLDER]` for another checkout.

Says how long and how dense functions are, how wide lines are, and where names or docstrings may confuse. A figure is a
place to look, not a verdict.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PRODUCT: Final = (
    "lastheard",
    "api",
    "ports",
    "actors",
    "providers",
    "storage",
    "domain",
    "runtime",
    "simulator",
)
WIDE: Final = 100
RELATIVE_CLAUSE: Final = re.compile(
    r"(Who|Whoever|Whom|Whose|What|Whatever|Which|Where|Wherever|When|Whether|That|Of|Lest|Asked|With what)\b"
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


def product_files(root: Path) -> list[Path]:
    return sorted(path for folder in PRODUCT for path in (root / folder).rglob("*.py"))


def functions(tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def token_count(source: str) -> int:
    """Tokens without layout, comments and the docstring's own weight: a string counts as one."""
    try:
        return sum(
            token.type not in _LAYOUT
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
        )
    except (tokenize.TokenError, IndentationError):
        return 0


def source_of(node: Function, lines: Sequence[str]) -> str:
    body = lines[node.lineno - 1 : node.end_lineno]
    indent = len(body[0]) - len(body[0].lstrip())
    return "\n".join(line[indent:] for line in body) + "\n"


def summary(name: str, counts: Sequence[int]) -> str:
    deciles = quantiles(counts, n=10)
    return f"{name}: median {deciles[4]:.0f}, ninetieth percentile {deciles[8]:.0f}, longest {max(counts)}"


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, Function | ast.ClassDef | ast.Module):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text.splitlines()[0]


def figures(root: Path) -> Iterator[str]:
    """The lines of the report."""
    lengths, tokens, wide, all_lines, openings, documented = [], [], 0, 0, [], 0
    classes: Counter[str] = Counter()
    for path in product_files(root):
        text = path.read_text(encoding="utf-8")
        lines, tree = text.splitlines(), ast.parse(text)
        all_lines += len(lines)
        wide += sum(len(line) > WIDE for line in lines)
        classes.update(node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
        for node in functions(tree):
            lengths.append((node.end_lineno or node.lineno) - node.lineno + 1)
            tokens.append(token_count(source_of(node, lines)))
        for number, first in docstrings(tree):
            documented += 1
            if RELATIVE_CLAUSE.match(first):
                openings.append(f"{path.relative_to(root)}:{number}")
    twice = sorted(name for name, count in classes.items() if count > 1)
    yield f"files: {len(product_files(root))}, lines: {all_lines}, functions: {len(lengths)}"
    yield summary("lines a function", lengths)
    yield summary("tokens a function", tokens)
    yield f"lines over {WIDE} characters: {wide} ({wide / all_lines:.1%})"
    yield f"docstrings that open with a relative clause: {len(openings)} of {documented}"
    yield from (f"  {place}" for place in openings)
    yield f"classes of the same name: {len(twice)} ({', '.join(twice)})"


if __name__ == "__main__":
    for line in figures(Path(sys.argv[1]) if len(sys.argv) > 1 else Path()):
        print(line)
