"""Random schemas, documents and answers; the same for a promise-free twin that graphql-core executes itself."""

from __future__ import annotations

import random
from dataclasses import dataclass

from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLString,
    GraphQLUnionType,
)
from promise import Promise
from promise.dataloader import DataLoader as StockLoader

from dbopt.graphql.loading.loaders import DataLoader

SCALARS = {
    "String": GraphQLString,
    "Int": GraphQLInt,
    "Float": GraphQLFloat,
    "Boolean": GraphQLBoolean,
    "ID": GraphQLID,
}
LEAVES = {
    "String": ["", "a", "ü", 5, True],
    "Int": [0, -1, 2**31 - 1, 2**31, 3.0, "7", "x"],
    "Float": [0.5, -0.0, float("nan"), float("inf"), 1, "x"],
    "Boolean": [True, False, 1, 0],
    "ID": ["a", 5, 2**40, 1.5],
}
OBJECTS = [f"T{number}" for number in range(5)]


class FaultError(Exception):
    pass


@dataclass(frozen=True)
class Node:
    type_name: str
    number: int


@dataclass(frozen=True)
class Shape:
    """A field: its named type and, outside in, which levels are non-null; the last entry is the named type's."""

    named: str
    required: tuple[bool, ...]


class Answers:
    """What resolvers return; with promises or without, but otherwise the same."""

    def __init__(self, seed, *, promises):
        self.seed = seed
        self.promises = promises
        self.table = []

    def resolver(self, shape):
        def resolve(source, info, **arguments):
            number = source.number if isinstance(source, Node) else 0
            key = f"{self.seed}/{info.parent_type.name}/{number}/{info.field_name}/{sorted(arguments.items())}"
            randomness = random.Random(key)
            value = self.value(shape, 0, randomness, info)
            if isinstance(value, FaultError) and randomness.random() < 0.5:
                raise value
            return value

        return resolve

    def value(self, shape, level, randomness, info):
        value = self.plain(shape, level, randomness, info)
        how = randomness.choice(["plain", "plain", "plain", "settled", "loader", "stock", "then", "all", "chain"])
        return self.wrap(value, how, info) if self.promises else value

    def plain(self, shape, level, randomness, info):
        chance = randomness.random()
        if chance < 0.05:
            return None
        if chance < 0.09:
            return FaultError(f"fault {randomness.randrange(1000)}")
        if level < len(shape.required) - 1:
            if chance < 0.10:
                return 5
            items = [self.value(shape, level + 1, randomness, info) for _ in range(randomness.randrange(4))]
            return tuple(items) if chance < 0.3 else iter(items) if chance < 0.4 else items
        if shape.named in LEAVES:
            usual = LEAVES[shape.named]
            return usual[0] if chance < 0.7 else randomness.choice(usual)
        name = shape.named if shape.named in OBJECTS else randomness.choice(OBJECTS[:3])
        return Node(name, randomness.randrange(50))

    def wrap(self, value, how, info):
        if how == "plain":
            return value
        if how == "settled":
            return Promise.reject(value) if isinstance(value, FaultError) else Promise.resolve(value)
        self.table.append(value)
        return self.load(len(self.table) - 1, how, info)

    def load(self, key, how, info):
        if how == "stock":
            return info.context["stock"].load(key)
        loaded = TableLoader(info.context).load(key)
        if how == "then":
            return loaded.then(lambda result: result)
        if how == "all":
            return Promise.all([loaded, Promise.resolve(1)]).then(lambda results: results[0])
        if how == "chain":
            return Promise.resolve(None).then(lambda _: loaded).then(lambda result: result)
        return loaded


class TableLoader(DataLoader):
    max_batch_size = 7

    def batch_load(self, keys):
        return {key: self.context["table"][key] for key in keys}


class StockTableLoader(StockLoader):
    def __init__(self, table):
        self.table = table
        super().__init__()

    def batch_load_fn(self, keys):
        return Promise.resolve([self.table[key] for key in keys])


def shapes(randomness):
    """Return the fields of each object type; the first two are of an interface, so all types have them alike."""

    def shape():
        named = randomness.choice([*SCALARS, *OBJECTS, *OBJECTS, "Face", "Some"])
        depth = randomness.choice([0, 0, 0, 1, 1, 2])
        return Shape(named, tuple(randomness.random() < 0.35 for _ in range(depth + 1)))

    face = {"f0": shape(), "f1": shape()}
    fields = {name: face | {f"f{index}": shape() for index in range(2, 7)} for name in OBJECTS}
    return face, fields


def build_schema(face, fields, answers):
    types = {}

    def output(shape):
        named = SCALARS.get(shape.named) or types[shape.named]
        result = GraphQLNonNull(named) if shape.required[-1] else named
        for required in reversed(shape.required[:-1]):
            result = GraphQLList(result)
            if required:
                result = GraphQLNonNull(result)
        return result

    def field(shape):
        arguments = {"n": GraphQLArgument(GraphQLInt), "ns": GraphQLArgument(GraphQLList(GraphQLInt))}
        return GraphQLField(output(shape), args=arguments, resolve=answers.resolver(shape))

    def thunk(members):
        return lambda: {name: field(shape) for name, shape in members.items()}

    types["Face"] = GraphQLInterfaceType("Face", thunk(face), resolve_type=lambda value, info, kind: value.type_name)
    for name in OBJECTS:
        types[name] = GraphQLObjectType(
            name,
            thunk(fields[name]),
            interfaces=[types["Face"]],
            is_type_of=(lambda value, info: isinstance(value, Node)) if name in ("T1", "T3") else None,
        )
    types["Some"] = GraphQLUnionType(
        "Some", [types[name] for name in OBJECTS[:3]], resolve_type=lambda value, info, kind: value.type_name
    )
    query = GraphQLObjectType("Query", thunk(fields["T0"]))
    mutation = GraphQLObjectType("Mutation", thunk(fields["T1"]))
    return GraphQLSchema(query, mutation, types=[types[name] for name in OBJECTS])


def document(randomness, face, fields):
    """Return a random valid operation: aliases, repeated fields, arguments, fragments, @skip and @include."""
    fragments = []

    def selection(kind, depth):
        members = face if kind == "Face" else {} if kind == "Some" else fields[kind]
        parts = ["__typename"] if kind == "Some" or randomness.random() < 0.2 else []
        for number in range(randomness.randrange(1, 5)):
            chance = randomness.random()
            if members and chance < 0.8:
                parts.append(chosen(members, depth, f"a{depth}_{number}_{randomness.randrange(1000)}"))
            elif kind in ("Face", "Some"):
                name = randomness.choice(OBJECTS[:3])
                parts.append(f"... on {name} {{ {selection(name, depth)} }}" if depth else "__typename")
            elif depth:
                name = f"F{len(fragments)}"
                fragments.append("")
                fragments[int(name[1:])] = f"fragment {name} on {kind} {{ {selection(kind, depth - 1)} }}"
                parts.append(
                    f"...{name} {randomness.choice(['', '@include(if: true)', '@skip(if: $no)', '@skip(if: true)'])}"
                )
        return " ".join(parts or ["__typename"])

    def chosen(members, depth, alias):
        leaves = [name for name, shape in members.items() if shape.named in SCALARS]
        name = randomness.choice(list(members) if depth or not leaves else leaves)
        arguments = randomness.choice(["", "", "(n: 1)", "(ns: [1, 2])", "(n: $n)"])
        shape = members[name]
        below = (
            "" if shape.named in SCALARS else f" {{ {selection(shape.named, depth - 1) if depth else '__typename'} }}"
        )
        return f"{alias}: {name}{arguments}{below}"

    kind = randomness.choice(["query", "query", "query", "mutation"])
    body = selection("T0" if kind == "query" else "T1", randomness.randrange(1, 5))
    used = "$no: Boolean = false, $n: Int"
    return f"{kind} Q({used}) {{ {body} }} {' '.join(fragments)}"
