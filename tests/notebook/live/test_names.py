"""Names that cells assign and read, and the order that follows from them."""

from __future__ import annotations

import pytest

from reactive_db.errors import LiveCycleError
from reactive_db.notebook.live.names import Names, in_order, names_of


@pytest.mark.parametrize(
    ("code", "assigned", "read"),
    [
        ("y = x + 1", {"y"}, {"x"}),
        ("y += x", {"y"}, {"x"}),
        ("x = 1\nprint(x)", {"x"}, {"print"}),
        ("import math as m\nm.sqrt(x)", set(), {"m", "x"}),
        ("for row in rows: total = row", {"row", "total"}, {"rows"}),
        ("[a for a in rows if a > low]", set(), {"rows", "low"}),
        ("def f(a):\n    b = a\n    return a + b + rate", {"f"}, {"rate"}),
        ("def f():\n    global count\n    count = 1", {"f", "count"}, set()),
        ("class C(Base):\n    x = y", {"C"}, {"Base", "y"}),
        ("if (n := len(rows)): pass", {"n"}, {"len", "rows"}),
        ("with open(path) as file: text = file.read()", {"file", "text"}, {"open", "path"}),
        ("def f():\n    def g():\n        return deep\n    return g", {"f"}, {"deep"}),
    ],
)
def test_what_code_assigns_and_reads(code: str, assigned: set[str], read: set[str]) -> None:
    assert names_of(code) == Names(frozenset(assigned), frozenset(read))


def ordered(*codes: str) -> list[str]:
    return in_order({code: names_of(code) for code in codes}, label=str)


def test_who_reads_a_name_comes_after_whoever_assigns_it() -> None:
    assert ordered("c = b", "b = a", "a = 1") == ["a = 1", "b = a", "c = b"]


def test_cells_that_share_no_name_keep_their_order() -> None:
    assert ordered("z = 1", "y = 2", "x = 3") == ["z = 1", "y = 2", "x = 3"]


def test_the_join_of_a_diamond_comes_last() -> None:
    assert ordered("d = b + c", "b = a", "c = a", "a = 1")[-1] == "d = b + c"


def test_a_circle_is_an_error_that_names_its_cells() -> None:
    with pytest.raises(LiveCycleError, match=" → ") as caught:
        ordered("a = c", "b = a", "c = b", "z = a")
    for cell in ("a = c", "b = a", "c = b"):
        assert cell in str(caught.value)
    assert "z = a" not in str(caught.value)


def test_a_cell_that_reads_its_own_name_is_no_circle() -> None:
    assert ordered("n = n + 1") == ["n = n + 1"]
    assert ordered("import math\na = math.pi * b", "b = 1\nmath.e") == ["b = 1\nmath.e", "import math\na = math.pi * b"]
