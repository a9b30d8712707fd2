"""`/reset-password`: the page behind a link for a new password; opening it uses nothing up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flask import Response, render_template, request
from flask_openapi3.blueprint import APIBlueprint
from pydantic import SecretStr, ValidationError

from core.account_errors import InvalidResetToken
from core.errors import InvalidRequest, ServiceUnavailable
from web.accounts.password_routes import set_by_link
from web.accounts.schemas import ResetRequest
from web.http.errors import to_invalid_request
from web.services import current_services

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI

_POLICY: Final = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'"
#: That it is not kept and sends no referrer is what every response says.
_HEADERS: Final = {"Content-Security-Policy": f"{_POLICY}; frame-ancestors 'none'"}
#: Longer than any token.
_MAX_TOKEN_CHARS: Final = 128


def register_reset_page(app: OpenAPI) -> None:
    """Serve the page and its stylesheet."""
    css = Path(__file__).with_name("style.css").read_bytes()
    blueprint = APIBlueprint("pages", __name__, doc_ui=False, template_folder="templates")

    @blueprint.get("/reset-password")
    def form() -> Response:
        return _show_form(request.args.get("token", ""))

    @blueprint.post("/reset-password")
    def submit() -> Response:
        return _set_password(request.form.get("token", ""), request.form.get("new_password", ""))

    @blueprint.get("/reset-password/style.css")
    def style() -> Response:
        response = Response(css, mimetype="text/css", headers={"Cache-Control": "no-cache"})
        response.add_etag()
        response.make_conditional(request)
        return response

    app.register_api(blueprint)


def _show_form(token: str, problem: str = "", status: int = 200) -> Response:
    try:
        if not 0 < len(token) <= _MAX_TOKEN_CHARS:
            raise InvalidResetToken
        target = current_services().password_changes.find_reset(token)
    except (InvalidResetToken, ServiceUnavailable) as error:
        return _refuse(error)
    return _page(status, token=token, email=target.email, problem=problem)


def _set_password(token: str, new_password: str) -> Response:
    try:
        body = ResetRequest.model_validate(
            {"token": SecretStr(token), "new_password": SecretStr(new_password)}
        )
        set_by_link(body.token, body.new_password)
    except ValidationError as error:
        return _ask_again(token, to_invalid_request(error))
    except (InvalidResetToken, ServiceUnavailable) as error:
        return _refuse(error)
    except InvalidRequest as error:
        return _ask_again(token, error)
    return _page(200, is_done=True)


def _ask_again(token: str, error: InvalidRequest) -> Response:
    if error.field == "token":
        return _refuse(InvalidResetToken())
    problem = error.message.replace("`new_password`", "The password")
    return _show_form(token, problem, error.status)


def _refuse(error: InvalidResetToken | ServiceUnavailable) -> Response:
    response = _page(error.status, problem=error.message)
    if isinstance(error, ServiceUnavailable):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _page(status: int, **shown: Any) -> Response:
    return Response(render_template("reset_password.html", **shown), status, headers=_HEADERS)
