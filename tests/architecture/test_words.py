"""One name, one thing; and values are named where they are handed over: in SQL, and where records are made."""

from __future__ import annotations

import ast
import re

from test_sizes import REPOSITORY, code

SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE)\b")
BY_PLACE = re.compile(r"(?<![\w'])\?(?![\w'])")
WHY_BY_PLACE = "by place, as that is what there is most of"


def ours() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(REPOSITORY)): ast.parse(path.read_text())
        for path in code(".py")
        if path.relative_to(REPOSITORY).parts[0] != "tests"
    }


def unnamed(source: ast.Module) -> list[str]:
    """The SQL in a file that has parameters without a name."""
    texts = [node.value for node in ast.walk(source) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [text for text in texts if SQL.search(text) and BY_PLACE.search(text)]


def test_parameters_of_sql_have_names():
    files = ours()
    assert len(files) > 200
    found = {file: texts for file, source in files.items() if (texts := unnamed(source))}
    (only,) = found.pop("proto/offcam_runs/record_rows.py")
    assert "INSERT INTO episodes" in only
    assert WHY_BY_PLACE in (REPOSITORY / "proto/offcam_runs/record_rows.py").read_text()
    assert found == {}


def test_a_parameter_without_a_name_is_found():
    assert unnamed(ast.parse('_ONE = "SELECT a FROM b WHERE c = ?"'))
    assert unnamed(ast.parse('_ONE = """\nINSERT INTO a (b, c)\nVALUES (?, :c)\n"""'))
    assert not unnamed(ast.parse('_ONE = "SELECT a FROM b WHERE c = :c"'))
    assert not unnamed(ast.parse('_ONE = "i8?"'))


TWINS = {
    "Arena": "one of shared memory, as its maker has it and as its reader",
    "Episode": "a row of a table; and `offcam.keep.Episode`, what a user's test is asked about",
    "Frame": "a message, and what it carries while that waits to be encoded",
    "RecordEpisodeStatistics": "as in Gymnasium",
    "RecordVideo": "as in Gymnasium",
    "Spool": "frames on disk, as their writer has them and as the client that outlives it",
    "State": "of a session, seen from either side",
    "Tracker": "what each module of `offcam.sync.sinks` is known by",
    "Transport": "a socket, on either side",
}
"""Names that two classes have for a reason."""


def homes(files: dict[str, ast.Module]) -> dict[str, list[str]]:
    """The files of each public class."""
    found: dict[str, list[str]] = {}
    for file, source in files.items():
        for node in source.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(file)
    return found


def test_one_name_is_one_class():
    found = homes(ours())
    assert len(found) > 300
    assert {name for name, files in found.items() if len(files) > 1} == set(TWINS)


def test_two_classes_of_a_name_are_found():
    assert homes({"a": ast.parse("class A: ..."), "b": ast.parse("class A: ...\nclass _B: ...")}) == {"A": ["a", "b"]}


MOST_BY_PLACE = 4


def is_record(node: ast.ClassDef) -> bool:
    """Whether a class's constructor takes what its fields are."""
    made = ("NamedTuple", "Struct", "Checked")
    decorated = any("dataclass" in ast.unparse(each) for each in node.decorator_list)
    return decorated or any(ast.unparse(base).endswith(made) for base in node.bases)


def records(*sources: ast.Module) -> set[str]:
    nodes = [node for source in sources for node in ast.walk(source) if isinstance(node, ast.ClassDef)]
    return {node.name for node in nodes if is_record(node)}


def made_by_place(source: ast.Module, names: set[str]) -> list[str]:
    """The calls that make a record of more values by place than one can tell apart; but what is unpacked."""
    calls = [node for node in ast.walk(source) if isinstance(node, ast.Call) and len(node.args) > MOST_BY_PLACE]
    return [
        f"{node.lineno}: {ast.unparse(node.func)}"
        for node in calls
        if ast.unparse(node.func).split(".")[-1] in names and not any(isinstance(arg, ast.Starred) for arg in node.args)
    ]


def test_records_are_made_by_name():
    files = ours()
    shared = {name for name in records(*files.values()) if not name.startswith("_")}
    assert len(shared) > 100
    found = {file: made_by_place(source, shared | records(source)) for file, source in files.items()}
    assert {file: calls for file, calls in found.items() if calls} == {}


def test_a_record_that_is_made_by_place_is_found():
    source = ast.parse("class A(NamedTuple):\n    a: int\n\nA(1, 2, 3, 4, 5)\nA(1, 2, 3, 4, e=5)\nB(1, 2, 3, 4, 5)")
    assert made_by_place(source, records(source)) == ["4: A"]


def test_no_table_is_laid_out_by_hand_but_the_messages_that_there_are():
    """`fmt: skip` keeps what no tool would keep in order."""
    skipped = {str(path.relative_to(REPOSITORY)) for path in code(".py") if "# fmt: skip" in path.read_text()}
    assert {path for path in skipped if not path.startswith("tests")} == {"proto/offcam_proto/messages.py"}
