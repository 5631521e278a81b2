"""The web process: a WSGI application for Gunicorn."""

import html
import json
from pathlib import Path

import bottle

from guestbook.notes import open_notes
from guestbook.platform import versions

STATIC = Path(__file__).parent.parent / "static"

PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Guest book</title>
    <link rel="stylesheet" href="/static/main.css">
    <script src="/static/main.js" defer></script>
  </head>
  <body>
    <h1>Guest book</h1>
    <form id="sign"><input name="name" placeholder="name"> <input name="text" required> <button>Sign</button></form>
    <ul id="notes"></ul>
    <h2>What this page stands on</h2>
    <pre id="platform">{platform}</pre>
  </body>
</html>
"""

application = bottle.Bottle()
notes = open_notes()
platform = versions()


@application.get("/")
def page():
    lines = "\n".join(f"{name:26}{version}" for name, version in platform.items())
    return PAGE.format(platform=html.escape(lines))


@application.get("/api/platform")
def platform_data():
    return platform


@application.get("/api/notes")
def all_notes():
    bottle.response.content_type = "application/json"
    return json.dumps(notes.all())


@application.post("/api/notes")
def sign():
    notes.add(bottle.request.forms.getunicode("name", "")[:100], bottle.request.forms.getunicode("text", "")[:1000])
    bottle.response.status = 201


@application.get("/static/<path:path>")
def static(path):
    return bottle.static_file(path, root=STATIC)
