"""Several parts of output as one display."""

from __future__ import annotations

from reactive_db.notebook.live.outputs import Display, Stream, display_of, failed_display_of

PIXEL = "iVBORw0KGgo="


def html_of(*parts: Stream | Display) -> str:
    return str(display_of(parts).data["text/html"])


def test_nothing_is_an_empty_text() -> None:
    assert display_of([]).data == {"text/plain": ""}


def test_a_single_part_keeps_its_own_forms() -> None:
    chart = Display({"application/vnd.vegalite.v5+json": {"mark": "bar"}, "text/plain": "chart"}, {"a": 1})
    assert display_of([chart]) == Display(chart.data, chart.metadata)
    assert display_of([Stream("stdout", "\x1b[31mred\x1b[0m\n")]).data == {"text/plain": "\x1b[31mred\x1b[0m"}


def test_a_widget_view_is_never_replaced_again_and_again() -> None:
    widget = Display({"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "Slider()"})
    assert display_of([widget]).data == {"text/plain": "Slider()"}


def test_parts_are_folded_in_order() -> None:
    html = html_of(
        Stream("stdout", "<1>\n"), Display({"text/html": "<b>2</b>", "text/plain": "2"}), Stream("stderr", "3")
    )
    assert '<pre class="stdout">&lt;1&gt;\n</pre>' in html
    assert html.index("&lt;1&gt;") < html.index("<b>2</b>") < html.index('<pre class="stderr">3</pre>')


def test_the_text_says_the_same() -> None:
    parts = [Stream("stdout", "one\n"), Display({"text/html": "<b>two</b>", "text/plain": "two"})]
    assert display_of(parts).data["text/plain"] == "one\ntwo"


def test_pictures_are_folded_with_their_size() -> None:
    picture = Display(
        {"image/png": PIXEL + "\n", "text/plain": '<"figure">'}, {"image/png": {"width": 20, "height": 10}}
    )
    assert f'src="data:image/png;base64,{PIXEL}" width="20" height="10"' in html_of(Stream("stdout", "x"), picture)
    assert 'alt="&lt;&quot;figure&quot;&gt;"' in html_of(Stream("stdout", "x"), picture)
    drawing = Display({"image/svg+xml": "<svg></svg>", "text/plain": "drawing"})
    assert "<svg></svg>" in html_of(Stream("stdout", "x"), drawing)


def test_what_cannot_be_folded_says_so() -> None:
    chart = Display({"application/vnd.vegalite.v5+json": {}, "text/plain": "chart"})
    html = html_of(Stream("stdout", "x"), chart)
    assert "<pre>chart</pre><small>application/vnd.vegalite.v5+json shows only as the single output" in html


def test_folded_text_has_no_terminal_colours() -> None:
    assert "<pre>red</pre>" in html_of(Stream("stdout", "x"), Display({"text/plain": "\x1b[31mred\x1b[0m"}))


def test_a_failure_stands_below_the_faded_last_output() -> None:
    shown = failed_display_of([Stream("stdout", "good")], [Stream("stdout", "debug")], "ValueError: <no>")
    html = str(shown.data["text/html"])
    assert html.index("opacity: 0.5") < html.index("good") < html.index("debug") < html.index("ValueError: &lt;no&gt;")
    assert shown.data["text/plain"] == "good\ndebug\nValueError: <no>"


def test_a_failure_is_marked_for_readers_of_a_saved_notebook() -> None:
    failed = failed_display_of([], [], "ValueError: no")
    assert failed.metadata == {"reactive_db": {"failed": "ValueError: no"}}
    assert display_of([failed]).metadata == failed.metadata
    assert display_of([Stream("stdout", "x"), failed]).metadata == failed.metadata
    assert display_of([Stream("stdout", "x"), Stream("stderr", "y")]).metadata == {}
