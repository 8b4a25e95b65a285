"""docs/log-events.md against the code: each event is there, as the code logs it."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.architecture.log_calls import OPEN as OPEN_FIELDS
from tests.architecture.log_calls import STEPS, bound_names, logged
from tests.architecture.source import shipped_modules
from tests.log_catalogue import OPEN, catalogue, everywhere, examples, faults_of_line


def test_every_event_of_the_code_has_a_row_and_no_other_has() -> None:
    assert sorted(catalogue()) == sorted(logged())
    assert len(catalogue()) > 90


@pytest.mark.parametrize("event", sorted(logged()))
def test_a_row_has_the_level_and_the_fields_of_the_code(event: str) -> None:
    row, code = catalogue()[event], logged()[event]
    assert row.levels == code.levels
    assert row.fields == code.always - {OPEN_FIELDS}
    assert row.sometimes == code.sometimes
    assert (OPEN_FIELDS in code.always) == (event in OPEN)


def test_what_lines_are_about_is_bound_somewhere() -> None:
    about = {name for row in catalogue().values() for name in row.about}
    assert about <= bound_names()
    assert bound_names() <= everywhere() | about


def test_every_row_says_when_and_what_to_do() -> None:
    assert [row.event for row in catalogue().values() if not (row.when and row.advice)] == []


def test_every_event_has_one_example_which_is_as_its_row_says() -> None:
    assert Counter(line["event"] for line in examples()) == Counter(dict.fromkeys(catalogue(), 1))
    assert [fault for line in examples() for fault in faults_of_line(line)] == []


def test_every_example_has_a_time_and_a_logger_of_the_service() -> None:
    sources = "\n".join(module.text for module in shipped_modules())
    for line in examples():
        assert line["timestamp"].endswith("Z")
        assert f'get_logger("{line["logger_name"]}")' in sources, line


def test_every_logger_has_a_name_which_its_lines_carry() -> None:
    bare = [str(one.path) for one in shipped_modules() if "structlog.get_logger(" in one.text]
    assert bare == ["runtime/logs.py"]


def test_a_line_that_is_not_as_its_row_says_has_faults() -> None:
    good = next(line for line in examples() if line["event"] == "workspace_taken_up")
    assert faults_of_line(good | {"new": 1}) == ["workspace_taken_up has new"]
    assert faults_of_line(good | {"level": "error"}) == ["workspace_taken_up is error"]
    del good["token"]
    assert faults_of_line(good) == ["workspace_taken_up lacks token"]
    assert faults_of_line({"event": "unheard_of", "level": "info"}) == [
        "unheard_of is not in the page"
    ]
    assert faults_of_line({"event": "A library says so.", "level": "info"}) == []


def test_the_steps_of_a_cutover_are_those_of_the_code() -> None:
    named = "".join(module.text for module in shipped_modules() if module.folder == "actors")
    assert {step for step in STEPS if f'name: Final = "{step}"' in named} == set(STEPS)
