"""Live outputs in JupyterLab: by mutations in cells and threads, after a reload, in every tab, and in the file."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.lab import PROGRAM, Lab, NotebookPage

COUNT = "%%live\nlen(handle.value)"
SEVERAL = "%%live\nprint('rows', len(handle.value))\nfor n in range(len(handle.value)): display(n)\nhandle"
ADD = "db.run(add, 'ada')"


def text_of(output: dict[str, Any]) -> str:
    return "".join(output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"])


def texts_of(outputs: list[dict[str, Any]]) -> list[str]:
    return [text_of(output).splitlines()[0] for output in outputs]


def test_a_mutation_in_another_cell_replaces_each_part(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, SEVERAL, ADD)
    notebook.run(0, 1, 2)
    table = notebook.output(1).locator("td", has_text="ada")
    expect(table).to_be_visible()
    assert [output["output_type"] for output in notebook.outputs()[1]] == ["stream", "display_data", "display_data"]
    notebook.run(2)
    expect(table).to_have_count(2)
    assert texts_of(notebook.outputs()[1])[:3] == ["rows 2", "0", "1"]


def test_a_mutation_in_a_thread_replaces_them_too(lab: Lab) -> None:
    thread = "import threading\nthreading.Timer(0.5, lambda: db.run(add, 'later')).start()"
    notebook = lab.open(PROGRAM, COUNT, thread)
    notebook.run(0, 1, 2)
    expect(notebook.output(1)).to_have_text("1")


def test_a_widget_follows_while_a_long_cell_runs(lab: Lab) -> None:
    long = "import threading\ndone = threading.Event()\nwhile not done.is_set():\n    db.run(add, 'x'); done.wait(0.2)"
    notebook = lab.open(PROGRAM, "Value(handle, lambda items: f'{len(items)} items')", long)
    notebook.run(0, 1)
    notebook.start(2)
    expect(notebook.output(1)).not_to_have_text("0 items")
    expect(notebook.output(1)).not_to_have_text(notebook.output(1).inner_text())
    assert notebook.page.evaluate("() => jupyterapp.shell.currentWidget.content.widgets[2].model.executionState") == (
        "running"
    )
    notebook.page.evaluate("() => jupyterapp.commands.execute('kernelmenu:interrupt')")
    notebook.wait_until_run(2)


def test_outputs_stay_live_after_a_reload_and_in_a_second_tab(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, COUNT, "print('above')\nhandle", ADD)
    notebook.run(0, 1, 2, 3)
    expect(notebook.output(1)).to_have_text("1")
    notebook.save()
    other = notebook.second_tab()
    notebook.reload()
    notebook.run(3)
    for tab in (notebook, other):
        expect(tab.output(1)).to_have_text("2")
        expect(tab.output(2).locator("td", has_text="ada")).to_have_count(2)
        assert texts_of(tab.outputs()[2])[0] == "above"


def test_the_file_has_what_is_shown(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, SEVERAL, ADD, "db.ts")
    notebook.run(0, 1, 2)
    expect(notebook.output(1)).to_contain_text("rows 1")
    notebook.run(2, 3)
    expect(notebook.output(1)).to_contain_text("rows 2")
    shown = notebook.save()["cells"][1]["outputs"]
    ts = notebook.output(3).inner_text().split()[-1]
    assert texts_of(shown) == ["rows 2", "0", "1", f"items(): current at ts {ts}"]
    assert "ada" in "".join(shown[-1]["data"]["text/html"])


def test_the_file_has_the_last_state_of_a_widget(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, "Value(handle, lambda items: f'{len(items)} items')", ADD)
    notebook.run(0, 1, 2)
    notebook.page.evaluate(
        "() => { window.saves = 0; jupyterapp.shell.currentWidget.context.saveState.connect("
        "(_, state) => { window.saves += state === 'completed' ? 1 : 0; }); }"
    )
    for number in (1, 2):
        expect(notebook.output(1)).to_have_text(f"{number} items")
        notebook.save()
        # Once by hand, and once more because the widget has changed since its static form was made.
        notebook.page.wait_for_function("saves => window.saves === saves", arg=2 * number)
        (shown,) = notebook.saved()["cells"][1]["outputs"]
        assert text_of(shown) == f"{number} items"
        notebook.run(2)
    expect(notebook.output(1).locator("output")).to_have_count(1)


def test_an_error_shows_in_place_and_the_next_change_mends_it(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, "%%live\nprint('good')\n1 / (1 - len(handle.value))", ADD)
    notebook.run(0, 1, 2)
    expect(notebook.output(1)).to_contain_text("ZeroDivisionError: division by zero")
    expect(notebook.output(1)).to_contain_text("1.0")  # the last good output
    expect(notebook.output(1)).to_have_attribute("data-rdb-state", "failed")
    notebook.run(2)
    expect(notebook.output(1)).to_have_text("good\n-1.0", use_inner_text=True)
    expect(notebook.output(1)).to_have_attribute("data-rdb-state", "live")


def test_a_cell_run_again_by_hand_shows_nothing_twice(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, COUNT, ADD)
    notebook.run(0, 1, 2, 1, 1, 2)
    expect(notebook.output(1)).to_have_text("2")
    assert texts_of(notebook.outputs()[1]) == ["2"]


def test_a_paused_cell_says_so_and_a_stopped_one_is_not_live(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, COUNT, "%live pause", ADD, "%live resume", "%live stop")
    notebook.run(0, 1, 2, 3)
    expect(notebook.output(1)).to_have_attribute("data-rdb-state", "paused")
    expect(notebook.output(1)).to_have_text("0")
    notebook.run(4)
    expect(notebook.output(1)).to_have_text("1")
    notebook.run(5, 3)
    expect(notebook.output(1)).not_to_have_attribute("data-rdb-state", "live")
    expect(notebook.output(1)).to_have_text("1")


def test_a_restarted_kernel_begins_anew(lab: Lab) -> None:
    notebook = lab.open(PROGRAM, COUNT, ADD)
    notebook.run(0, 1, 2)
    expect(notebook.output(1)).to_have_text("1")
    notebook.restart_kernel()
    notebook.run(0, 1, 2)
    notebook.run(2)
    expect(notebook.output(1)).to_have_text("2")


def test_what_a_flood_swallows_is_made_good(lab: Lab) -> None:
    flood = (
        "import threading, ipywidgets\nlabel = ipywidgets.Label()\n"
        "def flood():\n    for n in range(100): db.run(add, 'x')\n    for n in range(8_000): label.value = str(n)\n"
        "threading.Timer(0.5, flood).start()"
    )
    notebook = lab.open(PROGRAM, COUNT, "Value(handle, lambda items: f'{len(items)} items')", flood)
    notebook.run(0, 1, 2, 3, 3, 3)
    expect(notebook.output(1)).to_have_text("300", timeout=60_000)
    expect(notebook.output(2)).to_have_text("300 items", timeout=60_000)


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_it_can_be_read_in_light_and_dark(lab: Lab, theme: str) -> None:
    notebook = lab.open(PROGRAM, SEVERAL, ADD, "%%live\n1 / (1 - len(handle.value))", theme=theme)
    notebook.run(0, 1, 3, 2)
    expect(notebook.output(3)).to_contain_text("ZeroDivisionError")
    for place in (notebook.output(1).locator("td").first, notebook.output(3).locator("[role=alert]")):
        assert contrast(notebook, place) > 4.5


def test_a_live_cell_may_make_a_new_widget_each_time(lab: Lab) -> None:
    cell = "%%live\nfrom ipywidgets import Label, VBox\nVBox([Label(str(len(handle.value)))])"
    notebook = lab.open(
        PROGRAM,
        cell,
        "for n in range(30): db.run(add, 'x')",
        "from ipywidgets.widgets.widget import _instances; len(_instances)",
    )
    notebook.run(0, 1, 2, 2)
    shown = notebook.output(1).locator(".widget-label")
    expect(shown.and_(notebook.page.locator(":visible"))).to_have_text("60")
    notebook.run(3)
    before = notebook.output(3).inner_text()
    notebook.run(2, 3)
    expect(shown.and_(notebook.page.locator(":visible"))).to_have_text("90")
    assert notebook.output(3).inner_text().split()[-1] == before.split()[-1]


def contrast(notebook: NotebookPage, place: Any) -> float:
    """The contrast of a text to what is behind it, as WCAG reckons it."""
    colours: list[list[float]] = place.evaluate(
        """node => {
            const parse = (text) => text.match(/[\\d.]+/g).map(Number);
            let behind = node;
            while (behind && (parse(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) {
                behind = behind.parentElement;
            }
            return [parse(getComputedStyle(node).color), parse(getComputedStyle(behind).backgroundColor)];
        }"""
    )
    lighter, darker = sorted((luminance(colour) for colour in colours), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: list[float]) -> float:
    parts = [part / 255 for part in colour[:3]]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
