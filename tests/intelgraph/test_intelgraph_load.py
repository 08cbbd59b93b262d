"""intelgraph_load: what a good folder becomes, and what stops it."""

from __future__ import annotations

import csv
import json
import threading
from datetime import date
from pathlib import Path

import pytest
from django.db import connection, connections
from django.db.models import F

from dbopt.intelgraph.loading import UNKNOWN_ENTITY, load
from dbopt.intelgraph.models import (
    Entity,
    Investigation,
    InvestigationEntity,
    Relationship,
    Source,
    Tenant,
)
from dbopt.management.progress import ProgressLine
from tests.intelgraph.import_folder import (
    ENTITY_HEADER,
    GOOD,
    INV_HEADER,
    REL_HEADER,
    SOURCE_HEADER,
    load_folder,
    nothing_written,
)

pytestmark = pytest.mark.django_db


def test_a_folder_is_loaded_as_it_is(folder):
    code, out, err = load_folder(folder())

    assert (code, err) == (0, "")
    assert out == (
        "entities.csv: 3 rows, 3 new, 0 changed\n"
        "relationships.csv: 3 rows, 3 new, 0 changed\n"
        "investigations.csv: 2 rows, 2 new, 0 changed, 2 memberships\n"
        "sources.csv: 2 rows, 2 new, 0 changed\n"
        "Loaded into tenant acme.\n"
    )
    assert list(Entity.objects.order_by("id").values_list("external_id", "type", "name", "confidence")) == [
        ("a", "PERSON", "Zoë", 0.5),
        ("b", "BANK", "Bank B", 1.0),
        ("c", "BANK", "Two\nlines", 1.0),
    ]
    assert list(
        Relationship.objects.order_by("id").values_list(
            "external_id", "source__external_id", "target__external_id", "weight", "valid_from", "valid_to"
        )
    ) == [
        ("r1", "a", "b", 68.0, date(2015, 3, 25), date(2015, 9, 25)),
        ("r2", "a", "b", None, None, None),
        ("r3", "b", "b", -1500.0, date(2015, 3, 25), date(2014, 1, 1)),
    ]
    members = InvestigationEntity.objects.order_by("id").values_list(
        "investigation__external_id", "entity__external_id"
    )
    assert list(members) == [("i1", "b"), ("i1", "a")]
    assert list(Source.objects.order_by("id").values_list("url", "title")) == [
        ("https://x.example/1", "Title"),
        ("https://x.example/2", ""),
    ]
    assert {row.tenant.slug for row in Source.objects.all()} == {"acme"}


def test_numbers_in_props_keep_their_digits(folder):
    load_folder(
        folder(
            {"entities.csv": ENTITY_HEADER + 'a,P,A,1,"{""n"": 12345678901234567890.123456789}"\n'}
            | dict.fromkeys(["relationships.csv", "investigations.csv", "sources.csv"])
        )
    )

    with connection.cursor() as cursor:
        cursor.execute("SELECT props ->> 'n' FROM intelgraph_entity")
        assert cursor.fetchone() == ("12345678901234567890.123456789",)


def test_a_second_run_changes_nothing_and_says_so(folder):
    load_folder(folder())
    with connection.cursor() as cursor:
        cursor.execute("SELECT xmin, ctid FROM intelgraph_entity UNION ALL SELECT xmin, ctid FROM intelgraph_source")
        before = cursor.fetchall()

    code, out, err = load_folder(folder(), create=False)

    assert (code, err) == (0, "")
    assert out.endswith("sources.csv: 2 rows, 0 new, 0 changed\nNothing changed.\n")
    with connection.cursor() as cursor:
        cursor.execute("SELECT xmin, ctid FROM intelgraph_entity UNION ALL SELECT xmin, ctid FROM intelgraph_source")
        assert cursor.fetchall() == before


def test_a_changed_row_updates_and_an_absent_row_stays(folder):
    load_folder(folder())
    keys = dict(Entity.objects.values_list("external_id", "pk"))

    code, out, _ = load_folder(
        folder(
            {
                "entities.csv": ENTITY_HEADER + "a,PERSON,Zoe,0.5,{}\nd,BANK,D,1,{}\n",
                "relationships.csv": REL_HEADER + "r1,b,d,PAID,0.9,,,,{}\n",
                "investigations.csv": INV_HEADER + 'i1,Case,closed,4,"[""a"", ""d""]"\n',
                "sources.csv": SOURCE_HEADER + "a,article,https://x.example/1,Title\n",
            }
        )
    )

    assert code == 0
    assert out.splitlines()[:4] == [
        "entities.csv: 2 rows, 1 new, 1 changed",
        "relationships.csv: 1 rows, 0 new, 1 changed",
        "investigations.csv: 1 rows, 0 new, 1 changed, 2 memberships",
        "sources.csv: 1 rows, 0 new, 1 changed",
    ]
    assert dict(Entity.objects.exclude(external_id="d").values_list("external_id", "pk")) == keys
    assert Entity.objects.get(external_id="a").name == "Zoe"
    relationship = Relationship.objects.get(external_id="r1")
    assert (relationship.source.external_id, relationship.target.external_id) == ("b", "d")
    assert (relationship.weight, relationship.valid_from) == (None, None)
    assert Relationship.objects.count() == 3
    members = InvestigationEntity.objects.filter(investigation__external_id="i1").order_by("id")
    assert list(members.values_list("entity__external_id", flat=True)) == ["a", "d"]
    assert Source.objects.count() == 2


def test_the_same_ids_of_two_tenants_do_not_meet(folder):
    load_folder(folder(), tenant="one")
    load_folder(folder(), tenant="two")

    code, _, _ = load_folder(
        folder({"entities.csv": ENTITY_HEADER + "a,PERSON,Changed,0.5,{}\nb,B,B,1,{}\nc,B,C,1,{}\n"}), tenant="two"
    )

    assert code == 0
    assert Entity.objects.get(tenant__slug="one", external_id="a").name == "Zoë"
    assert Entity.objects.get(tenant__slug="two", external_id="a").name == "Changed"
    assert not Relationship.objects.exclude(source__tenant_id=F("tenant_id")).exists()


def test_entities_of_another_tenant_are_unknown(folder):
    load_folder(folder(), tenant="one")

    code, _, err = load_folder(
        folder({"entities.csv": ENTITY_HEADER + "x,P,X,1,{}\n"} | {"investigations.csv": None, "sources.csv": None}),
        tenant="two",
    )

    assert code == 1
    assert f"relationships.csv:2: source {UNKNOWN_ENTITY}" in err
    assert not Tenant.objects.filter(slug="two").exists()


def test_entities_in_the_database_may_be_named(folder):
    load_folder(folder())

    code, _, err = load_folder(
        folder({"entities.csv": ENTITY_HEADER, "relationships.csv": REL_HEADER + "r9,c,a,PAID,1,,,,\n"})
    )

    assert (code, err) == (0, "")
    assert Relationship.objects.filter(external_id="r9").exists()


def test_byte_order_mark_is_accepted(folder):
    code, _, err = load_folder(folder({name: b"\xef\xbb\xbf" + text.encode() for name, text in GOOD.items()}))

    assert (code, err) == (0, "")
    assert Entity.objects.filter(external_id="a").exists()


def test_columns_may_come_in_any_order_and_lines_end_in_any_way(folder):
    files = {"entities.csv": "name,props,confidence,type,external_id\r\nZoë,{},0.5,PERSON,a\r\n\r\nB,{},1,BANK,b\r\n"}

    code, _, err = load_folder(
        folder(files | dict.fromkeys(["relationships.csv", "investigations.csv", "sources.csv"]))
    )

    assert (code, err) == (0, "")
    assert list(Entity.objects.order_by("id").values_list("external_id", "name")) == [("a", "Zoë"), ("b", "B")]


def test_other_files_are_ignored(folder):
    code, _, err = load_folder(folder({"README.md": "# x", "entities.csv.bak": "x"}))

    assert (code, err) == (0, "")


def test_no_value_of_a_row_is_shown(folder):
    secret = "Top-Secret-Name"
    rows = f"{secret},P,{secret},9,{{}}\n{secret}2,P,{secret},1,{{{secret}}}\n"

    code, out, err = load_folder(folder({"entities.csv": GOOD["entities.csv"] + rows}))
    _, json_out, json_err = load_folder(folder({"entities.csv": GOOD["entities.csv"] + rows}), "--json")

    assert code == 1
    assert secret not in out + err + json_out + json_err


def test_skip_bad_loads_the_rest_and_keeps_the_rejected_rows(folder, tmp_path):
    path = folder(
        {
            "entities.csv": GOOD["entities.csv"].encode() + b"x,P,\xff,1,{}\n",
            "relationships.csv": GOOD["relationships.csv"] + "r9,a,x,PAID,1,,,,{}\n",
            "sources.csv": SOURCE_HEADER + "a,t,u,\nnobody,t,u,Title\n",
        }
    )
    rejected = tmp_path / "rejected.csv.txt"

    code, out, err = load_folder(path, "--skip-bad", "--rejected", str(rejected))

    assert code == 0
    assert err.splitlines() == [
        "entities.csv:6: name is not UTF-8 text",
        f"relationships.csv:5: target {UNKNOWN_ENTITY}",
        f"sources.csv:3: entity {UNKNOWN_ENTITY}",
    ]
    assert out.splitlines()[-2:] == [f"3 problems left out; see {rejected}", "Loaded into tenant acme."]
    assert (Entity.objects.count(), Relationship.objects.count(), Source.objects.count()) == (3, 3, 1)
    with rejected.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["file", "line", "reason", "row"],
            ["entities.csv", "6", "name is not UTF-8 text", json.dumps(["x", "P", "\udcff", "1", "{}"])],
            ["relationships.csv", "5", f"target {UNKNOWN_ENTITY}", '["r9", "a", "x", "PAID", "1", "", "", "", "{}"]'],
            ["sources.csv", "3", f"entity {UNKNOWN_ENTITY}", '["nobody", "t", "u", "Title"]'],
        ]


def test_unknown_tenant_is_wrong_use(folder):
    code, out, err = load_folder(folder(), create=False)

    assert (code, out) == (2, "")
    assert err == "There is no tenant 'acme'; --create-tenant creates it."
    assert nothing_written()


@pytest.mark.parametrize(
    ("arguments", "tenant", "message"),
    [
        (["--rejected", "x"], "acme", "--rejected goes with --skip-bad."),
        ([], "no slug!", "--tenant 'no slug!' is not a slug: letters, digits, - and _ only."),
        ([], "a" * 65, "--tenant is longer than 64 characters."),
        (["--database", "other"], "acme", "There is no database 'other' in DATABASES."),
    ],
)
def test_wrong_use_is_named(folder, arguments, tenant, message):
    assert load_folder(folder(), *arguments, tenant=tenant) == (2, "", message)


def test_a_folder_that_is_not_there_is_wrong_use(tmp_path):
    path = tmp_path / "nowhere"

    assert load_folder(path) == (2, "", f"{path} is not a folder.")


def test_result_as_json(folder):
    code, out, _ = load_folder(folder(), "--json")

    result = json.loads(out)
    assert code == 0
    assert result["files"]["investigations.csv"] == {"rows": 2, "inserted": 2, "updated": 0, "links": 2}
    assert (result["tenant"], result["loaded"], result["changed"], result["problem_count"]) == ("acme", True, True, 0)
    code, out, _ = load_folder(folder(), "--json")
    assert json.loads(out)["changed"] is False


def test_problems_as_json(folder):
    code, out, err = load_folder(folder({"entities.csv": GOOD["entities.csv"] + "x,P,X,2,{}\n"}), "--json")

    result = json.loads(out)
    assert code == 1
    assert (result["loaded"], result["files"]) == (False, {})
    assert result["problems"] == [
        {"file": "entities.csv", "line": 6, "column": "confidence", "reason": "is not between 0 and 1"}
    ]
    assert err == "Nothing was written: 1 problem."


def test_a_long_list_in_a_cell_is_read_and_csv_keeps_its_own_limit(folder):
    limit = csv.field_size_limit()
    names = [f"entity-{number:06}" for number in range(20_000)]
    path = folder(
        {
            "entities.csv": ENTITY_HEADER + "".join(f"{name},P,N,1,{{}}\n" for name in names),
            "investigations.csv": INV_HEADER + 'i1,Case,open,1,"{}"\n'.format(json.dumps(names).replace('"', '""')),
        }
        | dict.fromkeys(["relationships.csv", "sources.csv"])
    )

    code, _, err = load_folder(path)

    assert (code, err) == (0, "")
    assert InvestigationEntity.objects.count() == 20_000
    assert csv.field_size_limit() == limit


def test_an_interrupted_load_leaves_nothing(folder, monkeypatch):
    def interrupt(text):
        if "sources.csv: writing" in text:
            raise KeyboardInterrupt

    monkeypatch.setattr(ProgressLine, "update", lambda self, text: interrupt(text))

    code, out, err = load_folder(folder())

    assert (code, out, err) == (130, "", "Interrupted: nothing was written.")
    assert nothing_written()


@pytest.mark.django_db(transaction=True)
def test_a_server_that_ends_the_connection_in_the_middle_leaves_nothing(folder, monkeypatch):
    def cut(self, text):
        if "sources.csv: writing" in text:
            other = connection.copy()
            try:
                with connection.cursor() as own:
                    own.execute("SELECT pg_backend_pid()")
                    (pid,) = own.fetchone()
                with other.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            finally:
                other.close()

    monkeypatch.setattr(ProgressLine, "update", cut)

    code, out, err = load_folder(folder())
    connection.close()

    assert (code, out) == (3, "")
    assert err == "The database 'default' is out of reach, or ended the work; nothing was written."
    assert nothing_written()


@pytest.mark.django_db(transaction=True)
def test_two_loads_for_one_tenant_wait_for_each_other(folder):
    path = folder()
    barrier = threading.Barrier(2)
    reports, errors = [], []

    def work():
        try:
            barrier.wait(10)
            reports.append(load(connections["default"], path, tenant="acme", create_tenant=True))
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert errors == []
    assert sorted(report.is_changed for report in reports) == [False, True]
    assert Entity.objects.count() == 3


def test_real_data_is_loaded_whole(sample_data):
    path = Path(sample_data) / "fincen"

    code, _, err = load_folder(path)

    assert (code, err) == (0, "")
    assert (Entity.objects.count(), Relationship.objects.count(), Investigation.objects.count()) == (3944, 10005, 1508)
    for name, model in (("entities", Entity), ("relationships", Relationship), ("investigations", Investigation)):
        with (path / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            ids = {row["external_id"] for row in csv.DictReader(file)}
        assert set(model.objects.values_list("external_id", flat=True)) == ids
    with (path / "investigations.csv").open(encoding="utf-8", newline="") as file:
        wanted = sum(len(json.loads(row["entities"])) for row in csv.DictReader(file))
    assert InvestigationEntity.objects.count() == wanted
    assert load_folder(path, create=False)[1].endswith("Nothing changed.\n")
