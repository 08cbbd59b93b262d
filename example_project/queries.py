"""GraphQL queries that the console offers and the demo measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """A query with the title of its button."""

    title: str
    query: str


NESTED = """{
  entities(first: 100) {
    edges {
      node {
        id
        name
        type
        outgoing(first: 10) { nodes { id type confidence target { id name type } } }
      }
    }
  }
}"""

NEIGHBOURS = """query Neighbours($id: ID!, $after: String) {
  entity(id: $id) {
    neighbours(first: 25, after: $after) {
      totalCount
      nodes { relationshipId name relationshipType }
      pageInfo { endCursor }
    }
  }
}"""

TYPES = "{ entityTypes { type count } }"

HOSTILE = """{
  entities(first: 1000) {
    nodes { outgoing(first: 1000) { nodes { target { outgoing(first: 1000) { nodes { id } } } } } }
  }
}"""

EXAMPLES = (
    Example("100 entities, their relationships, the other ends", NESTED),
    Example(
        "A page of entities with its cursor",
        """{
  entities(first: 10) {
    edges { cursor node { id name type createdAt } }
    pageInfo { endCursor hasNextPage }
  }
}""",
    ),
    Example(
        "Search by a part of the name",
        """{
  entities(text: "bank", first: 20) {
    edges { node { id name type confidence } }
  }
}""",
    ),
    Example(
        "Neighbours from the graph",
        """{
  entities(first: 20) {
    edges {
      node {
        name
        neighbours(first: 5) { totalCount nodes { name relationshipType isOutgoing } }
      }
    }
  }
}""",
    ),
    Example(
        "Investigations with their entities",
        """{
  investigations(first: 10) {
    edges { node { name status priority entities(first: 5) { totalCount nodes { name type } } } }
  }
}""",
    ),
    Example("Entities of each type: kept whole until a write", TYPES),
    Example("A document that costs too much", HOSTILE),
    Example("A page that is too large", "{ entities(first: 1001) { edges { node { id } } } }"),
)
