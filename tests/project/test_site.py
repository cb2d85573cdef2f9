"""The site's search finds what people look for; what it searches is made by `make docs`."""

from __future__ import annotations

import json

import pytest
from grammar_tools import ROOT, need

INDEX = ROOT / "site" / "search" / "search_index.json"
WANTED = {
    "checkpoint": "how-to/#follow-a-chain-of-checkpoints",
    "convert": "commands/convert/",
    "salvage": "how-to/#salvage-what-can-be-had-of-a-damaged-image",
    "exit code": "exit-codes/",
    "Azure": "how-to/#move-a-machine-to-azure",
}


@pytest.mark.parametrize("query", WANTED)
def test_search_finds(query: str) -> None:
    need(INDEX.exists(), "the site: make docs")
    index = json.loads(INDEX.read_text(encoding="utf-8"))
    words = query.lower().split()
    found = {
        entry["location"]: entry
        for entry in index["docs"]
        if all(word in f"{entry['title']} {entry['text']}".lower() for word in words)
    }
    assert WANTED[query] in found
    named = [place for place, entry in found.items() if all(word in entry["title"].lower() for word in words)]
    assert WANTED[query] in named, "in the heading, which counts the most"
