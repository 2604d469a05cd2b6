"""Nothing that a user's file says can become markup or leave its script element."""

import html
import json
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from sclaws.report import markup
from sclaws.report.markup import Html


class Reader(HTMLParser):
    """Collects elements and text as a browser would."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


PRINTABLE = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


@given(PRINTABLE, PRINTABLE)
def test_text_and_attributes_come_back_as_they_went_in(text, attribute):
    reader = Reader()
    reader.feed(markup.tag("p", text, data_x=attribute))
    reader.close()
    assert reader.elements == [("p", {"data-x": attribute})]
    assert reader.text == text


@given(st.recursive(PRINTABLE | st.integers(-9, 9), lambda inner: st.lists(inner) | st.dictionaries(PRINTABLE, inner)))
def test_json_in_a_script_comes_back_and_holds_no_tag(value):
    text = markup.script_json(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029") & set(text)


def test_markup_is_not_escaped_twice():
    inner = markup.tag("b", "a & b")
    assert inner == "<b>a &amp; b</b>"
    assert markup.tag("p", inner, ["x<y", None, inner]) == f"<p>{inner}x&lt;y{inner}</p>"
    assert isinstance(markup.join("<"), Html)


def test_attributes_that_are_off_are_left_out():
    assert markup.tag("option", "a", selected=False, value=None) == "<option>a</option>"
    assert markup.tag("option", "a", selected=True) == "<option selected>a</option>"


def test_a_symbol_has_its_index_set_low():
    assert markup.symbol("i_max") == "I<sub>max</sub>"
    assert markup.symbol("<b>") == html.escape("<b>")


def test_a_sortable_table_sorts_by_the_number_behind_the_text():
    rows = [[markup.cell("4,900 (3,600 to 6,200)", 4861.5)], [markup.cell("–", float("nan"))]]
    text = markup.table(["ū"], rows, sortable=True)
    assert 'data-v="4861.5"' in text
    assert "nan" not in text
    assert '<th scope="col"><button type="button">ū</button></th>' in text
