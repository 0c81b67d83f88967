"""Manifests as text: what is not changed keeps its form and its meaning."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.kubernetes.documents import DocumentError, read, write
from sidecar.kubernetes.patching import difference

SCALARS = [
    ("0644", 420),
    ("0o17", 15),
    ("0x1F", 31),
    ("0b11", 3),
    ("-0644", -420),
    ("08", 8.0),
    ("1_000", 1000),
    ("1e3", 1000.0),
    (".5", 0.5),
    ("18446744073709551615", 18446744073709551615),
    ("18446744073709551616", 18446744073709551616.0),
    ("123456789012345678901234567890", 1.2345678901234568e29),
    ("yes", True),
    ("Off", False),
    ("y", True),
    ("N", False),
    ("~", None),
    ("Null", None),
    ("", None),
    ("1:30", "1:30"),
    ("2001-12-14", "2001-12-14"),
    ("2001-12-14T21:59:43Z", "2001-12-14T21:59:43Z"),
    ("=", "="),
    ("'0644'", "0644"),
    ('"yes"', "yes"),
    ("!!str 0644", "0644"),
    ("!!int '7'", 7),
    ("1.2.3", "1.2.3"),
]


@pytest.mark.parametrize(("written", "value"), SCALARS)
def test_scalars(written: str, value: Any) -> None:
    """A scalar is what Kubernetes takes it for, and is written as it was."""
    text = f"a: {written}\n"
    (document,) = read(text)
    assert document.value == {"a": value}
    assert type(document.value["a"]) is type(value)
    document.apply(difference({}, {"b": 1}), ())
    again = write([document])
    assert read(again)[0].value == {"a": value, "b": 1}
    if not written.startswith(("!", "'")):
        assert f"a: {written}\n".replace(": \n", ":\n") in again.replace("a: \n", "a:\n")


KEYS = [("8080", "8080"), ("on", "true"), ("no", "false"), ("~", "null"), ("'on'", "on")]


@pytest.mark.parametrize(("written", "key"), KEYS)
def test_keys(written: str, key: str) -> None:
    """A key is a string in JSON, whatever YAML takes it for, and found by that."""
    (document,) = read(f"{written}: {{x: 1}}\n")
    assert document.value == {key: {"x": 1}}
    document.apply(difference({"x": 1}, {"x": 2}), (key,))
    assert read(write([document]))[0].value == {key: {"x": 2}}


MERGED = """\
base: &base {image: a, env: [x]}
one: &one
  <<: *base
  image: b
two:
  <<: [*one, {image: c, more: 1}]
list: [*base, *base]
"""


def test_anchors() -> None:
    """Anchors stay where nothing is changed, and are written out where something is."""
    (document,) = read(MERGED)
    base = {"image": "a", "env": ["x"]}
    one = {"image": "b", "env": ["x"]}
    value = {"base": base, "one": one, "two": {**one, "more": 1}, "list": [base, base]}
    assert document.value == value
    unchanged = write([document])
    assert "<<" in unchanged
    assert read(unchanged)[0].value == value
    changed = {**value, "list": [{**base, "env": ["y"]}, base]}
    document.apply(difference(value, changed), ())
    assert "&" not in write([document])
    assert read(write([document]))[0].value == changed


LAUGHS = "a0: &a0 x\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
WRONG = [
    ("a: 1\na: 2\n", "2:1: the key `a` is given twice; the first is on line 1"),
    ("8080: 1\n'8080': 2\n", "2:1: the key `8080` is given twice"),
    ("a: [1\nb: 2\n", "2:2: is not YAML: "),
    ("a: 'x\n", "2:1: is not YAML: "),
    ("a: !secret x\n", "1:4: the tag `!secret` is not for JSON"),
    ("a: !!binary aGk=\n", "1:4: the tag `tag:yaml.org,2002:binary` is not for JSON"),
    ("a: !!set {x}\n", "1:4: the tag `tag:yaml.org,2002:set` is not for JSON"),
    ("? [a]\n: b\n", "1:3: a key must be a string"),
    ("a: *nobody\n", "1:4: is not YAML: "),
    ("a: \x01\n", "1:4: "),
    ("a: .nan\n", "1:4: `.nan` has no value in JSON"),
    ("a: !!int x\n", "1:4: `x` has no value in JSON"),
    ("<<: x\n", "1:5: only a map can be merged with `<<`"),
    ("a: &a {<<: *a}\n", "merges itself"),
    ("a: &a [*a]\n", "becomes too large once its aliases are written out"),
    (LAUGHS, "becomes too large once its aliases are written out"),
    ("[" * 200 + "]" * 200, "is nested more than 100 deep"),
    ("[" * 200000 + "]" * 200000, "is nested more than 100 deep"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=range(len(WRONG)))
def test_wrong(text: str, message: str) -> None:
    """What is not YAML, or has no meaning in JSON, is refused at its line and column."""
    with pytest.raises(DocumentError) as caught:
        _ = [document.value for document in read(text)]
    assert message in str(caught.value)


def test_many_and_flat() -> None:
    """Only depth has a bound, not the number of lists."""
    (document,) = read("- [a]\n" * 300)
    assert document.value == [["a"]] * 300


def test_operations() -> None:
    """Keys and items are removed, replaced and added where the patch says."""
    old = {"a": 1, "b": {"c": [1, 2, 3]}, "d": [{"name": "x"}]}
    new = {"b": {"c": [2, 3, 4]}, "d": [{"name": "w"}, {"name": "x", "y": None}], "e/~f": {}}
    (document,) = read(write(read("a: 1\nb: {c: [1, 2, 3]}\nd: [{name: x}]\n")))
    assert document.value == old
    document.apply(difference(old, new), ())
    assert read(write([document]))[0].value == new


def test_stream() -> None:
    """Documents keep their order; those that are empty are left out."""
    text = "# nothing\n---\n---\na: 1\n---\n# c\n---\nb: 2\n...\n---\n{c: 3}\n"
    assert write(read(text)) == "a: 1\n---\nb: 2\n---\n{c: 3}\n"
    assert write(read("")) == ""


def test_json() -> None:
    """JSON is read too."""
    (document,) = read('{"a": [1, "x", null, true], "b": {"c": 1.5e3}}')
    assert document.value == {"a": [1, "x", None, True], "b": {"c": 1500.0}}


def test_long_and_folded() -> None:
    """Lines are not broken anew, and folded ones keep their meaning."""
    text = f"a: {'word ' * 60}end\nb: >\n  one\n  two\n\n   three\nc: |\n  {'x ' * 90}\n  y\n"
    value = read(text)[0].value
    again = write(read(text))
    assert read(again)[0].value == value
    assert write(read(again)) == again


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["on", "n", "0644", "1e3", "~", "", "1:30", "- a", "a: b", "x\ny\n", "# "]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=3), VALUES)
def test_added(old: dict[str, Any], added: Any) -> None:
    """Whatever is added is read as what it is, by Kubernetes' rules and by YAML 1.1."""
    (document,) = read("{}\n")
    new = {"old": old, "added": added}
    document.apply(difference({}, new), ())
    text = write([document])
    assert difference(read(text)[0].value, _as_in_json(new)) == ()
    assert write(read(text)) == text


def _as_in_json(value: Any) -> Any:
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return float(value)
    if isinstance(value, dict):
        return {key: _as_in_json(item) for key, item in value.items()}
    return [_as_in_json(item) for item in value] if isinstance(value, list) else value
