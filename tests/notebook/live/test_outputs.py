"""The forms in which parts of output reach a notebook."""

from __future__ import annotations

from reactive_db.notebook.live.outputs import Content, Display, Part, Stream, displays_of, outputs_of

PIXEL = "iVBORw0KGgo="
CHART = Display({"application/vnd.vegalite.v5+json": {"mark": "bar"}, "text/plain": "chart"}, {"a": 1})


def folded(*parts: Part) -> Display:
    (display,) = displays_of(Content(parts), 1)
    return display


def html_of(*parts: Part) -> str:
    return str(folded(*parts).data["text/html"])


def test_nothing_is_an_empty_text() -> None:
    assert displays_of(Content()) == [Display({"text/plain": ""})]
    assert outputs_of(Content(), "a") == []


def test_parts_keep_their_own_forms() -> None:
    assert displays_of(Content([CHART])) == [CHART]
    assert displays_of(Content([Stream("stdout", "one\n"), CHART])) == [Display({"text/plain": "one"}), CHART]
    assert outputs_of(Content([Stream("stderr", "one\n"), CHART]), "name") == [
        {"output_type": "stream", "name": "stderr", "text": "one\n"},
        {"output_type": "display_data", "data": CHART.data, "metadata": {"a": 1, "reactive_db": {"live": "name"}}},
    ]


def test_fewer_parts_than_displays_leave_the_rest_empty() -> None:
    assert displays_of(Content([CHART]), 3) == [CHART, Display({"text/plain": ""}), Display({"text/plain": ""})]


def test_more_parts_than_displays_are_folded_in_order_into_the_last() -> None:
    parts = [
        CHART,
        Stream("stdout", "<1>\n"),
        Display({"text/html": "<b>2</b>", "text/plain": "2"}),
        Stream("stderr", "3"),
    ]
    first, last = displays_of(Content(parts), 2)
    html = str(last.data["text/html"])
    assert first == CHART
    assert '<pre class="stdout">&lt;1&gt;\n</pre>' in html
    assert html.index("&lt;1&gt;") < html.index("<b>2</b>") < html.index('<pre class="stderr">3</pre>')
    assert last.data["text/plain"] == "<1>\n2\n3"


def test_pictures_are_folded_with_their_size() -> None:
    picture = Display(
        {"image/png": PIXEL + "\n", "text/plain": '<"figure">'}, {"image/png": {"width": 20, "height": 10}}
    )
    assert f'src="data:image/png;base64,{PIXEL}" width="20" height="10"' in html_of(Stream("stdout", "x"), picture)
    assert 'alt="&lt;&quot;figure&quot;&gt;"' in html_of(Stream("stdout", "x"), picture)
    drawing = Display({"image/svg+xml": "<svg></svg>", "text/plain": "drawing"})
    assert "<svg></svg>" in html_of(Stream("stdout", "x"), drawing)


def test_what_cannot_be_folded_is_its_text() -> None:
    assert "<pre>chart</pre>" in html_of(Stream("stdout", "x"), CHART)


def test_folded_text_has_no_terminal_colours() -> None:
    assert "<pre>red</pre>" in html_of(Stream("stdout", "x"), Display({"text/plain": "\x1b[31mred\x1b[0m"}))


def test_a_failure_stands_below_the_faded_last_output() -> None:
    (shown,) = displays_of(Content([Stream("stdout", "good")], [Stream("stdout", "debug")], "ValueError: <no>"), 1)
    html = str(shown.data["text/html"])
    assert html.index("opacity: 0.5") < html.index("good") < html.index("debug") < html.index("ValueError: &lt;no&gt;")
    assert shown.data["text/plain"] == "good\ndebug\nValueError: <no>"


def test_a_failure_is_marked_for_readers_of_a_saved_notebook() -> None:
    content = Content([CHART], failure="ValueError: no")
    assert displays_of(content)[1].metadata == {"reactive_db": {"failed": "ValueError: no"}}
    assert displays_of(content, 1)[0].metadata == {"reactive_db": {"failed": "ValueError: no"}}
    assert outputs_of(content, "a")[1]["metadata"] == {"reactive_db": {"failed": "ValueError: no", "live": "a"}}
    assert folded(CHART, Stream("stderr", "y")).metadata == {}
