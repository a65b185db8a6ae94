"""The picture: what it shows, how it is escaped, and that it is the same everywhere."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avtomatika.blueprints.drawing import DARK, LIGHT, describe, edge_ids, html, state_ids, svg, variables
from avtomatika.blueprints.drawing.theme import stylesheet
from avtomatika.blueprints.graph import Edge, EdgeKind, Graph, State

GOLDEN = Path(__file__).parent / "golden" / "orders.svg"
NS = "{http://www.w3.org/2000/svg}"


def orders() -> Graph:
    """Makes a graph with every kind of state and edge."""
    return Graph(
        "orders",
        (
            State("receive", is_start=True, handlers=("receive",)),
            State("check", handlers=("check_urgent", "check")),
            State("split"),
            State("join", is_aggregator=True),
            State("ask"),
            State("nap"),
            State("delegate"),
            State("improvise", is_open=True),
            State("done", is_end=True, outcome="finished"),
            State("broken", is_end=True, outcome="failed"),
        ),
        (
            Edge("receive", "check"),
            Edge("check", "split", condition="context.initial_data.type == 'urgent'"),
            Edge("check", "improvise"),
            Edge("check", "check", EdgeKind.TASK, "again", task_type="inspect"),
            Edge("split", "join", EdgeKind.AGGREGATE, task_type="resize"),
            Edge("split", "broken", EdgeKind.TASK, "failure", task_type="resize"),
            Edge("split", "broken", EdgeKind.TASK, "cancelled", task_type="resize"),
            Edge("join", "receive", EdgeKind.DECLARED),
            Edge("join", "done"),
            Edge("improvise", "nowhere"),
            Edge("improvise", "ask"),
            Edge("ask", "nap", EdgeKind.APPROVAL, "approved"),
            Edge("ask", "broken", EdgeKind.APPROVAL, "expired"),
            Edge("nap", "delegate", EdgeKind.SLEEP),
            Edge("delegate", "done", EdgeKind.SUB_BLUEPRINT, "success", task_type="invoice"),
        ),
    )


def chain(*names: str) -> Graph:
    """Makes a graph of states in a row."""
    last = len(names) - 1
    states = tuple(State(n, is_start=i == 0, is_end=i == last, outcome="finished") for i, n in enumerate(names))
    return Graph("chain", states, tuple(Edge(names[i], names[i + 1]) for i in range(last)))


def by_id(drawing: str) -> dict[str, ET.Element]:
    """Returns the elements that have an id."""
    return {element.attrib["id"]: element for element in ET.fromstring(drawing).iter() if "id" in element.attrib}


def classes(element: ET.Element) -> set[str]:
    """Returns the element's classes."""
    return set(element.attrib["class"].split())


def texts(element: ET.Element) -> list[str]:
    """Returns the texts that are drawn in it."""
    return ["".join(text.itertext()) for text in element.iter(f"{NS}text")]


def test_drawing_is_the_same_bytes_as_ever() -> None:
    """A change of the drawing shows as a change of the golden file, on every machine and version of Python."""
    drawn = svg(orders(), current="split", visited=["receive", "check"], edge_counts={("receive", "check"): 2})

    assert drawn == GOLDEN.read_text("utf-8")


def test_drawing_does_not_depend_on_the_hash_seed() -> None:
    """Another process, where sets have another order, draws the same bytes."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_picture as t; "
        "sys.stdout.buffer.write(t.svg(t.orders()).encode())"
    )
    other = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent)],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
    )

    assert other.stdout.decode() == svg(orders())


def test_every_state_and_edge_has_an_id_and_a_title() -> None:
    """Live views find their elements, and pointing at one explains it."""
    graph = orders()
    found = by_id(svg(graph))

    assert set(found) == {*state_ids(graph).values(), *edge_ids(graph).values()}
    assert all(element.find(f"{NS}title") is not None for element in found.values())
    assert found["state-split"].findtext(f"{NS}title") == "split: state; sends resize to workers"
    assert found["edge-split--broken"].findtext(f"{NS}title") == (
        "split to broken: when resize answers failure; when resize answers cancelled"
    )


def test_each_kind_of_state_has_its_own_shape_or_icon() -> None:
    """Nobody needs to see colours to tell a start from an end, or an aggregator from a task."""
    found = by_id(svg(orders()))
    names = ("receive", "check", "split", "join", "ask", "nap", "delegate", "done", "broken", "nowhere")

    icons = {ET.tostring(found[f"state-{name}"].find(f"{NS}g/{NS}g[@class='icon']")) for name in names}
    kinds = [classes(found[f"state-{name}"]) - {"state"} for name in names]

    assert len(icons) == 9  # check and split both send tasks
    assert [kind for (kind,) in kinds] == [
        "start",
        "task",
        "task",
        "aggregator",
        "human",
        "sleep",
        "child",
        "finished",
        "failed-end",
        "missing",
    ]
    assert "open" in classes(found["state-improvise"])


def test_labels_show_words_conditions_and_otherwise() -> None:
    """Edges say when they are taken; several edges between two states are one line with all words."""
    found = by_id(svg(orders()))

    assert texts(found["edge-check--split"]) == ["if initial_data.type == 'urgent'"]
    assert texts(found["edge-check--improvise"]) == ["else"]
    assert texts(found["edge-split--broken"]) == ["failure, cancelled"]
    assert texts(found["edge-split--join"]) == ["all done"]
    assert texts(found["edge-receive--check"]) == []
    assert texts(found["edge-nap--delegate"]) == ["later"]


def test_waits_are_told_in_words() -> None:
    """Who cannot see the icons hears what a state waits for, and what leads on."""
    found = by_id(svg(orders()))
    titles = {
        name: found[name].findtext(f"{NS}title")
        for name in ("state-ask", "state-nap", "state-delegate", "edge-ask--nap", "edge-ask--broken")
    }

    assert titles == {
        "state-ask": "ask: state; asks a person",
        "state-nap": "nap: state; lets time pass",
        "state-delegate": "delegate: state; runs blueprint invoice",
        "edge-ask--nap": "ask to nap: when a person decides approved",
        "edge-ask--broken": "ask to broken: when nobody decides in time",
    }
    assert found["edge-delegate--done"].findtext(f"{NS}title") == "delegate to done: when invoice ends with success"
    assert texts(found["state-delegate"]) == ["delegate", "invoice"]
    assert "failure" in classes(found["edge-ask--broken"])


def test_many_labels_of_one_edge_are_cut_to_three_lines() -> None:
    """A long list stays in the title; the label says how much is missing."""
    edges = tuple(Edge("a", "b", condition=f"n == {i}") for i in range(5))
    found = by_id(svg(Graph("g", (State("a", is_start=True), State("b")), edges)))

    assert texts(found["edge-a--b"]) == ["if n == 0", "if n == 1", "and 3 more"]
    assert "if n == 4" in str(found["edge-a--b"].findtext(f"{NS}title"))


def test_what_happened_is_classes_only() -> None:
    """A live view toggles classes: nothing else differs between the moments of a job."""
    plain, moved = svg(orders()), svg(orders(), current="split", visited=["receive"], failed=["check"])
    found = by_id(moved)

    assert "current" in classes(found["state-split"])
    assert "visited" in classes(found["state-receive"])
    assert "failed" in classes(found["state-check"])
    stripped = re.sub(r'(class="state [a-z-]+(?: open)?)(?: current| visited| failed)+', r"\1", moved)
    assert re.sub('aria-label="[^"]*"', "", stripped) == re.sub('aria-label="[^"]*"', "", plain)


def test_counts_change_no_place() -> None:
    """With room for counts, a drawing has everything in the same place whatever they are."""
    none, some = svg(orders(), edge_counts={}), svg(orders(), edge_counts={("receive", "check"): 3, ("x", "y"): 1})
    edge = by_id(some)["edge-receive--check"]

    assert "taken" in classes(edge)
    assert texts(edge) == ["\u00d73"]
    assert str(edge.findtext(f"{NS}title")).endswith("taken 3 times")
    place = re.compile(r'<path class="(?:line|shape)"[^>]*>|transform="[^"]*"')
    assert sorted(place.findall(none)) == sorted(place.findall(some))


def test_large_count_fits_its_room() -> None:
    """Counts from a thousand on are shown as more than 999."""
    found = by_id(svg(chain("a", "b"), edge_counts={("a", "b"): 123456}))

    assert texts(found["edge-a--b"]) == ["\u00d7999+"]


def test_names_that_the_graph_lacks_are_ignored() -> None:
    """A job of an older version may stand in a state that is gone; the picture is drawn all the same."""
    graph = orders()

    assert svg(graph, current="gone", visited=["gone"], failed=["gone"]) == svg(graph)


def test_ids_of_similar_names_differ() -> None:
    """Names that look alike after cleaning get a number, and a name that is taken already is not given twice."""
    ids = state_ids(chain("a b", "a-b", "a-b-2", "A b", "\u6570", "!"))

    assert list(ids.values()) == ["state-a-b", "state-a-b-2", "state-a-b-2-2", "state-A-b", "state-x", "state-x-2"]
    assert len(set(edge_ids(chain("a", "a--b", "b", "a")).values())) == 3


@given(st.lists(st.text(max_size=12), min_size=2, max_size=5, unique=True), st.text(max_size=8))
@settings(deadline=None, max_examples=60)
def test_any_name_makes_a_well_formed_drawing(names: list[str], word: str) -> None:
    """Whatever a state is called, the SVG parses and says no more than the name."""
    graph = chain(*names)
    graph = Graph(word, graph.states, (*graph.edges, Edge(names[0], names[-1], EdgeKind.TASK, word, word, word)))

    root = ET.fromstring(svg(graph, current=names[0], edge_counts={}))

    assert len([e for e in root.iter() if e.attrib.get("data-state") is not None]) == len(names)


HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;\x00\ud800]]>"


def test_hostile_names_stay_text() -> None:
    """Names with tags, quotes, control characters and half characters cannot become markup."""
    graph = Graph(HOSTILE, chain(HOSTILE, "b").states, (Edge(HOSTILE, "b", EdgeKind.TASK, HOSTILE, HOSTILE, HOSTILE),))
    drawing = svg(graph, current=HOSTILE, failed=[HOSTILE])

    assert {element.tag for element in ET.fromstring(drawing).iter()} == {
        f"{NS}{tag}" for tag in ("svg", "style", "rect", "g", "title", "path", "text", "tspan", "circle")
    }
    assert "<script" not in drawing
    assert "onerror" not in {name for element in ET.fromstring(drawing).iter() for name in element.attrib}
    drawing.encode()


class Tags(HTMLParser):
    """Collects the tags of a page and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps the tag."""
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", ["plain", HOSTILE])
def test_html_has_only_what_a_sanitizer_lets_through(name: str) -> None:
    """An image, a table that opens, inline styles: no script, no handler, no style sheet, no outside address."""
    page = html(Graph(name, chain(name, "b").states, chain(name, "b").edges), current=name)
    parser = Tags()
    parser.feed(page)

    allowed = {"div", "img", "details", "summary", "table", "thead", "tbody", "tr", "th", "td"}
    assert {tag for tag, _ in parser.tags} <= allowed
    assert {attribute for _, attributes in parser.tags for attribute in attributes} <= {"style", "alt", "src"}
    page.encode()


def test_html_holds_the_drawing_and_says_it_in_words() -> None:
    """The image's address is the SVG, its alternative text the summary, and the table lists every state."""
    graph = orders()
    page = html(graph, current="split")
    encoded = re.search('src="data:image/svg\\+xml;base64,([^"]+)"', page)

    assert encoded is not None
    assert base64.b64decode(encoded[1]).decode() == svg(graph, current="split")
    assert f'alt="{describe(graph, current="split")}"' in page
    for state in graph:
        assert f"<td>{state.name}</td>" in page
    assert "<td>current</td>" in page


def test_description_names_start_ends_and_what_happened() -> None:
    """Who does not see the drawing hears what matters."""
    assert describe(orders(), current="split", failed=["check"]) == (
        "Blueprint orders: 10 states, starts at receive, ends at done, broken, now at split, failed at check."
    )


def test_drawing_is_an_image_with_a_label() -> None:
    """Screen readers announce one image with one sentence."""
    root = ET.fromstring(svg(chain("a")))

    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "Blueprint chain: 1 state, starts at a, ends at a."


def test_graph_without_states_is_an_empty_card() -> None:
    """A blueprint that has no handlers yet can be shown."""
    assert "0 states" in svg(Graph("new", ()))
    assert "0 states" in html(Graph("new", ()))


def test_style_sheet_touches_nothing_but_the_drawing() -> None:
    """Inline in a page, every rule is bound to the drawing's class."""
    rules = re.findall(r"([^{}]+)\{", stylesheet())

    assert rules
    assert all(part.startswith(".avtomatika-graph") for rule in rules for part in rule.split(","))


def luminance(colour: str) -> float:
    """Returns the relative luminance of a colour (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("front", "backs", "least"),
    [
        ("text", ["card", "plain-fill", "start-fill", "task-fill", "aggregator-fill", "current-fill"], 4.5),
        ("text", ["human-fill", "sleep-fill", "child-fill", "finished-fill", "failed-fill", "missing-fill"], 4.5),
        ("muted", ["card", "task-fill", "child-fill", "current-fill", "failed-fill"], 4.5),
        ("failure-text", ["card"], 4.5),
        ("taken", ["card"], 4.5),
        ("icon", ["plain", "start", "task", "aggregator", "human", "sleep", "child"], 3.0),
        ("icon", ["finished", "failed", "missing"], 3.0),
    ],
)
def test_colours_have_enough_contrast(palette: dict[str, str], front: str, backs: list[str], least: float) -> None:
    """Text reaches 4.5 to 1 and signs 3 to 1 on everything that they stand on, in both palettes."""
    for back in backs:
        light, dark = sorted((luminance(palette[front]), luminance(palette[back])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= least, back


def test_variables_cover_every_colour() -> None:
    """A dark page sets all colours at once."""
    assert set(DARK) == set(LIGHT)
    assert "--avtomatika-graph-card:#1b2029;" in variables(DARK)
