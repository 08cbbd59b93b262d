"""The vocabulary of SQL, as far as a reader of tokens needs it: PostgreSQL 18, appendix C, and some of SQLite."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Never the name of a table without quotes.
RESERVED = _words("""
    all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation
    column concurrently constraint create cross current_catalog current_date current_role current_schema current_time
    current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze
    from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit
    localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references
    returning right select session_user similar some symmetric system_user table tablesample then to trailing true
    union unique user using variadic verbose when where window with""")
# Words of the grammar that may also name a table: a name only where a name of a table can stand.
GRAMMAR = _words("""
    alter begin between by cascade commit conflict copy cursor declare delete drop exists explain filter insert
    isolation materialized merge nothing nulls over recursive refresh release rollback rows savepoint set transaction
    truncate update values""")
KEYWORDS = {word: word.upper() for word in RESERVED | GRAMMAR}
BEFORE_A_TABLE = _words(", from join into update only table truncate copy using lock view")

INNER_WRITES = _words("insert update delete merge")
READS = _words("select values table")
MAIN_VERBS = INNER_WRITES | READS
# What changes neither rows nor definitions. Every other verb counts as a write, also one that is not known here.
HARMLESS = READS | _words("""
    with explain copy declare fetch close move show set reset begin start commit end rollback savepoint release abort
    prepare deallocate discard checkpoint listen unlisten notify lock vacuum analyze analyse describe desc pragma""")
DDL = _words("alter drop create truncate refresh grant revoke reindex comment reassign security cluster import")
TRANSACTION = _words("""
    begin start commit end rollback savepoint release abort set reset show prepare discard checkpoint close move""")
OPERATIONS = {
    **dict.fromkeys(DDL, "ddl"),
    **dict.fromkeys(TRANSACTION, "txn"),
    **dict.fromkeys(READS | _words("declare fetch"), "select"),
    **dict.fromkeys(_words("insert replace"), "insert"),
    "update": "update",
    "delete": "delete",
}
# Statements about savepoints and cursors, whose names are made up anew each time.
OF_HANDLES = _words("savepoint release rollback fetch move close")
NO_HANDLES = _words("work prepared and no chain forward backward next prior first last absolute relative")

_VOLATILE_FUNCTIONS = _words("""
    now random random_normal setseed clock_timestamp statement_timestamp transaction_timestamp timeofday age
    array_sample array_shuffle gen_random_uuid gen_random_bytes gen_salt uuidv4 uuidv7 normal_rand
    nextval currval lastval setval set_config current_setting current_query current_schemas currtid2
    inet_client_addr inet_client_port inet_server_addr inet_server_port loread lowrite
    ts_rewrite ts_stat connectby xpath_table
    curtime curdate julianday changes last_insert_rowid""")
# About the server, the session or large objects; or they run SQL that is handed in as text.
_VOLATILE_PREFIXES = (
    "pg_", "lo_", "txid_", "uuid_generate_", "brin_", "gin_", "binary_upgrade_",
    "query_to_xml", "table_to_xml", "cursor_to_xml", "schema_to_xml", "database_to_xml", "crosstab", "dblink",
)  # fmt: skip
# They wait, and answer nothing.
_WAITS = _words("""
    pg_sleep pg_sleep_for pg_sleep_until
    pg_advisory_lock pg_advisory_lock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared""")


def is_volatile_function(name: str) -> bool:
    """Say whether what a function of this name answers may change without a write that shows."""
    return name in _VOLATILE_FUNCTIONS or (name.startswith(_VOLATILE_PREFIXES) and name not in _WAITS)


# What they answer is that of the session, or of this moment.
VOLATILE_VERBS = _words("show fetch move explain describe desc pragma")
VOLATILE_WORDS = _words("""
    current_catalog current_date current_role current_schema current_time current_timestamp current_user localtime
    localtimestamp session_user system_user tablesample user""")
VOLATILE_LITERALS = _words("now today tomorrow yesterday")
