"""What reading a statement costs: the first time, and every time after that.

    python -m benchmarks.statements

Processor time of this process alone, so that a busy machine shows little: the least and the median of many rounds.
The budget is 30 us for a typical statement of the ORM (a miss) and under 1 us for one that was read before (a hit).
"""

from __future__ import annotations

import os
import platform
import statistics
import time

import django

ROUNDS = 60
REPEATS = 50


def statements():
    """Name -> text, as Django sends them to PostgreSQL."""
    from django.db.models import Count, Exists, OuterRef, Q

    from tests.testapp.models import Author, Book

    books = Book.objects.all()
    reads = {
        "get by pk": books.filter(pk=1)[:21],
        "get of a small table": Author.objects.filter(pk=1)[:21],
        "list, ordered, paged": books.filter(author=1).order_by("-published_at", "-pk")[:100],
        "in_bulk of 100": books.filter(pk__in=range(100)),
        "one join": books.filter(author__name="x").order_by("title")[:20],
        "select_related": books.select_related("author", "publisher").filter(pages__gt=100)[:20],
        "count by group": Author.objects.annotate(n=Count("books")).filter(n__gt=1),
        "exists, subquery": Author.objects.filter(Exists(Book.objects.filter(author=OuterRef("pk"), pages__gt=9))),
        "keyset page": books.filter(Q(pages__lt=5) | Q(pages=5, pk__lt=9)).order_by("-pages", "-pk")[:21],
    }
    texts = {name: query.query.sql_with_params()[0] for name, query in reads.items()}
    columns = ", ".join(f'"{field.column}"' for field in Book._meta.concrete_fields if not field.primary_key)
    values = ", ".join(["%s"] * (columns.count(",") + 1))
    changes = ", ".join(f"{column} = %s" for column in columns.split(", "))
    return {
        **texts,
        "insert": f'INSERT INTO "testapp_book" ({columns}) VALUES ({values}) RETURNING "testapp_book"."id"',
        "insert of 100 rows": f'INSERT INTO "testapp_book" ({columns}) VALUES {", ".join([f"({values})"] * 100)}',
        "save": f'UPDATE "testapp_book" SET {changes} WHERE "testapp_book"."id" = %s',
        "delete": 'DELETE FROM "testapp_book" WHERE "testapp_book"."id" IN (%s)',
        "savepoint": 'SAVEPOINT "s140218_x1"',
    }


def microseconds(work):
    """Least and median processor time of one call, over many rounds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        for _ in range(REPEATS):
            work()
        rounds.append((time.process_time_ns() - started) / 1000 / REPEATS)
    return min(rounds), statistics.median(rounds)


def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from dbopt.statements import _read, read_statement

    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, processor time in us")
    print(f"{'statement':24}{'characters':>12}{'miss: least':>14}{'median':>10}{'hit: least':>14}{'median':>10}")
    misses = []
    for name, text in statements().items():
        miss, hit = microseconds(lambda text=text: _read(text)), microseconds(lambda text=text: read_statement(text))
        misses.append(miss)
        print(f"{name:24}{len(text):>12}{miss[0]:>14.1f}{miss[1]:>10.1f}{hit[0]:>14.2f}{hit[1]:>10.2f}")
    print(f"{'median of all':24}{'':>12}{statistics.median(one for one, _ in misses):>14.1f}", end="")
    print(f"{statistics.median(two for _, two in misses):>10.1f}")


if __name__ == "__main__":
    main()
