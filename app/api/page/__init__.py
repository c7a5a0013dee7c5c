"""The page for people at `/`: plain HTML, CSS and JavaScript, without a build step and without other hosts."""

from collections.abc import Awaitable, Callable
from html import escape
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from ..context import context_of

_FILES = Path(__file__).parent
# Only our own files: nothing that a text or a file contains can run or load anything.
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)


def install_page(app: FastAPI, *, enabled: bool) -> None:
    """Add `/` and the files of the page below `/page/`. If it is not enabled, `/` leads to `/docs`.

    All links are relative. Where the path prefix is known, they are relative to it, because a request for the prefix
    itself may lack the slash at its end.
    """
    if not enabled:
        _add(app, _to_docs, RedirectResponse, status=307)
        return
    html = (_FILES / "index.html").read_text(encoding="utf-8")

    async def page(request: Request) -> HTMLResponse:
        """Show the page for people."""
        prefix = request.scope.get("root_path")
        base = f'<base href="{escape(prefix)}/">\n' if prefix else ""
        context_of(request.scope).content_policy = _POLICY
        return HTMLResponse(html.replace("<title>", f"{base}<title>", 1), headers={"Cache-Control": "no-cache"})

    _add(app, page, HTMLResponse)
    app.mount("/page", StaticFiles(directory=_FILES / "static"), name="page")


def _add(
    app: FastAPI, endpoint: Callable[[Request], Awaitable[Response]], response: type[Response], status: int = 200
) -> None:
    for method in ("GET", "HEAD"):
        app.add_api_route(
            "/",
            endpoint,
            name="page",
            summary="Page",
            tags=["information"],
            methods=[method],
            response_class=response,
            response_model=None,
            status_code=status,
            include_in_schema=method == "GET",
        )


async def _to_docs(request: Request) -> RedirectResponse:
    """Lead to the interactive documentation."""
    prefix = request.scope.get("root_path")
    return RedirectResponse(f"{prefix}/docs" if prefix else "docs")
