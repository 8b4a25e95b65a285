"""DSNs that the password in them makes unreadable, and a search for parts of that password."""

from __future__ import annotations

from typing import Final

LEFT, RIGHT = "Zq7Wx9Kp", "Lm4Vn8Rt"  # before and after the character that was not encoded
PIECE: Final = 4

# (what is wrong, the DSN, words of the sentence that says so)
BROKEN: Final = (
    ("slash", f"postgresql://app:{LEFT}/{RIGHT}@127.0.0.1:1/fleet", "write / as %2F"),
    ("at", f"postgresql://app:{LEFT}@{RIGHT}@127.0.0.1:1/fleet", "more than one @"),
    ("hash", f"postgresql://app:{LEFT}#{RIGHT}@127.0.0.1:1/fleet", "# as %23"),
    ("question mark", f"postgresql://app:{LEFT}?{RIGHT}@127.0.0.1:1/fleet", "? as %3F"),
    ("percent", f"postgresql://app:{LEFT}%{RIGHT}@127.0.0.1:1/fleet", "% as %25"),
    ("percent at the end", f"postgresql://app:{LEFT}{RIGHT}%@127.0.0.1:1/fleet", "% as %25"),
    ("percent and NUL", f"postgresql://app:{LEFT}%00{RIGHT}@127.0.0.1:1/fleet", "% as %25"),
    ("no UTF-8", f"postgresql://app:{LEFT}%FF{RIGHT}@127.0.0.1:1/fleet", "as UTF-8"),
    ("space", f"postgresql://app:{LEFT} {RIGHT}@127.0.0.1:1/fleet", "a space as %20"),
    ("line break", f"postgresql://app:{LEFT}{RIGHT}@127.0.0.1:1/fleet\n", "a line break"),
    ("brackets", f"postgresql://app:{LEFT}[{RIGHT}@127.0.0.1:1/fleet", "[ as %5B"),
    ("both brackets", f"postgresql://app:[{LEFT}]{RIGHT}@127.0.0.1:1/fleet", "[ as %5B"),
    (
        "folded by NFKC",
        f"postgresql://app:{LEFT}\u2100{RIGHT}@127.0.0.1:1/fleet",
        "percent-encoded, as UTF-8",
    ),
    ("slash and at", f"postgresql://app:{LEFT}/@{RIGHT}@127.0.0.1:1/fleet", "write / as %2F"),
    ("slash, no host", f"postgresql://app:{LEFT}/{RIGHT}", "the port of host 1"),
    ("no at", f"postgresql://app:{LEFT}{RIGHT}/fleet", "the port of host 1"),
    ("no host's name", f"postgresql://app@{LEFT}!{RIGHT}/fleet", "host 1 cannot be read"),
    ("bad port", f"postgresql://app:{LEFT}{RIGHT}@127.0.0.1:{RIGHT}/fleet", "the port of host 1"),
    ("large port", f"postgresql://app:{LEFT}{RIGHT}@h,127.0.0.1:65536/fleet", "the port of host 2"),
    (
        "in the query: at",
        f"postgresql://127.0.0.1:1/fleet?user=app&password={LEFT}@{RIGHT}",
        "@ as %40",
    ),
    (
        "in the query: and",
        f"postgresql://127.0.0.1:1/fleet?password={LEFT}&{RIGHT}&user=app",
        "& as %26",
    ),
    (
        "in the query: and, is",
        f"postgresql://127.0.0.1:1/fleet?password={LEFT}&{RIGHT}=1",
        "& as %26",
    ),
    ("in the query: hash", f"postgresql://127.0.0.1:1/fleet?password={LEFT}#{RIGHT}", "# as %23"),
    (
        "in the query: port",
        f"postgresql://127.0.0.1/fleet?password={LEFT}&port={RIGHT}",
        "a port behind the ?",
    ),
    (
        "in the query: mode",
        f"postgresql://127.0.0.1:1/fleet?sslmode={LEFT}{RIGHT}",
        "sslmode must be one of",
    ),
    ("database", f"postgresql://app@127.0.0.1:1/{LEFT}/{RIGHT}", "write it as %2F"),
    ("another scheme", f"mysql://app:{LEFT}{RIGHT}@127.0.0.1:1/fleet", "begins with postgresql://"),
    (
        "SQLAlchemy's scheme",
        f"postgresql+asyncpg://app:{LEFT}{RIGHT}@h/fleet",
        "begins with postgresql://",
    ),
    ("one slash", f"postgresql:/app:{LEFT}{RIGHT}@127.0.0.1:1/fleet", "begins with postgresql://"),
    ("no scheme", f"app:{LEFT}{RIGHT}@127.0.0.1:1/fleet", "begins with postgresql://"),
    ("keywords", f"host=127.0.0.1 port=1 password={LEFT}{RIGHT}", "begins with postgresql://"),
)


def repeated(text: str) -> set[str]:
    """Return every piece of the password, of four characters, that is in the text."""
    pieces = {half[n : n + PIECE] for half in (LEFT, RIGHT) for n in range(len(half) - PIECE + 1)}
    return {piece for piece in pieces if piece.lower() in text.lower()}
