"""The page needs nothing but itself, and runs nothing but itself."""

import base64
import hashlib
import re

from fastserve.server.openapi.page import page


def test_its_policy_allows_its_own_script_and_style_alone():
    response = page()
    headers = dict(response.headers)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    for tag in ("script", "style"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", response.body.decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"


def test_it_fetches_nothing_from_elsewhere_and_makes_no_markup_of_what_it_is_told():
    text = page().body.decode()
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|style=", text)
    assert not re.search(r"\son\w+=", text)
