"""The language of conditions: its grammar, its meaning, its errors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.blueprints.expressions import parse
from avtomatika.core.job import Client
from avtomatika.errors import ConditionError

CONTEXT = SimpleNamespace(
    initial_data={
        "type": "urgent",
        "n": 5,
        "price": -2.5,
        "is_paid": True,
        "nothing": None,
        "area": {"field": "x", "in": 1, "rows": [{"id": 7}, {"id": 8}]},
        "tags": ["red", "blue"],
        "_id": "a",
        "two words": 1,
    },
    state_history={"n": 5, "score": 0.75},
    client=Client("shop", "premium", {"region": "eu", "limits": {"jobs": 3}}),
)


def holds(text: str, context: Any = CONTEXT) -> bool:
    """Returns whether the condition is true."""
    return bool(parse(text).value(context))


@pytest.mark.parametrize(
    "text",
    [
        "context.initial_data.type == 'urgent'",
        'context.initial_data.type == "urgent"',
        "context.initial_data.type != 'normal'",
        "context.initial_data.n > 4",
        "context.initial_data.n>=5 and context.initial_data.n<=5",
        "4 < context.initial_data.n < 6",
        "not 4 < context.initial_data.n < 5",
        "context.initial_data.price == -2.5",
        "context.initial_data.price < -1e0",
        "context.initial_data.n == context.state_history.n",
        "context.state_history.score > .5",
        "context.initial_data.is_paid",
        "context.initial_data.is_paid == True",
        "context.initial_data.nothing == None",
        "not context.initial_data.nothing",
        "not not context.initial_data.is_paid",
        "context.initial_data.area.field == 'x'",
        "context.initial_data['area']['field'] == 'x'",
        "context.initial_data.area.in == 1",
        "context.initial_data.area.rows[0].id == 7",
        "context.initial_data.area.rows[-1]['id'] == 8",
        "context.initial_data['two words'] == 1",
        "context.initial_data['_id'] == 'a'",
        "context.initial_data.type[0] == 'u'",
        "'red' in context.initial_data.tags",
        "'green' not in context.initial_data.tags",
        "'urg' in context.initial_data.type",
        "context.initial_data.type in ['urgent', 'high',]",
        "context.initial_data.type in ('urgent', 'high')",
        "context.initial_data.type in ('urgent',)",
        "context.initial_data.type not in ()",
        "'type' in context.initial_data",
        "context.client.name == 'shop'",
        "context.client.plan in ['premium']",
        "context.client.params.limits.jobs == 3",
        "False or True and not False",
        "(True or True) and (not False)",
        "(context.initial_data.n > 100 or context.initial_data.type == 'urgent') and context.client.plan == 'premium'",
        "context.initial_data.type == 'a' or\n\tcontext.initial_data.n == 5",
        r"'a\'b\\\n\u00e9' == " + '"a\'b\\\\\\n\\u00e9"',
    ],
)
def test_condition_of_every_form_holds(text: str) -> None:
    """Each form of the grammar is understood and true of the context above."""
    assert holds(text)


@pytest.mark.parametrize("operator", ["==", "!=", "<", "<=", ">", ">=", "in", "not in"])
@pytest.mark.parametrize(
    "field",
    [
        "context.initial_data.missing",
        "context.initial_data.missing.deeper",
        "context.initial_data.n.deeper",
        "context.initial_data.tags[9]",
        "context.initial_data.tags['red']",
        "context.initial_data.nothing[0]",
        "context.client.token",
        "context.client.params.missing",
    ],
)
def test_comparison_with_missing_field_is_false(operator: str, field: str) -> None:
    """A field that is not there makes every comparison false, on either side and inside a list."""
    assert not holds(f"{field} {operator} 'x'")
    assert not holds(f"'x' {operator} {field}")
    assert not holds(f"'x' {operator} ['x', {field}]")
    assert not holds(field)


@pytest.mark.parametrize(
    "text",
    [
        "context.initial_data.type < 3",
        "context.initial_data.n >= '5'",
        "3 in context.initial_data.type",
        "3 not in context.initial_data.n",
        "context.initial_data.nothing > 0",
        "1 < context.initial_data.type < 3",
    ],
)
def test_comparison_of_what_cannot_be_compared_is_false(text: str) -> None:
    """Sides of unlike types make a comparison false and never raise."""
    assert not holds(text)


def test_client_gives_fields_but_neither_methods_nor_properties() -> None:
    """A condition reads stored fields of a record only; it cannot make code run."""

    class Loud(SimpleNamespace):
        @property
        def boom(self) -> str:
            raise AssertionError

    context = SimpleNamespace(initial_data={}, state_history={}, client=Loud(name="x"))

    assert holds("context.client.name == 'x'", context)
    assert not holds("context.client.boom", context)
    assert not holds("context.client['__class__']", context)
    assert not holds("context.client['__init__']")
    assert not holds("context.initial_data.keys")


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "empty"),
        ("   ", 3, "empty"),
        ("context.initial_data.n = 5", 23, "write '==' to compare"),
        ("context.initial_data.n === 5", 23, "write '=='"),
        ("context.initial_data.a && True", 23, "write 'and'"),
        ("context.initial_data.a == true", 26, "write 'True'"),
        ("!context.initial_data.a", 0, "write 'not'"),
        ("context.initial_data.n + 1 > 2", 23, "does not calculate"),
        ("2 * 3", 2, "does not calculate"),
        ("initial_data.type == 'a'", 0, "write context.initial_data"),
        ("context.initial_dat.type == 'a'", 8, "Did you mean 'initial_data'?"),
        ("context == 1", 8, "expected '.'"),
        ("contxt.initial_data.a == 1", 0, "Did you mean 'context'?"),
        ("context.initial_data.a ==", 25, "ends too early"),
        ("context.initial_data.a == 'x", 26, "no closing '"),
        ("(context.initial_data.a == 1", 28, "expected ')' for the '(' at character 1"),
        ("context.initial_data.a == 1)", 27, "unexpected ')'"),
        ("context.initial_data.a in [1, 2", 31, "expected ']'"),
        ("context.initial_data.a 5", 23, "unexpected '5'"),
        ("context.initial_data.a not 5", 27, "expected 'in' after 'not'"),
        ("context.initial_data.", 21, "expected the name of a field"),
        ("context.initial_data.__class__", 21, "private"),
        ("context.initial_data._id == 1", 21, 'write ["_id"]'),
        ("context.initial_data[1.5]", 21, "expected a key in quotes"),
        ("context.initial_data[context]", 21, "expected a key in quotes"),
        ("context.initial_data.get('x')", 24, "cannot call"),
        ("__import__('os')", 0, "unknown"),
        ("context.actions", 8, "not for conditions"),
        (r"'\q' == 'q'", 1, "unknown escape"),
        ("a ? b", 2, "unexpected '?'"),
        ("context.initial_data.a ; 1", 23, "unexpected ';'"),
        ("1_ == 1", 0, "not a number"),
        ("and", 0, "unexpected 'and'"),
    ],
)
def test_wrong_condition_is_refused_with_its_place(text: str, position: int, reason: str) -> None:
    """A text that cannot be parsed names what is wrong and points at it."""
    with pytest.raises(ConditionError) as caught:
        parse(text)

    assert caught.value.position == position
    assert reason in caught.value.reason
    assert str(caught.value).splitlines()[2] == " " * (2 + position) + "^"


def test_caret_of_a_condition_over_several_lines_stands_below_its_character() -> None:
    """Line breaks are shown as spaces, so that the message has three lines."""
    with pytest.raises(ConditionError) as caught:
        parse("True and\n\t? == 1")

    reason, text, caret = str(caught.value).splitlines()
    assert (reason, text[caret.index("^")]) == ("unexpected '?'", "?")


@pytest.mark.parametrize("text", ["(" * 5000 + "1" + ")" * 5000, "not " * 5000 + "1", "[" * 5000, "-" * 5000])
def test_condition_nested_too_deep_is_refused(text: str) -> None:
    """A hostile text gives an error of ours, not an exhausted stack."""
    with pytest.raises(ConditionError):
        parse(text)


def test_tree_cannot_be_changed() -> None:
    """A parsed condition is frozen."""
    with pytest.raises(AttributeError):
        parse("context.initial_data.n == 1").first = None  # type: ignore[attr-defined]


def refused_at(text: str) -> int:
    """Returns where a text is refused, or 0 if it is a condition."""
    try:
        parse(text).value(CONTEXT)
    except ConditionError as error:
        return error.position
    return 0


values = st.one_of(st.booleans(), st.none(), st.integers(-9, 9), st.sampled_from(["'a'", "'b'", "''"]))
operands = values.map(str)
comparators = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in", "not in"])
comparisons = st.one_of(
    operands,
    st.tuples(operands, st.sampled_from(["==", "!="]), operands).map(" ".join),
    st.tuples(operands, st.sampled_from(["in", "not in"]), st.lists(operands).map(lambda o: f"[{', '.join(o)}]")).map(
        " ".join
    ),
    st.lists(st.integers(-3, 3).map(str), min_size=2, max_size=4).map(" < ".join),
)
expressions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"not {text}"),
    ),
    max_leaves=12,
)


@given(expressions)
def test_condition_without_fields_means_what_python_means(text: str) -> None:
    """Precedence, chains and truth are those of Python; its own eval, used here only, is the reference."""
    assert parse(text).value(CONTEXT) == eval(text)


@given(st.text(max_size=30))
def test_any_text_parses_or_is_refused(text: str) -> None:
    """Whatever is written, the answer is a tree or a ConditionError that points into the text."""
    assert 0 <= refused_at(text) <= len(text)


pieces = st.sampled_from(
    [
        "context",
        ".",
        "initial_data",
        "n",
        "[",
        "]",
        "(",
        ")",
        "0",
        "'a'",
        " and ",
        " or ",
        " not ",
        " in ",
        "==",
        "<",
        ",",
    ]
)


@given(st.lists(pieces, max_size=12).map("".join))
def test_any_order_of_words_parses_or_is_refused(text: str) -> None:
    """The same for texts made of the language's own words, which come further into the parser."""
    assert 0 <= refused_at(text) <= len(text)
