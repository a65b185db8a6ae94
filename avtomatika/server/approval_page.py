"""The page of an approval: the question and a button for each decision, for a person who has only a browser."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from aiohttp import web

from avtomatika.core.waits import ApprovalWait

# No script, nothing from elsewhere, in nobody's frame. The address, which has the token in it, goes nowhere: so say the
# headers that every answer has.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
}
_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:38rem;margin:12vh auto;padding:0 1rem}
p{white-space:pre-wrap;font-size:1.15rem}
label{display:block;margin:1rem 0 .3rem;font-size:.9rem}
input,textarea{font:inherit;width:100%;box-sizing:border-box;padding:.5rem}
button{font:inherit;padding:.6rem 1.4rem;margin:1.2rem .6rem 0 0;cursor:pointer}
small{opacity:.75}
"""


def question(job_id: str, wait: ApprovalWait) -> web.Response:
    """Returns the page with the question; its form goes to the page's own address."""
    buttons = "".join(
        f'<button name="decision" value="{escape(word)}">{escape(word.replace("_", " "))}</button>'
        for word in wait.decisions
    )
    return _page(
        "Your decision is needed",
        f"<p>{escape(wait.message)}</p>"
        '<form method="post"><label for="by">Your name</label><input id="by" name="by" maxlength="200">'
        '<label for="comment">Comment</label><textarea id="comment" name="comment" rows="3"></textarea>'
        f"{buttons}</form><small>job {escape(job_id)}</small>",
    )


def thanks(decision: str) -> web.Response:
    """Returns the page that follows a decision."""
    return _page("Thank you", f"<p>Your decision is noted: {escape(decision.replace('_', ' '))}.</p>")


def refusal(message: str, status: int) -> web.Response:
    """Returns the page that says why a decision cannot be taken."""
    return _page("This decision cannot be taken", f"<p>{escape(message)}</p>", status)


def is_form(headers: Mapping[str, str]) -> bool:
    """Returns whether a request comes from the page's form, so that a page is what its sender can read."""
    return headers.get("Content-Type", "").partition(";")[0].strip() == "application/x-www-form-urlencoded"


def _page(title: str, content: str, status: int = 200) -> web.Response:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    text = f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body><h1>{title}</h1>{content}'
    return web.Response(text=f"{text}</body></html>", status=status, content_type="text/html", headers=_HEADERS)
