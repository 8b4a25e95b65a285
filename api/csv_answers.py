"""Lists as CSV instead of JSON: which of the two a request asks for, and how a long list goes on.

Owns the choice, and the Link header to the rest. Columns and rows belong to each list.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import urlencode

from pydantic import Field
from quart import Response, request

from api.cursors import PageQuery
from api.spreadsheet import CSV_MEDIA_TYPE, Cell, csv_response, write_csv

JSON_OR_CSV = ("application/json", CSV_MEDIA_TYPE)
LINKED = {
    "Link": 'of CSV only: `<?…>; rel="next"` leads to the rows after these; absent at the end'
}
SERVED_BY = "Served-By"
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
LINKED_AND_SERVED = {
    **LINKED,
    SERVED_BY: "of CSV only: whose values these are, `core` or `legacy`, with rows or without",
}
MAX_CSV_ROWS = 20_000
MAX_DEVICES = 10_000  # of an import, and of a CSV that an import takes
ROWS_PER_QUERY = 500  # as many rows of the database are held beside the text


class CsvQuery(PageQuery):
    """The query parameters of a list that is JSON or CSV."""

    format: Literal["json", "csv"] | None = Field(
        None,
        description=f"instead of Accept. CSV starts at the cursor and has up to {MAX_CSV_ROWS} "
        f"rows (of devices {MAX_DEVICES}), whatever the limit; when more follow, "
        'a header `Link: <…>; rel="next"` leads to them',
    )

    @property
    def wants_csv(self) -> bool:
        """Return whether the current request asks for CSV, by this query or by its Accept."""
        if self.format is not None:
            return self.format == "csv"
        chosen = request.accept_mimetypes.best_match(JSON_OR_CSV, JSON_OR_CSV[0])
        return bool(chosen == CSV_MEDIA_TYPE)


def respond_csv(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    filename: str,
    next_cursor: str | None,
    headers: Mapping[str, str] = NO_HEADERS,
) -> Response:
    """Return the rows under their columns. With a cursor, a Link leads to the rows after them."""
    response = csv_response(write_csv(columns, rows), filename)
    response.headers.update(headers)
    if next_cursor is not None:
        # Relative, so that it holds behind a proxy that serves us under another path.
        kept = [
            (name, value)
            for name, value in request.args.items(multi=True)
            if name not in {"cursor", "format"}
        ]
        following = urlencode([*kept, ("format", "csv"), ("cursor", next_cursor)])
        response.headers["Link"] = f'<?{following}>; rel="next"'
    return response
