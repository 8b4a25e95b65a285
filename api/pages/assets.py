"""Styles and scripts of the pages: files of the package, under an address that names their content.

A browser keeps them for ever, because changed files have another address. All of them are read
once, when the application is made.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from quart import Response

from api.problem_types import NOT_FOUND
from api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH: Final = "/assets/<digest>/<name>"
_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_DIGEST_CHARACTERS: Final = 16


@cache
def read_assets() -> Mapping[str, bytes]:
    """Return the content of every file by its name."""
    folder = files("api") / "pages" / "static"
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}


@cache
def content_digest() -> str:
    """Return the digest of all files together: scripts import each other by relative addresses."""
    hashed = hashlib.sha256()
    for name, content in sorted(read_assets().items()):
        hashed.update(f"{name}\0{len(content)}\0".encode() + content)
    return hashed.hexdigest()[:_DIGEST_CHARACTERS]


def asset(name: str) -> str:
    """Return the address of a file. Raises KeyError for a file that does not exist."""
    read_assets()[name]
    return f"/assets/{content_digest()}/{name}"


async def get_asset(digest: str, name: str) -> Response:
    """Serve a file. An address of another release gets today's file, which is not to be kept."""
    content = read_assets().get(name)
    kind = _TYPES.get(name.rpartition(".")[2])
    if content is None or kind is None:
        raise Problem(NOT_FOUND)
    caching = _FOR_EVER if digest == content_digest() else "no-cache"
    return Response(content, content_type=kind, headers={"Cache-Control": caching})
