"""The embedded reasoner was trained on these texts, and its numbers were measured on these problems: to the byte."""

import hashlib
import json

import pytest

from concise_rl.tasks.tiny import load_careless_traces, load_problems, load_traces

FROZEN = {
    "29cabbc1bda62898": lambda: load_traces(500, seed=0),
    "611827b3de3286dd": lambda: load_traces(500, seed=7, direct=0.1),
    "bb1dbf0d2a0a29e3": lambda: load_careless_traces(500, seed=1),
    "9f5367c0bd80bfa5": lambda: load_problems("train", 300, 0),
    "c6b92582603e4654": lambda: load_problems("test", 300, 5),
}


@pytest.mark.parametrize("digest", FROZEN)
def test_the_rows_of_the_embedded_reasoner_are_what_they_have_always_been(digest: str) -> None:
    assert hashlib.sha256(json.dumps(FROZEN[digest]()).encode()).hexdigest()[:16] == digest
