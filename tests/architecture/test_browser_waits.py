"""What is waited for in a browser is a function: a page's policy lets no text be evaluated at the second look."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
WAIT = re.compile(r"wait_for_function\(\s*f?[\"']+(?!\s*(?:async )?(?:\(\)|\w+) =>)(?!\{[A-Z]+\})")
"""One whose text begins neither as a function does nor with a constant that is the beginning of one."""


def test_only_functions_are_waited_for():
    waits = [path.relative_to(TESTS) for path in TESTS.rglob("*.py") if WAIT.search(path.read_text())]
    assert waits == []


def test_an_expression_is_found():
    assert WAIT.search("page.wait_for_" + """function(f"document.hidden === {no}")""")
    assert not WAIT.search("page.wait_for_" + """function("() => document.hidden")""")
    assert not WAIT.search("page.wait_for_" + """function(\n    "least => least", arg=1)""")
