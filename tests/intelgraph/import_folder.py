"""A folder in the import format, and a way to load it."""

from __future__ import annotations

from dbopt.intelgraph.models import Entity, Investigation, Relationship, Source, Tenant
from tests.intelgraph.commands import run

ENTITY_HEADER = "external_id,type,name,confidence,props\n"
REL_HEADER = "external_id,source,target,type,confidence,weight,valid_from,valid_to,props\n"
INV_HEADER = "external_id,name,status,priority,entities\n"
SOURCE_HEADER = "entity,type,url,title\n"
GOOD = {
    "entities.csv": ENTITY_HEADER
    + 'a,PERSON,Zoë,0.5,"{""amount"": 56898523.470}"\n'
    + "b,BANK,Bank B,1,\n"
    + 'c,BANK,"Two\nlines",1.0,{}\n',
    "relationships.csv": REL_HEADER
    + "r1,a,b,PAID,0.9,68,2015-03-25,2015-09-25,{}\n"
    + "r2,a,b,PAID,0.9,,,,\n"
    + "r3,b,b,PAID,1,-1.5e3,2015-03-25,2014-01-01,{}\n",
    "investigations.csv": INV_HEADER + 'i1,Case,open,4,"[""b"", ""a"", ""b""]"\n' + "i2,Empty,closed,1,[]\n",
    "sources.csv": SOURCE_HEADER + "a,report,https://x.example/1,Title\na,report,https://x.example/2,\n",
}


def load_folder(path, *arguments, tenant="acme", create=True):
    """Run intelgraph_load; returns exit code, standard output, standard error."""
    create_tenant = ["--create-tenant"] if create else []
    return run("intelgraph_load", str(path), "--tenant", tenant, *create_tenant, *arguments)


def nothing_written():
    return not any(model.objects.exists() for model in (Tenant, Entity, Relationship, Investigation, Source))
