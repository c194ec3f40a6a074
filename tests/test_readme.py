"""The README's program prints what the README says, and its rejected document is rejected with those words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import reactive_db as rdb

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(python|text)\n(.*?)```", re.DOTALL)


def test_the_program_prints_what_stands_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    (_, program), (_, output), (_, rejected), (_, error) = BLOCK.findall(README)
    namespace: dict[str, Any] = {"__name__": "readme"}
    try:
        exec(compile(program, "README.md", "exec"), namespace)
        assert capsys.readouterr().out == output

        with pytest.raises(rdb.errors.DocumentError) as raised:
            exec(compile(rejected, "README.md", "exec"), namespace)
        assert f"reactive_db.errors.DocumentError: {raised.value}\n" == error
    finally:
        rdb.connect().close()
