"""Authors and their books in a graph of their own alias, without tenants."""

from __future__ import annotations

from dbopt.neo4j import GraphSchema, Node, NodeProjection, Range, Relationship, RelationshipProjection, Unique


class Bookshop(GraphSchema):
    class Meta:
        alias = "bookshop"
        owner = "shop"

    author = Node("Author", constraints=[Unique("id")])
    book = Node("Book", constraints=[Unique("key")], indexes=[Range("title")])
    wrote = Relationship("WROTE", constraints=[Unique("id")])

    authors = NodeProjection("testapp.Author", "Author", properties={"name": "name", "born": "born"})
    books = NodeProjection(
        "testapp.Book",
        "Book",
        key="key",
        lookup="key",
        properties={"title": "title", "price": "price", "rating": "rating", "data": "data", "author": "author__name"},
    )
    written = RelationshipProjection(
        "testapp.Book", "WROTE", start=(authors, "author_id"), end=(books, "key"), properties={"pages": "pages"}
    )
