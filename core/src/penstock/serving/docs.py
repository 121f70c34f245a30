"""`/docs`: a page that shows the API from `/openapi.json` and lets one try it, with no script from anywhere else.

FastAPI's own page loads Swagger UI from a public address, which a cluster without a way out cannot reach; this one is a file of
this package.
"""

from functools import cache
from html import escape
from importlib.resources import files


@cache
def docs_page(title: str) -> bytes:
    """The page as UTF-8 HTML."""
    page = files("penstock.serving").joinpath("docs.html").read_text("utf-8")
    return page.replace("{{title}}", escape(title)).encode()
