"""Failures as HTTP answers: the only place that knows which failure gets which status and body.

Bodies follow acs-wire.md 3 (ACS) and 4.6 (SMS); `x-ms-error-code` repeats the code for clients that read no body.
"""

from typing import Any, cast

from landline.core.errors import Invalid, NotFound, Refusal, TooMany, Unauthorized, Unavailable
from landline.edge.http import Response, json_response
from landline.edge.routes import Access, ErrorStyle, MethodNotAllowed

_PROBLEM_TYPE = {
    400: "https://tools.ietf.org/html/rfc9110#section-15.5.1",
    404: "https://tools.ietf.org/html/rfc9110#section-15.5.5",
}
_LONG = 1000
"""Characters of a message that are told."""
_CHALLENGES = {
    Access.SERVICE: 'HMAC-SHA256, Bearer scope="https://communication.azure.com//.default"',
    Access.USER: "Bearer",
    Access.ADMIN: "Bearer",
}


def answer(error: Exception, style: ErrorStyle, access: Access, request_id: str) -> Response:
    """The response for `error`. Whatever is neither a `Refusal` nor `Unavailable` is a bug and shows nothing."""
    match error:
        case Refusal():
            return _refusal(error, style, access, request_id)
        case Unavailable():
            response = _acs(503, "ServiceUnavailable", error.message)
            response.headers["retry-after"] = _seconds(error.retry_after_s)
            return response
        case _:
            message = f"The server failed to handle the request. Its log says why, under request id {request_id}."
            return _acs(500, "InternalServerError", message)


def untie(error: BaseException) -> None:
    """Let go of the frames that `error`, and those that led to it, came through. A frame that still knows its error, or
    a future that does, is a circle with the request in it, and the collector of those comes seldom."""
    at: BaseException | None = error
    while at is not None and at.__traceback__ is not None:
        at.__traceback__ = None
        if isinstance(at, BaseExceptionGroup):
            for each in cast(BaseExceptionGroup[BaseException], at).exceptions:
                untie(each)
        at = at.__cause__ or at.__context__


def _refusal(error: Refusal, style: ErrorStyle, access: Access, request_id: str) -> Response:
    if style is ErrorStyle.SMS and isinstance(error, Invalid):
        response = _validation_problem(error, request_id)
    elif style is ErrorStyle.SMS and isinstance(error, NotFound):
        response = _problem(404, "Not Found", error, request_id)
    else:
        details = _details(error.errors) if isinstance(error, Invalid) and len(error.errors) > 1 else None
        response = _acs(error.status, error.code, error.message, error.target, details, error.inner)
    response.headers.update(error.headers)
    match error:
        case TooMany():
            response.headers["retry-after"] = _seconds(error.retry_after_s)
        case MethodNotAllowed():
            response.headers["allow"] = ", ".join(error.allowed)
        case Unauthorized() if access in _CHALLENGES:
            response.headers["www-authenticate"] = _CHALLENGES[access]
        case _:
            pass
    return response


def _acs(
    status: int,
    code: str,
    message: str,
    target: str | None = None,
    details: list[dict[str, str]] | None = None,
    inner: tuple[str, str] | None = None,
) -> Response:
    error: dict[str, Any] = {"code": code, "message": _part(message)}
    if target is not None:
        error["target"] = target
    if details:
        error["details"] = details
    if inner is not None:
        error["innererror"] = {"code": inner[0], "message": inner[1]}
    return json_response(status, {"error": error}, {"x-ms-error-code": code})


def _details(errors: dict[str, list[str]]) -> list[dict[str, str]]:
    return [
        {"code": Invalid.code, "message": _part(message), "target": target}
        for target, messages in errors.items()
        for message in messages
    ]


def _validation_problem(error: Invalid, request_id: str) -> Response:
    response = _problem(400, "One or more validation errors occurred.", error, request_id)
    body = {
        "type": _PROBLEM_TYPE[400],
        "title": "One or more validation errors occurred.",
        "status": 400,
        "errors": {field: [_part(each) for each in said] for field, said in error.errors.items()}
        or {"": [_part(error.message)]},
        "traceId": request_id,
    }
    return json_response(400, body, response.headers)


def _problem(status: int, title: str, error: Refusal, request_id: str) -> Response:
    body = {"type": _PROBLEM_TYPE[status], "title": title, "status": status, "traceId": request_id}
    headers = {"x-ms-error-code": error.code}
    return json_response(status, body, {**headers, "content-type": "application/problem+json; charset=utf-8"})


def _part(message: str) -> str:
    """`message`, but for the end of a very long one: what was sent stands in many, and may have a megabyte."""
    return message if len(message) <= _LONG else f"{message[:_LONG]}..."


def _seconds(duration_s: float) -> str:
    """Whole seconds, rounded up: `Retry-After` takes no fractions (RFC 9110 §10.2.3)."""
    return str(max(0, -int(-duration_s // 1)))
