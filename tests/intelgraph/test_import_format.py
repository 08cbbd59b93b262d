"""The import format, broken in every way."""

from __future__ import annotations

import pytest

from dbopt.intelgraph.import_format import ENTITIES, RELATIONSHIPS, Problem, read_rows
from dbopt.intelgraph.loading import UNKNOWN_ENTITY
from tests.intelgraph.import_folder import ENTITY_HEADER, GOOD, REL_HEADER, SOURCE_HEADER, load_folder, nothing_written

pytestmark = pytest.mark.django_db

STRUCTURE = [
    (
        {"people.csv": "a\n"},
        "people.csv: is not a file of the format; known are entities.csv, relationships.csv, investigations.csv, sources.csv",
    ),
    ({"entities.csv": None}, "entities.csv: is missing"),
    ({"entities.csv": ""}, "entities.csv: is empty: it has no header"),
    ({"sources.csv": b"\xef\xbb\xbf"}, "sources.csv: is empty: it has no header"),
    (
        {"entities.csv": "external_id,type,name,confidence\n"},
        "entities.csv:1: has no column props; the columns are external_id, type, name, confidence, props",
    ),
    (
        {"sources.csv": "entity,type,url,title,secret\n"},
        "sources.csv:1: has a column that is not of the format; the columns are entity, type, url, title",
    ),
    (
        {"sources.csv": "entity,type,url,title,title\n"},
        "sources.csv:1: has the column title twice; the columns are entity, type, url, title",
    ),
    ({"entities.csv": ENTITY_HEADER.encode("utf-16")}, "entities.csv:1: is not UTF-8 text"),
    ({"entities.csv": 'external_id,"type'}, "entities.csv:1: is not CSV (unexpected end of data)"),
]


@pytest.mark.parametrize(("files", "message"), STRUCTURE)
def test_a_wrong_file_is_named_and_nothing_is_written_even_with_skip_bad(folder, files, message):
    path = folder(files)

    for arguments in ([], ["--skip-bad"]):
        code, out, err = load_folder(path, *arguments)

        assert (code, out) == (1, "")
        assert err == f"{message}\nNothing was written: 1 problem."
        assert nothing_written()


# File -> (a row that is put below good ones, what is wrong with it).
BAD_ROWS = {
    "entities.csv": [
        (b"\xff,P,X,1,{}", "external_id is not UTF-8 text"),
        ("x,P,N\0,1,{}", "name holds a NUL character"),
        (",P,X,1,{}", "external_id is empty"),
        ("x,,X,1,{}", "type is empty"),
        ("x,P,,1,{}", "name is empty"),
        ("x" * 201 + ",P,X,1,{}", "external_id is longer than 200 characters"),
        ("x," + "P" * 65 + ",X,1,{}", "type is longer than 64 characters"),
        ("x,P," + "N" * 501 + ",1,{}", "name is longer than 500 characters"),
        ("x,P,X,,{}", "confidence is not a number"),
        ("x,P,X,1.01,{}", "confidence is not between 0 and 1"),
        ("x,P,X,-0.1,{}", "confidence is not between 0 and 1"),
        ("x,P,X,NaN,{}", "confidence is not a number"),
        ("x,P,X,inf,{}", "confidence is not a number"),
        ("x,P,X,1_0,{}", "confidence is not a number"),
        ("x,P,X,\u0660,{}", "confidence is not a number"),
        ("x,P,X,1e999,{}", "confidence is too large for a number"),
        ('x,P,X,1,"{""a"": "', "props is not JSON (expecting value at character 7)"),
        ("x,P,X,1,[]", "props is not a JSON object"),
        ("x,P,X,1,null", "props is not a JSON object"),
        ('x,P,X,1,"{""a"": NaN}"', "props holds NaN, which JSON does not know"),
        ('x,P,X,1,"{""a"": 1e999}"', "props holds a number that is too large"),
        ('x,P,X,1,"{""a"": ""\\u0000""}"', "props holds a character that PostgreSQL cannot keep"),
        ('x,P,X,1,"{""\\ud800"": 1}"', "props holds a character that PostgreSQL cannot keep"),
        ('x,P,X,1,"{""a"": ' + "[" * 100_000 + '"', "props is nested too deeply"),
        ("a,P,X,1,{}", "external_id already stands in line 2"),
        ("x,P,X,1", "has 4 columns instead of 5"),
        ("x,P,X,1,{},more", "has 6 columns instead of 5"),
        ('x,P,"X"Y,1,{}', "is not CSV (',' expected after '\"')"),
        ('x,P,"X,1,{}', "is not CSV (unexpected end of data)"),
    ],
    "relationships.csv": [
        ("r9,a,nobody,PAID,1,,,,", f"target {UNKNOWN_ENTITY}"),
        ("r9,nobody,a,PAID,1,,,,", f"source {UNKNOWN_ENTITY}"),
        ("r9,a,b,PAID,1,many,,,", "weight is not a number"),
        ("r9,a,b,PAID,1,NaN,,,", "weight is not a number"),
        ("r9,a,b,PAID,1,,2015-02-30,,", "valid_from is not a date (YYYY-MM-DD)"),
        ("r9,a,b,PAID,1,,,20150201,", "valid_to is not a date (YYYY-MM-DD)"),
        ("r9,a,b,PAID,1,,,0000-01-01,", "valid_to is not a date (YYYY-MM-DD)"),
        ("r1,a,b,PAID,1,,,,", "external_id already stands in line 2"),
    ],
    "investigations.csv": [
        ("i9,Case,open,0,[]", "priority is not a whole number from 1 to 4"),
        ("i9,Case,open,5,[]", "priority is not a whole number from 1 to 4"),
        ("i9,Case,open,1.0,[]", "priority is not a whole number from 1 to 4"),
        ("i9,Case,open,1,{}", "entities is not a JSON array of external ids"),
        ("i9,Case,open,1,[1]", "entities is not a JSON array of external ids"),
        ('i9,Case,open,1,"[""a"", ""nobody""]"', f"entities {UNKNOWN_ENTITY}"),
        ("i1,Case,open,1,[]", "external_id already stands in line 2"),
    ],
    "sources.csv": [
        ("nobody,report,https://x.example/3,", f"entity {UNKNOWN_ENTITY}"),
        ("a,report,,", "url is empty"),
        ("a,article,https://x.example/1,", "entity and url already stands in line 2"),
    ],
}


@pytest.mark.parametrize(("file", "row", "reason"), [(file, *bad) for file, rows in BAD_ROWS.items() for bad in rows])
def test_a_bad_row_is_reported_with_file_line_and_reason(folder, file, row, reason):
    good = GOOD[file].encode()
    line = good.count(b"\n") + 1

    code, out, err = load_folder(folder({file: good + (row if isinstance(row, bytes) else row.encode()) + b"\n"}))

    assert (code, out) == (1, "")
    assert err == f"{file}:{line}: {reason}\nNothing was written: 1 problem."
    assert nothing_written()


def test_all_problems_of_all_files_are_reported_up_to_a_hundred(folder):
    bad = "".join(f"bad{number},P,X,2,{{}}\n" for number in range(120))

    code, _, err = load_folder(
        folder({"entities.csv": GOOD["entities.csv"] + bad, "sources.csv": SOURCE_HEADER + "bad1,t,u,\n"})
    )

    lines = err.splitlines()
    assert code == 1
    assert lines[0] == "entities.csv:6: confidence is not between 0 and 1"
    assert lines[99] == "entities.csv:105: confidence is not between 0 and 1"
    assert lines[100:] == ["and 21 more", "Nothing was written: 121 problems."]


def test_lines_are_counted_as_an_editor_counts_them(folder):
    path = folder({"entities.csv": ENTITY_HEADER + 'a,P,"Two\nlines",1,{}\n\nb,P,B,2,{}\nc,P,"Bad\nlines",2,{}\n'})

    rows = list(read_rows(path, ENTITIES))

    assert [row.line for row in rows] == [2, 5, 6]


def test_reading_gives_good_and_bad_rows_in_order(folder):
    path = folder({"relationships.csv": REL_HEADER + "r1,a,b,T,1,,,,\nr2,a,b,T,x,,,,\nr3,a,b,T,1,,,,\n"})

    rows = list(read_rows(path, RELATIONSHIPS))

    assert rows[1] == Problem("relationships.csv", 3, "confidence", "is not a number")
    assert [row.line for row in rows] == [2, 3, 4]
