"""A project with dbopt, SQLite and no extra at all; run as a script, fails loudly.

`make test-bare` runs it in an environment that holds Django alone; a test runs it with every optional client hidden.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

CLIENTS = ("neo4j", "redis", "django_redis", "psycopg", "psycopg_pool", "graphene", "graphene_django", "graphql")
CLIENTS += ("promise", "prometheus_client", "django_prometheus", "msgpack", "rich", "pytest")


class HidingFinder(MetaPathFinder):
    """Another finder that does not know the optional clients, as in an environment that has none of them."""

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in CLIENTS else self.finder.find_spec(name, path, target)


def raises_missing_extra(extra, call):
    from dbopt.exceptions import MissingExtraError

    try:
        call()
    except MissingExtraError as error:
        assert error.extra == extra, (error.extra, extra)
        assert f"pip install 'dbopt[{extra}]'" in str(error), str(error)
    else:
        raise AssertionError(f"{call} did not raise MissingExtraError")


def subclass_loader():
    import dbopt.graphql

    class Loader(dbopt.graphql.DataLoader):
        pass

    return Loader


def main():
    if "--hide" in sys.argv:
        sys.meta_path[:] = map(HidingFinder, sys.meta_path)

    import django
    from django.conf import settings

    import dbopt

    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "dbopt"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        ROOT_URLCONF="dbopt.urls",
        DEBUG=True,
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
        SECRET_KEY="bare",
        DBOPT={"NEO4J": {"default": {"URI": "bolt://127.0.0.1:1"}}},
    )
    django.setup()
    from django.core.management import call_command
    from django.test import Client

    call_command("check", fail_level="WARNING")
    call_command("migrate", verbosity=0)
    response = Client().get("/live")
    assert response.status_code == 200, response.status_code

    import dbopt.cache
    import dbopt.graphql
    import dbopt.neo4j
    import dbopt.postgres

    for package in (dbopt.cache, dbopt.graphql, dbopt.neo4j, dbopt.postgres):
        assert all(hasattr(package, name) for name in package.__all__), package
    raises_missing_extra("neo4j", lambda: dbopt.neo4j.graph.read("RETURN 1"))
    raises_missing_extra("redis", dbopt.cache.cached_query(timeout=5, name="one")(lambda: [1]))
    raises_missing_extra("postgres", lambda: dbopt.postgres.optimized_database_config("postgresql://localhost/x"))
    raises_missing_extra("graphql", dbopt.graphql.GraphQLView.as_view)
    raises_missing_extra("graphql", lambda: dbopt.graphql.DataLoader(None))
    raises_missing_extra("graphql", subclass_loader)
    leaked = sorted(name for name in CLIENTS if name in sys.modules)
    assert not leaked, f"imported without need: {leaked}"
    print("bare project: ok")


if __name__ == "__main__":
    main()
