"""Every page of docs/errors: its example, run as it stands, raises exactly the error it is about."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import reactive_db as rdb

FOLDER = Path(__file__).parent.parent / "docs" / "errors"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.stem != "README")
EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking beside threads, which one page is about
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_raises_the_error_of_its_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.read_text(encoding="utf-8")
    title = re.match(r"# (\w+) `\[([\w-]+)\]`", text)
    (example,) = EXAMPLE.findall(text)
    assert title is not None
    assert title[2] == page.stem
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": f"example_{page.stem.replace('-', '_')}"}
    code = compile(example, str(page), "exec")
    try:
        with pytest.raises(getattr(rdb.errors, title[1])) as raised:
            exec(code, namespace)
        assert type(raised.value).__name__ == title[1]
        assert title[1] == "ApplicationError" or str(raised.value).endswith(f"docs/errors/{page.stem}.md")
    finally:
        for target in (None, "course", "./course.rdb"):
            opened = rdb.database._open.get(None if target is None else rdb.database.store_path(target))
            if opened is not None:
                opened.close()


def test_the_index_names_every_page() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")

    assert re.findall(r"\| \[([\w-]+)\]\(\1\.md\)", index) == [page.stem for page in PAGES]
