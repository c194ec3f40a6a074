"""The page about a server's stores: live, by keyboard alone, in the dark, and honest when its server is gone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

import reactive_db as rdb
from tests.browser.lab import PROGRAM, Lab
from tests.servers import STOP_SECONDS_MAX, TOKEN, free_port, server, server_environment, server_options

SHARED = PROGRAM.replace('rdb.connect(f"kernel-{os.getpid()}")', "rdb.connect({store!r})")
MORE = """
class Player(rdb.Document, table="players"):
    name: str

@rdb.mutation
def join(ctx: rdb.MutationCtx, name: str) -> None:
    ctx.db.insert(Player(name=name))

db.run(add, "apple", 3)
db.run(join, "ada")
"""
LUMINANCE = """element => {
    const style = getComputedStyle(element);
    const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 765;
    return [light(style.backgroundColor), light(style.color)];
}"""


def program(store: str) -> str:
    return SHARED.replace("{store!r}", repr(store)) + MORE


def opened(lab: Lab, store: str) -> Page:
    page = lab.open_address(f"{lab.url}/reactive-db/?token={TOKEN}#store={store}").page
    expect(link(page)).to_have_text("live")
    return page


def link(page: Page) -> Locator:
    return page.locator("#link")


def tab(page: Page, name: str) -> Locator:
    return page.get_by_role("tab", name=name)


def table(page: Page, name: str) -> Locator:
    return page.get_by_role("listbox", name="Tables").get_by_role("option", name=name)


def test_a_commit_of_a_kernel_shows_without_a_reload(lab: Lab) -> None:
    notebook = lab.open(program("shown"), "db.run(add, 'pear', 4)")
    notebook.run(0)
    page = opened(lab, "shown")
    documents = page.get_by_role("table", name="Newest documents of items")
    expect(table(page, "items")).to_contain_text("1")
    expect(documents.locator("tbody tr")).to_have_count(1)
    notebook.page.bring_to_front()
    notebook.run(1)
    page.bring_to_front()
    expect(table(page, "items")).to_contain_text("2")
    expect(documents.locator("tbody tr").first).to_contain_text("pear")
    tab(page, "Commits").click()
    expect(page.get_by_role("table", name="Recent commits").locator("tbody tr").first).to_contain_text("items+1")
    tab(page, "Functions").click()
    expect(page.get_by_role("table", name="Functions").locator("tbody tr").first).to_contain_text("add2")


def test_the_keyboard_alone_reaches_everything(lab: Lab) -> None:
    lab.open(program("keys")).run(0)
    page = opened(lab, "keys")
    for _ in range(2):  # the store, its tabs
        page.keyboard.press("Tab")
    expect(tab(page, "Tables")).to_be_focused()
    places = [one.bounding_box() for one in page.get_by_role("tab").all()]
    page.keyboard.press("ArrowRight")
    expect(tab(page, "Sessions")).to_be_focused()
    expect(page.get_by_role("table", name="Sessions")).to_contain_text("this page")
    assert [one.bounding_box() for one in page.get_by_role("tab").all()] == places, "the tabs moved"
    page.keyboard.press("End")
    expect(tab(page, "Errors")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tabpanel")).to_contain_text("No request has failed")
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    expect(table(page, "items")).to_be_focused()
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("ArrowDown")
    expect(table(page, "players")).to_be_focused()
    expect(page.get_by_role("table", name="Newest documents of players")).to_contain_text("ada")
    assert "table=players" in page.url


def test_in_the_dark_it_is_dark(lab: Lab) -> None:
    lab.open(program("dark")).run(0)
    page = opened(lab, "dark")
    for scheme, is_dark in (("light", False), ("dark", True)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        background, text = page.locator("body").evaluate(LUMINANCE)
        assert (background < text) == is_dark
        assert abs(background - text) > 0.6
    page.emulate_media(color_scheme="light")


def test_a_server_that_is_gone_is_said_and_it_comes_back(lab: Lab, tmp_path: Path) -> None:
    with rdb.connect(tmp_path / "stores" / "kept.rdb"):
        pass
    port = free_port()
    with _jupyter(tmp_path, port) as url:
        page = lab.open_address(f"{url}/reactive-db/?token={TOKEN}#store=kept").page
        expect(link(page)).to_have_text("live")
        expect(page.get_by_role("heading", name="kept")).to_be_visible()
    expect(link(page)).to_contain_text("offline, as of ")
    expect(page.get_by_role("heading", name="kept")).to_be_visible()
    with _jupyter(tmp_path, port):
        expect(link(page)).to_have_text("live")
        expect(page.locator("body")).not_to_have_attribute("data-stale", "")


def test_without_a_store_it_says_how_to_get_one(lab: Lab, tmp_path: Path) -> None:
    with _jupyter(tmp_path, free_port()) as url:
        page = lab.open_address(f"{url}/reactive-db/?token={TOKEN}").page
        expect(page.get_by_role("heading", name="No store is open")).to_be_visible()
        page.close()


def test_reactive_db_serve_has_it_too_for_who_has_the_token(lab: Lab, tmp_path: Path) -> None:
    with rdb.connect(tmp_path / "kept.rdb"):
        pass
    with _served(tmp_path) as url:
        tab = lab.open_address(f"{url}/reactive-db/metrics")
        expect(tab.page.locator("body")).to_contain_text("403")
        tab.page.goto(f"{url}/reactive-db/?token={TOKEN}#store=kept")
        expect(link(tab.page)).to_have_text("live")
        expect(tab.page.get_by_role("heading", name="kept")).to_be_visible()
        assert TOKEN not in tab.page.url
        tab.page.reload()  # without the token
        expect(link(tab.page)).to_have_text("live")
        tab.page.goto(f"{url}/reactive-db/metrics")
        expect(tab.page.locator("body")).to_contain_text('reactive_db_sessions{store="kept"}')


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """`reactive-db serve` with the stores of a folder."""
    port = free_port()
    command = [sys.executable, "-m", "reactive_db.cli", "serve", "--port", str(port), "--token", TOKEN]
    process = subprocess.Popen([*command, "--stores", str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "Serving" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=STOP_SECONDS_MAX)


@contextmanager
def _jupyter(scratch: Path, port: int) -> Iterator[str]:
    """A Jupyter server of its own, at a port that it can come back to."""
    folder = scratch / "notebooks"
    folder.mkdir(exist_ok=True)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "jupyter_server", *server_options(port, folder)]
    with (scratch / "server.log").open("a") as out, server(command, server_environment(scratch), out, url):
        yield url
