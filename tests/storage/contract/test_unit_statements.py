"""The newest statement about a device counts, and only one of its present assignment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from domain.model import ProviderStatement, StatementKind
from tests.storage.contract.cast import HARBOUR, submission

if TYPE_CHECKING:
    from tests.storage.contract.cast import World

NAMED, LEFT_OUT, ERROR = StatementKind.NAMED, StatementKind.LEFT_OUT, StatementKind.ERROR


def said(
    world: World, kind: StatementKind, begun: float, ended: float, detail: str | None = None
) -> ProviderStatement:
    """Return a statement about bus-1 whose call was begun and ended so many minutes ago."""
    times = (world.ago(minutes=begun), world.ago(minutes=ended))
    return ProviderStatement(HARBOUR, kind, ("bus-1",), *times, detail)


async def stored(world: World) -> tuple[str | None, str | None]:
    row = await world.device_row("bus-1")
    return row.statement, row.statement_detail


@pytest.mark.parametrize("together", [True, False])
async def test_the_statement_whose_call_was_begun_last_counts(world: World, together: bool) -> None:
    statements = (said(world, ERROR, 3, 3, "504"), said(world, NAMED, 5, 1))
    if together:
        await world.commit(submission(statements=statements))
    else:
        for statement in statements:
            await world.commit(submission(statements=(statement,)))
    assert await stored(world) == ("error", "504")


async def test_a_device_that_was_left_out_can_be_named_again(world: World) -> None:
    await world.commit(submission(statements=(said(world, LEFT_OUT, 3, 3),)))
    assert await stored(world) == ("left_out", None)
    await world.commit(submission(statements=(said(world, NAMED, 2, 2),)))
    assert await stored(world) == ("named", None)


async def test_a_statement_from_before_the_activation_does_not_count(world: World) -> None:
    activated_at = (await world.device_row("bus-1")).statements_count_from
    assert activated_at is not None
    early = said(world, LEFT_OUT, 0, 0)._replace(begun_at=activated_at.replace(year=2000))
    await world.commit(submission(statements=(early,)))
    assert await stored(world) == (None, None)
