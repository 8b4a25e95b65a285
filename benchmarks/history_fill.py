"""Days of event history, written by the server itself from one event that the product wrote.

Every column of an event is taken from the catalogue, and every value from that event, except who it
is about, its place in the sequence and its times. So a column that is added later is filled too.
Owns the statements; the partitions have the form of storage/upkeep.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.place import fetch, run_script

if TYPE_CHECKING:
    from benchmarks.progress import Progress

COLUMNS: Final = """
SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = 'events'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attnum"""
SAMPLE: Final = """
SELECT workspace_id, device_id FROM events
GROUP BY workspace_id, device_id ORDER BY count(*) DESC, workspace_id, device_id LIMIT 1"""
# {name}, {begins}, {ends}: of the day. {per_day}: events of each device. {before}: of the days
# before. The index is made when the rows are there, as it is faster.
DAY: Final = """
CREATE TABLE {name} (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
INSERT INTO {name} ({columns})
SELECT {values}
FROM generate_series(0, {per_day} - 1) AS turn
CROSS JOIN (SELECT workspace_id, device_id,
                   row_number() OVER (ORDER BY workspace_id, device_id) AS place
            FROM device_state WHERE version > 0) AS d
CROSS JOIN LATERAL (SELECT {begins}::timestamptz + turn * interval '1 day' / {per_day}
                           + d.place * interval '1 ms' AS at) AS moment
CROSS JOIN (SELECT * FROM events WHERE workspace_id = {workspace_id} AND device_id = {device_id}
            ORDER BY sequence DESC LIMIT 1) AS sample;
ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ({begins}) TO ({ends});
"""
# What is there already comes after the history.
MOVE: Final = "UPDATE events SET sequence = sequence + {filled}"
COUNT_UP: Final = """
UPDATE device_state SET version = version + {filled} WHERE version > 0;
UPDATE snapshots SET version = version + {filled} WHERE version > 0;
"""
DAYS: Final = """
SELECT 'events_' || to_char(day, 'YYYYMMDD'), quote_literal(day::text),
       quote_literal((day + interval '1 day')::text)
FROM generate_series((clock_timestamp() AT TIME ZONE 'UTC')::date - $1::int,
                     (clock_timestamp() AT TIME ZONE 'UTC')::date - 1, interval '1 day') AS day"""


async def fill(dsn: str, *, days: int, per_day: int, progress: Progress) -> int:
    """Give each device that has reported `per_day` events on each of the last `days` days.

    Returns how many in all. The database has at least one event, and no process writes to it
    meanwhile. Without days this only writes the same rows anew, so that the tables have the form of
    filled ones.
    """
    await run_script(dsn, MOVE.format(filled=days * per_day))
    ((workspace_id, device_id),) = await fetch(dsn, SAMPLE)
    for number, (name, begins, ends) in enumerate(await fetch(dsn, DAYS, days)):
        columns = dict(await fetch(dsn, COLUMNS))
        values = [_value(column, kind, number * per_day) for column, kind in columns.items()]
        script = DAY.format(
            name=name,
            begins=begins,
            ends=ends,
            per_day=per_day,
            columns=", ".join(f'"{column}"' for column in columns),
            values=", ".join(values),
            workspace_id=f"'{workspace_id}'",
            device_id=f"'{device_id}'",
        )
        await run_script(dsn, script)
        progress.count(f"day {number + 1} of {days} is filled")
    await run_script(dsn, COUNT_UP.format(filled=days * per_day))
    for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
        await run_script(dsn, statement)
    ((devices,),) = await fetch(dsn, "SELECT count(*) FROM device_state WHERE version > 0")
    return int(devices) * days * per_day


def _value(column: str, kind: str, before: int) -> str:
    """Return the expression for one column of the history."""
    own = {
        "workspace_id": "d.workspace_id",
        "device_id": "d.device_id",
        "sequence": f"{before} + turn + 1",
        "recorded_at": "moment.at",
    }
    if column in own:
        return own[column]
    if kind == "timestamp with time zone":
        return f'moment.at + (sample."{column}" - sample.recorded_at)'
    return f'sample."{column}"'
