"""How a DSN with several hosts is taken apart."""

from __future__ import annotations

import pytest

from storage.hosts import each_host


@pytest.mark.parametrize(
    ("dsn", "apart"),
    [
        pytest.param("postgresql://u@h/db", ["postgresql://u@h/db"], id="one host stays as it is"),
        pytest.param("postgresql:///db", ["postgresql:///db"], id="none stays as it is"),
        pytest.param(
            "postgresql://u:p%40w@h1:5432,h2:5433/db?sslmode=disable",
            [
                "postgresql://u:p%40w@h1:5432/db?sslmode=disable",
                "postgresql://u:p%40w@h2:5433/db?sslmode=disable",
            ],
            id="before the path",
        ),
        pytest.param(
            "postgresql://[::1]:5432,[::2]:5433/db",
            ["postgresql://[::1]:5432/db", "postgresql://[::2]:5433/db"],
            id="addresses in brackets",
        ),
        pytest.param(
            "postgresql://u@/db?host=%2Fa,h2&port=5432&target_session_attrs=read-write",
            [
                "postgresql://u@/db?host=%2Fa&port=5432&target_session_attrs=read-write",
                "postgresql://u@/db?host=h2&port=5432&target_session_attrs=read-write",
            ],
            id="in the query with one port",
        ),
        pytest.param(
            "postgresql://u@/db?host=h1,h2&port=1,2",
            ["postgresql://u@/db?host=h1&port=1", "postgresql://u@/db?host=h2&port=2"],
            id="in the query with a port each",
        ),
        pytest.param(
            "postgresql://u@/db?host=h1,h2&port=1,2,3",
            ["postgresql://u@/db?host=h1,h2&port=1,2,3"],
            id="what does not add up is the driver's to refuse",
        ),
    ],
)
def test_every_host_gets_a_dsn_of_its_own(dsn: str, apart: list[str]) -> None:
    assert each_host(dsn) == apart
