"""The interactive documentation: Swagger UI, and the OpenAPI document that it shows."""

import asyncio

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

_ASSETS = "static-offline-docs"


def install_docs(app: FastAPI) -> None:
    """Add `/docs`, its files and `/openapi.json`.

    FastAPI's own page loads its files from another host. All links are relative, so that they work below any prefix,
    even if the proxy does not state it.
    """
    app.mount(f"/{_ASSETS}", StaticFiles(packages=[("fastapi_offline", "static")]), name=_ASSETS)

    async def docs(_request: Request) -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=f"{app.title} - Swagger UI",
            swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{_ASSETS}/favicon.png",
        )

    generating = asyncio.Lock()

    async def document(request: Request) -> JSONResponse:
        prefix = request.scope.get("root_path")
        server = {"url": prefix} if prefix else {"url": ".", "description": "relative to this document"}
        async with generating:  # the first time, it takes half a second, during which others must be answered
            content = await asyncio.to_thread(app.openapi)
        return JSONResponse(content | {"servers": [server]})

    app.add_route("/docs", docs, include_in_schema=False)
    app.add_route("/openapi.json", document, include_in_schema=False)
