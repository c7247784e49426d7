"""The layout of all pages. Style sheet and script are part of the page, so that it does not load anything else."""

from __future__ import annotations

import base64
import hashlib
from http import HTTPStatus

from starlette.responses import HTMLResponse, Response

from airflow_provider_polyteia.sandbox.web_ui.html import to_html

_STYLE = """
:root { color-scheme: light }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2433; background: #f5f6f9; margin: 0; overflow-wrap: anywhere }
header { background: #1d2b53; color: #fff; padding: .8rem 2rem; display: flex; flex-wrap: wrap; gap: 0 1rem }
header a { color: #fff; text-decoration: none } header span { color: #c9d2ea }
main { max-width: 76rem; margin: 1.5rem auto 0; padding: 0 2rem 3rem }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .3rem 0 }
h1 { font-size: 1.5rem; line-height: 1.3; margin: 0 0 .3rem }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
h2 .copyable { font-size: 1rem; font-weight: 400; margin-left: .3rem }
p { margin: .3rem 0 .6rem } a { color: #1f4fbf } .quiet, small, dt { color: #5b6478 } small { font-size: .875rem }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .9em } time { white-space: nowrap }
table { border-collapse: collapse; width: 100%; background: #fff; box-shadow: 0 1px 2px #0002 }
th, td { text-align: left; padding: .4rem .8rem; border-bottom: 1px solid #e4e7ee; vertical-align: baseline }
th { background: #eef0f6; font-weight: 600; overflow-wrap: normal } .number { text-align: right; white-space: nowrap }
th small { display: block; font-weight: 400 }
.scroll { overflow-x: auto; background: #fff; box-shadow: 0 1px 2px #0002 }
.data { width: auto; min-width: 100%; box-shadow: none }
.data th { white-space: nowrap }
.data td div { width: max-content; max-width: 24rem; white-space: pre-wrap; overflow: hidden; display: -webkit-box;
  -webkit-box-orient: vertical; -webkit-line-clamp: 4 }
.data td.number div { margin-left: auto }
.fields th { width: 12rem }
dl { display: flex; flex-wrap: wrap; gap: .3rem 2.5rem; margin: .3rem 0 }
dl div { display: flex; flex-wrap: wrap; gap: 0 .6rem } dd { margin: 0 }
.copyable { display: inline-flex; align-items: baseline; gap: .5rem } .id code { white-space: nowrap }
button { font: inherit; font-size: .8rem; padding: 0 .5rem; border: 1px solid #b9c3e0; border-radius: 4px;
  background: #fff; color: #1f4fbf; cursor: pointer; flex: none; white-space: nowrap }
button:hover { background: #eef0f6 }
.block { display: flex; gap: .8rem; align-items: start; background: #fff; padding: .6rem .8rem; margin: .3rem 0 .8rem;
  box-shadow: 0 1px 2px #0002 }
pre { margin: 0; flex: 1; min-width: 0; white-space: pre-wrap }
.fault, .failure { border-radius: 4px; padding: .05rem .4rem }
.fault { background: #fff0d6; color: #7a4500 } .failure { background: #fde4e4; color: #98211f }
@media (min-width: 1100px) { .cards td:first-child { min-width: 12rem } }
@media (max-width: 980px) {
  header { padding: .7rem 1rem } main { padding: 0 1rem 2rem; margin-top: 1rem }
  h2 .copyable { margin-left: 0 }
  h1 { font-size: 1.3rem } thead.names { display: none }
  .cards, .cards tbody, .fields, .fields tbody { display: block }
  .cards tr, .fields tr { display: block; padding: .5rem 0; border-bottom: 1px solid #d5d9e4 }
  .cards td { display: grid; grid-template-columns: 6rem 1fr; gap: .6rem; align-items: baseline; border: 0;
    padding: .1rem .6rem; text-align: left; white-space: normal }
  .cards td::before { content: attr(data-label); color: #5b6478 }
  .cards.compact tr { display: flex; flex-wrap: wrap; padding: .4rem 0 }
  .cards.compact td { display: block } .cards.compact td::before { content: none }
  .cards.compact td.number { margin-left: auto }
  .cards td.empty, .cards.compact td.empty { display: none }
  .fields th, .fields td { display: block; width: auto; border: 0; background: none; padding: 0 .6rem }
  .data td div { max-width: 16rem; -webkit-line-clamp: 2 }
  code { font-size: .85em } button { font-size: .85rem; padding: .1rem .5rem }
}
@media (max-width: 400px) { .id code { white-space: normal } }
"""

# `navigator.clipboard` exists only on pages from loopback addresses and with HTTPS, and a browser may not allow it.
_SCRIPT = """
function copySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("the browser does not allow copying");
}
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).catch(() => copySelection(text));
  copySelection(text);
}
document.addEventListener("click", async event => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  button.textContent = await copy(button.dataset.copy).then(() => "Copied", () => "Not copied");
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});
"""


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# The hashes allow only this style sheet and this script, even if a value were not escaped.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash(_STYLE)}",
        f"script-src {_hash(_SCRIPT)}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
# Without an icon in the page, browsers request /favicon.ico.
_HEAD = (
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<link rel="icon" href="data:,"><style>{_STYLE}</style>'
)
_HEADER = (
    '<header><a href="/"><strong>Polyteia sandbox</strong></a>'
    "<span>a local emulator of the Polyteia API; no data leaves this machine</span></header>"
)


def page(title: str, *parts: str, status: int = HTTPStatus.OK) -> Response:
    """Return a complete page as a response.

    :param parts: Content of the page below its title, as HTML.
    """
    shown_title = to_html(title)
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><title>{shown_title} - Polyteia sandbox</title>{_HEAD}</head>'
        f"<body>{_HEADER}<main><h1>{shown_title}</h1>{''.join(parts)}</main><script>{_SCRIPT}</script></body></html>",
        status_code=status,
        headers=_HEADERS,
    )
