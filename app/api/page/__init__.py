"""The page for people at `/`: plain HTML, CSS and JavaScript, without a build step and without other hosts."""

from html import escape
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse
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
        app.add_route("/", _to_docs, methods=["GET", "HEAD"], include_in_schema=False)
        return
    html = (_FILES / "index.html").read_text(encoding="utf-8")

    async def page(request: Request) -> HTMLResponse:
        prefix = request.scope.get("root_path")
        base = f'<base href="{escape(prefix)}/">\n' if prefix else ""
        context_of(request.scope).content_policy = _POLICY
        return HTMLResponse(html.replace("<title>", f"{base}<title>", 1), headers={"Cache-Control": "no-cache"})

    app.add_route("/", page, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/page", StaticFiles(directory=_FILES / "static"), name="page")


async def _to_docs(request: Request) -> RedirectResponse:
    prefix = request.scope.get("root_path")
    return RedirectResponse(f"{prefix}/docs" if prefix else "docs")
