"""What Django writes is read in stretches; token by token it must come out the same."""

from __future__ import annotations

import re

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dbopt import statements
from tests.fuzzing import examples

TOKEN = re.compile(r'"[^"]*"|%s|::|<=|>=|<>|\|\||[A-Za-z_]\w*|[0-9]+|\S')
PIECES = [
    '"a"', '"t"."a"', ", ", " = ", " AND ", " OR ", " (", "(", ")", " IN (%s, %s)", " IN (%s)", " IN (", "%s", ", %s", " = %s",
    " >= %s", " AS ", " FROM ", " WHERE ", " ASC", " DESC", " IS NULL", " IS NOT NULL", "::int", " SELECT ", " CASE WHEN ",
    " WHEN ", " THEN ", " ELSE ", " END", " f", "f(", " ARRAY[", "]", " - ", " NOT ", ' WHERE ("a" = %s AND "b" > %s)',
    ' INNER JOIN "u" ON ("t"."a" = "u"."b")', " VALUES (%s, %s), (%s, %s)", " VALUES (%s)", ", (%s, %s)", "(%s, %s)", "(%s)",
    " SET ", " UPDATE ", " DELETE FROM ", " INSERT INTO ", "; ", " LIMIT 21", " COPY ", " TO ", " EXPLAIN ", " WITH ",
    ' (SELECT "a" FROM "t")', " RETURNING ", " || ", " VALUES (%s, DEFAULT)", ' GROUP BY "a"', ' ORDER BY "a", "b" DESC',
]  # fmt: skip


def parted(sql):
    """The same statement, with a comment between all tokens: no stretch is left."""
    return "/**/ ".join(TOKEN.findall(sql))


@settings(max_examples=examples(400), deadline=None)
@given(st.sampled_from(["SELECT ", "UPDATE ", "INSERT INTO ", ""]), st.lists(st.sampled_from(PIECES), max_size=14))
@example("SELECT ", ['"t"."a"', " IN (", '"a"', " = %s", ", ", '"a"', " = %s", ")"])
@example("", ["; ", ", ", '"t"."a"', " DESC"])
@example("SELECT ", ['"a"', " IS NULL", "f(", ")"])
@example("SELECT ", [" VALUES (%s, %s), (%s, %s)", ' ORDER BY "a", "b" DESC', ")", ", (%s, %s)"])
def test_stretches_say_what_their_tokens_say(verb, pieces):
    sql = (verb + "".join(pieces)).strip()
    # Two quoted names side by side are one name with a quote in it.
    assume('""' not in sql)

    assert statements._read(sql) == statements._read(parted(sql))
