"""A refusal tells its client the reason, and nothing of the service's insides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import structlog
from pydantic import BaseModel
from quart import abort
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, ImATeapot, MethodNotAllowed, NotFound

from api.problem_types import CATALOGUE, CONFLICT, INVALID_BODY, OVERLOADED, UNAUTHENTICATED
from api.problems import FaultyPart, Problem, install_problem_handlers, problem_for
from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from quart.typing import TestClientProtocol
    from werkzeug.datastructures import Headers


def make_client(error: Exception) -> TestClientProtocol:
    app = QuartTrio(__name__)

    @app.get("/")
    async def raise_it() -> str:
        raise error

    install_problem_handlers(app)
    return app.test_client()


async def answer_to(error: Exception) -> tuple[int, Headers, dict[str, Any]]:
    response = await make_client(error).get("/")
    assert response.content_type == "application/problem+json"
    return response.status_code, response.headers, await response.get_json()


async def test_a_problem_has_the_members_of_the_rfc_and_its_extensions() -> None:
    problem = Problem(
        INVALID_BODY,
        "One place is wrong.",
        errors=[FaultyPart(pointer="/updates/0/value", detail="Input should be a valid number")],
        instance="/ingest/7",
        extensions={"accepted": 3, "status": 200},
    )
    status, _, body = await answer_to(problem)
    assert status == 422
    assert body == {
        "type": "urn:lastheard:problem:invalid-body",
        "title": "The body is JSON, but not what this operation takes",
        "status": 422,
        "detail": "One place is wrong.",
        "instance": "/ingest/7",
        "errors": [{"pointer": "/updates/0/value", "detail": "Input should be a valid number"}],
        "accepted": 3,
    }


async def test_retry_after_is_in_whole_seconds_and_never_zero() -> None:
    for seconds, shown in ((0.0, 1), (0.2, 1), (1.0, 1), (1.01, 2)):
        _, headers, body = await answer_to(Problem(OVERLOADED, retry_after_seconds=seconds))
        assert (headers["Retry-After"], body["retry_after"]) == (str(shown), shown)


async def test_headers_of_a_problem_reach_the_client() -> None:
    _, headers, _ = await answer_to(
        Problem(UNAUTHENTICATED, headers={"WWW-Authenticate": "Bearer"})
    )
    assert headers["WWW-Authenticate"] == "Bearer"


async def test_an_unknown_path_is_a_problem() -> None:
    response = await make_client(NotFound()).get("/nowhere")
    assert (await response.get_json())["type"] == "urn:lastheard:problem:not-found"


async def test_a_wrong_method_is_answered_with_those_allowed() -> None:
    response = await make_client(MethodNotAllowed()).delete("/")
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert (await response.get_json())["type"] == "urn:lastheard:problem:method-not-allowed"


async def test_a_status_without_a_type_of_ours_is_about_blank() -> None:
    status, _, body = await answer_to(ImATeapot())
    assert (status, body) == (418, {"type": "about:blank", "title": "I'm a Teapot", "status": 418})


def test_the_text_of_an_abort_is_the_detail_unless_it_is_stock() -> None:
    with pytest.raises(HTTPException) as said:
        abort(404, "No workspace of that name.")
    assert problem_for(said.value).detail == "No workspace of that name."
    assert problem_for(NotFound()).detail is None


async def test_a_crash_shows_only_an_incident_id_that_the_log_has() -> None:
    with structlog.testing.capture_logs() as logs:
        status, _, body = await answer_to(ZeroDivisionError("password=hunter2"))
    assert status == 500
    assert "hunter2" not in str(body)
    assert "ZeroDivision" not in str(body)
    (line,) = logs
    assert line["event"] == "request_crashed"
    assert body["instance"] == f"urn:lastheard:incident:{line['incident_id']}"


async def test_an_invalid_value_of_ours_is_a_crash_not_a_clients_fault() -> None:
    class Answer(BaseModel):
        age_seconds: float

    with structlog.testing.capture_logs(), pytest.raises(ValueError, match="age_seconds") as failed:
        Answer.model_validate({"age_seconds": "young"})
    with structlog.testing.capture_logs():
        status, _, _ = await answer_to(failed.value)
    assert status == 500


async def test_an_environment_fault_is_a_503_with_the_wait_it_asks_for() -> None:
    class DatabaseAway(EnvironmentFault):
        pass

    status, headers, body = await answer_to(DatabaseAway("dsn=secret", retry_after=7.5))
    assert (status, headers["Retry-After"]) == (503, "8")
    assert "secret" not in str(body)


async def test_a_permanent_fault_does_not_invite_a_retry() -> None:
    status, headers, _ = await answer_to(EnvironmentFault("schema unknown", permanent=True))
    assert status == 503
    assert "Retry-After" not in headers


async def test_a_problem_out_of_a_nursery_is_still_that_problem() -> None:
    status, _, body = await answer_to(
        ExceptionGroup("nursery", [Problem(CONFLICT, "Two at once.")])
    )
    assert (status, body["detail"]) == (409, "Two at once.")


async def test_an_error_while_a_response_is_finished_is_a_crash() -> None:
    app = QuartTrio(__name__)

    @app.get("/")
    async def fine() -> str:
        return "fine"

    @app.after_request
    async def fail(response: Any) -> Any:
        raise ZeroDivisionError

    install_problem_handlers(app)
    app.logger.disabled = True  # the framework logs it as well, before it asks us
    with structlog.testing.capture_logs() as logs:
        response = await app.test_client().get("/")
    assert response.status_code == 500
    assert (await response.get_json())["instance"].endswith(logs[0]["incident_id"])


def test_every_type_has_its_own_name_and_a_status_of_a_refusal() -> None:
    assert len({kind.slug for kind in CATALOGUE}) == len(CATALOGUE) > 15
    assert all(400 <= kind.status <= 599 for kind in CATALOGUE)
