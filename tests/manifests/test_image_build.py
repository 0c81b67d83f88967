"""How the Dockerfile is read and followed, without a machine that could build."""

import os
from pathlib import Path

import pytest

from deploy.image.build import Build, main, stamp
from deploy.image.context import Context
from deploy.image.dockerfile import DockerfileError, pairs, parse, substitute

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM scratch\nADD a /b\n", "unknown instruction: ADD"),
        ("FROM scratch\nHEALTHCHECK NONE\n", "unknown instruction: HEALTHCHECK"),
        ("RUN true\n", "RUN before FROM"),
        ("# syntax=docker/dockerfile:1\nFROM scratch\n", "a parser directive"),
        ("FROM scratch\nCOPY <<EOF /a\n", "a here-document: COPY <<EOF /a"),
    ],
)
def test_what_is_not_known_is_refused(text: str, said: str) -> None:
    """A step left out in silence would make another image than a builder makes."""
    with pytest.raises(DockerfileError) as refused:
        parse(text)
    assert str(refused.value) == said


def test_lines_go_on_and_comments_do_not_count() -> None:
    """Also in the middle of an instruction."""
    text = "FROM scratch AS one\nRUN a \\\n# why\n && b\n\nFROM scratch\nUSER 1\n"
    assert [(one.stage, one.keyword, one.value) for one in parse(text)] == [
        (0, "FROM", "scratch AS one"),
        (0, "RUN", "a && b"),
        (1, "FROM", "scratch"),
        (1, "USER", "1"),
    ]


def test_pairs_and_variables() -> None:
    """Quotes hold spaces; a variable that is not set is a mistake, not an empty string."""
    assert pairs('A=1 b.c="two words"  D=3') == {"A": "1", "b.c": "two words", "D": "3"}
    assert substitute("$A-${A}b", {"A": "x"}) == "x-xb"
    with pytest.raises(DockerfileError, match=r"\$B is not set"):
        substitute("$B", {"A": "x"})
    with pytest.raises(DockerfileError, match="not NAME=value: stray"):
        pairs("A=1 stray")


def test_the_context_is_what_dockerignore_lets_through(tmp_path: Path) -> None:
    """The last line that fits decides, and what is below fits too."""
    (tmp_path / ".dockerignore").write_text("# note\n*\n!kept\n!one.py\n**/*.pyc\n")
    context = Context(tmp_path)
    held = ["kept", "kept/a.py", "kept/b/c.py", "one.py"]
    assert [path for path in held if not context.holds(path)] == []
    out = ["other", "kept/a.pyc", "kept/b/c.pyc", "one.pyc", "twoone.py", "sub/one.py"]
    assert [path for path in out if context.holds(path)] == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with a file, a directory and something kept out."""
    tree = tmp_path / "tree"
    (tree / "directory/below").mkdir(parents=True)
    (tree / ".dockerignore").write_text("secret\n")
    (tree / "Dockerfile").write_text("FROM scratch\n")
    for name in ("file", "secret", "directory/a", "directory/below/b"):
        (tree / name).write_text(name)
    return tree


def followed(tree: Path, text: str, arguments: dict[str, str] | None = None) -> Path:
    work = tree.parent / "work"
    work.mkdir()
    return Build(tree, work, arguments or {}).run(parse(text)).root


def test_files_are_copied_as_a_builder_copies_them(tree: Path) -> None:
    """A file into a directory or under another name; of a directory its content; across stages."""
    text = (
        "FROM scratch AS first\nWORKDIR /src\nCOPY file ./\nCOPY file renamed\nCOPY directory d\n"
        "FROM scratch\nCOPY --from=first /src /got\n"
    )
    got = followed(tree, text) / "got"
    assert sorted(str(path.relative_to(got)) for path in got.rglob("*") if path.is_file()) == [
        "d/a",
        "d/below/b",
        "file",
        "renamed",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("COPY secret /", "COPY secret: .dockerignore keeps it out, or it is absent"),
        ("COPY absent /", "COPY absent: .dockerignore keeps it out, or it is absent"),
        ("COPY --chown=1 file /", "COPY --chown=1 file /"),
        ("FROM fedora", "FROM fedora: no such base here"),
        ("FROM scratch as x", "FROM scratch as x"),
        ("RUN --mount=type=cache true", "RUN as another user, with an option"),
        ("ARG A", "ARG A has no default"),
    ],
)
def test_what_cannot_be_followed_ends_the_build(tree: Path, line: str, said: str) -> None:
    """Never another image than the Dockerfile says."""
    with pytest.raises(DockerfileError) as refused:
        followed(tree, f"FROM scratch\n{line}\n")
    assert said in str(refused.value)


def test_an_argument_that_nobody_declares_is_refused(tree: Path) -> None:
    """A slip in CI would otherwise go unnoticed."""
    with pytest.raises(DockerfileError, match="no ARG TYPO"):
        followed(tree, "FROM scratch\nARG LEVEL=2\n", {"TYPO": "1"})


def test_a_change_of_any_source_changes_the_stamp(tree: Path) -> None:
    """By which the tests know that what was built is this tree; what is kept out does not count."""
    before = stamp(tree)
    (tree / "secret").write_text("another")
    assert stamp(tree) == before
    (tree / "directory/a").write_text("another")
    assert stamp(tree) != before


def test_without_root_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever tries it on a laptop learns what it takes."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main([]) == 1
    said = capsys.readouterr().err
    assert said.startswith("image: needs root and ")
    assert said.count("\n") == 1
