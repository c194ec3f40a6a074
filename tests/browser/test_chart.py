"""`Chart` in JupyterLab: drawn without a network, changed in place, with one copy of Vega for the whole page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.lab import PROGRAM, Lab, NotebookPage

BARS = {
    "title": "Items by name",
    "mark": {"type": "bar", "tooltip": True},
    "encoding": {"x": {"field": "name"}, "y": {"field": "n", "type": "quantitative"}},
}
SCATTER = """
import altair
points = altair.Chart(width=400).mark_point().encode(x="n:Q", y="creation_time:Q").interactive(bind_y=False)
Chart(handle, points)
"""
CLICKED = """
clicked = altair.selection_point(name="clicked")
Chart(handle, altair.Chart().mark_bar().add_params(clicked).encode(
    x="name:N", y="n:Q", opacity=altair.condition(clicked, altair.value(1), altair.value(0.3))))
"""
DATES = """
from typing import Any

@rdb.query
def days(ctx: rdb.QueryCtx) -> list[dict[str, Any]]:
    return [{"day": f"2026-03-0{item.n}", "n": item.n} for item in ctx.db.query(Item).collect()]

Chart(db.live(days), {"mark": "point", "encoding": {
    "x": {"field": "day", "type": "ordinal", "timeUnit": "utcmonthdate"}, "y": {"field": "n", "type": "quantitative"}}})
"""
SQL = f'Chart(db.live("SELECT name, sum(n) AS n FROM items GROUP BY name ORDER BY name"), {BARS})'
ADD = "for name, n in [('ada', 3), ('bob', 5)]: db.run(add, name, n)"


FIRST_MS_MAX = 60_000
"""The first chart of a kernel waits for Vega to be put together."""


def bars(output: Locator) -> Locator:
    return output.locator(".mark-rect.role-mark path")


def along(labels: Locator) -> list[str]:
    """The labels of an axis from left to right."""
    found: list[str] = labels.evaluate_all(
        """all => all.map(one => [one.getBoundingClientRect().x, one.textContent])
        .sort((a, b) => a[0] - b[0]).map(one => one[1])"""
    )
    return found


def drawn(output: Locator) -> Locator:
    """The output of a cell, once its chart is there."""
    expect(output.locator(".figure[aria-busy='false'] svg")).to_be_visible(timeout=FIRST_MS_MAX)
    return output


def requests_of(notebook: NotebookPage) -> list[str]:
    """Every address that the page asks for from now on."""
    found: list[str] = []
    notebook.page.on("request", lambda request: found.append(request.url))
    return found


def test_rows_change_in_place(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, ADD, f"Chart(handle, {BARS})", "db.run(add, 'eve', 4)")
    notebook.run(0, 1, 2)
    output = drawn(notebook.output(2))
    expect(bars(output)).to_have_count(2)
    figure = output.get_by_role("img", name="Items by name")
    expect(figure).to_be_visible()
    notebook.page.evaluate("() => document.querySelector('.rdb-chart svg').dataset.mark = 'the same'")
    notebook.run(3)
    expect(bars(output)).to_have_count(3)
    expect(output.locator("svg[data-mark]")).to_have_count(1)
    expect(output.locator(".role-axis-label text", has_text="eve")).to_have_count(1)


def test_nothing_comes_from_elsewhere_and_vega_comes_once(lab: Lab) -> None:
    # Every chart is a module of its own; only one of them may ask for Vega.
    notebook = lab.open(PROGRAM, ADD, *[f"Chart(handle, {BARS})"] * 4)
    asked = requests_of(notebook)
    frames: list[Any] = []
    notebook.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: frames.append(frame)))
    notebook.reload()
    notebook.run(0, 1, 2, 3, 4, 5)
    for index in range(2, 6):
        expect(bars(drawn(notebook.output(index)))).to_have_count(2)
    assert [url for url in asked if not url.startswith((lab.url, "blob:", "data:"))] == []
    texts = [frame if isinstance(frame, str) else frame.decode("latin-1") for frame in frames]
    assert len([text for text in texts if '"type":"vega"' in text]) == 1


def test_a_zoom_survives_changes(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, ADD, SCATTER, "db.run(add, 'eve', 4)", "db.run(add, 'zoe', 90)")
    notebook.run(0, 1, 2)
    output = drawn(notebook.output(2))
    points = output.locator(".mark-symbol.role-mark path")
    labels = output.locator("[aria-label^='X-axis'] .role-axis-label text")
    expect(points).to_have_count(2)
    before = labels.all_text_contents()
    box = output.locator(".background").first.bounding_box()
    assert box is not None
    notebook.page.mouse.move(box["x"] + 200, box["y"] + 100)
    notebook.page.mouse.wheel(0, -400)
    expect(labels).not_to_have_text(before)
    zoomed = labels.all_text_contents()
    notebook.run(3, 4)
    expect(points).to_have_count(4)
    expect(labels).to_have_text(zoomed)


def test_a_selected_document_stays_selected_when_it_changes(lab: Lab) -> None:
    change = """
@rdb.mutation
def double(ctx: rdb.MutationCtx, name: str) -> None:
    for item in ctx.db.query(Item).filter(lambda item: item.name == name):
        ctx.db.patch(item.id, n=item.n * 2)
db.run(double, 'ada')
"""
    notebook = lab.open(PROGRAM, "import altair", ADD, CLICKED, change)
    notebook.run(0, 1, 2, 3)
    output = drawn(notebook.output(3))
    faint = output.locator(".mark-rect.role-mark path[opacity='0.3']")
    expect(bars(output)).to_have_count(2)
    output.locator("path[aria-label^='name: ada']").click()
    expect(faint).to_have_count(1)
    notebook.run(4)
    expect(output.locator("path[aria-label*='n: 6']")).to_have_count(1)
    expect(faint).to_have_count(1)
    expect(faint).to_have_attribute("aria-label", "name: bob; n: 5")


def test_texts_that_are_dates_are_dates_when_they_come_later_too(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, ADD, DATES, "db.run(add, 'eve', 4)")
    notebook.run(0, 1, 2)
    axis = drawn(notebook.output(2)).locator("[aria-label^='X-axis'] .role-axis-label text")
    expect(axis).to_have_count(2)
    notebook.run(3)
    expect(axis).to_have_count(3)
    assert along(axis) == ["Mar 03", "Mar 04", "Mar 05"]


def test_rows_of_sql_in_their_order_after_a_reload_too(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, ADD, SQL, "db.run(add, 'bea', 7)")
    notebook.run(0, 1, 2, 3)
    axis = drawn(notebook.output(2)).locator("[aria-label^='X-axis'] .role-axis-label text")
    expect(axis).to_have_count(3)
    assert along(axis) == ["ada", "bea", "bob"]
    notebook.save()
    notebook.reload()
    expect(axis).to_have_count(3)
    assert along(axis) == ["ada", "bea", "bob"]


def test_nothing_is_cut_off_and_the_width_follows_the_page(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, ADD, f"Chart(handle, {BARS})")
    notebook.run(0, 1, 2)
    output = drawn(notebook.output(2))
    expect(bars(output)).to_have_count(2)
    assert cut_off(output) == []
    wide = width(output)
    notebook.page.set_viewport_size({"width": 700, "height": 2400})
    notebook.page.wait_for_function(
        "wide => document.querySelector('.rdb-chart svg').getBoundingClientRect().width < wide - 50", arg=wide
    )
    assert cut_off(output) == []


def width(output: Locator) -> float:
    box = output.locator("svg").bounding_box()
    assert box is not None
    return box["width"]


def cut_off(output: Locator) -> list[str]:
    """The texts that reach beyond the picture."""
    found: list[str] = output.locator("svg").evaluate(
        """svg => { const all = svg.getBoundingClientRect();
        return [...svg.querySelectorAll("text")].filter(text => { const box = text.getBoundingClientRect();
          return box.left < all.left - 1 || box.right > all.right + 1 || box.bottom > all.bottom + 1; })
          .map(text => text.textContent); }"""
    )
    return found


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_the_text_has_the_colour_of_the_theme(lab: Lab, theme: str) -> None:
    notebook = lab.open(PROGRAM, ADD, f"Chart(handle, {BARS})", theme=theme)
    notebook.run(0, 1, 2)
    label = drawn(notebook.output(2)).locator(".role-axis-label text").first
    expect(label).to_be_visible()
    for name in ("JupyterLab Dark", "JupyterLab Light"):
        notebook.set_theme(name)
        expect(label).to_have_css("fill", text_colour(notebook))


def text_colour(notebook: NotebookPage) -> str:
    """The theme's colour of text, as browsers write it."""
    found: str = notebook.page.evaluate(
        """() => { const probe = document.body.appendChild(document.createElement("span"));
        probe.style.color = "var(--jp-content-font-color1)"; const found = getComputedStyle(probe).color;
        probe.remove(); return found; }"""
    )
    return found


def test_an_error_is_said_above_the_last_good_chart(lab: Lab) -> None:
    touchy = """
@rdb.query
def touchy(ctx: rdb.QueryCtx) -> list[Item]:
    found = ctx.db.query(Item).collect()
    if len(found) > 2: raise rdb.ApplicationError("too many")
    return found
"""
    notebook = lab.open(
        PROGRAM,
        ADD,
        touchy,
        f"Chart(db.live(touchy), {json.dumps(BARS).replace('true', 'True')})",
        "db.run(add, 'eve', 1)",
        "db.run(clear)",
    )
    notebook.run(0, 1, 2, 3, 4)
    output = drawn(notebook.output(3))
    expect(output.get_by_role("alert")).to_contain_text("too many")
    expect(bars(output)).to_have_count(2)
    notebook.run(5)
    expect(output.get_by_role("alert")).to_have_count(0)
    expect(bars(output)).to_have_count(0)
