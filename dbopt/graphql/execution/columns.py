"""Completion: from what resolvers returned to what the response holds, a column at a time."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, cast

from django.db.models import QuerySet
from graphql import GraphQLAbstractType, GraphQLError, GraphQLLeafType, GraphQLObjectType, Undefined
from graphql.pyutils import inspect, is_iterable
from promise import Promise

from dbopt.graphql.execution.awaitables import close
from dbopt.graphql.execution.batches import Batch, Cell, Cells, Items
from dbopt.graphql.execution.core_versions import runtime_type
from dbopt.graphql.execution.leaves import harmless, serialized
from dbopt.graphql.execution.lists import too_many
from dbopt.graphql.execution.nulls import fail
from dbopt.graphql.execution.promises import outcome, settled, subscribe
from dbopt.graphql.execution.shortcuts import checks_only_the_class

if TYPE_CHECKING:
    from dbopt.graphql.execution.runs import Run

TOO_DEEP = "Selections are nested too deeply. Execution aborted."
_NOTHING = frozenset({type(None), type(Undefined)})


def complete(run: Run, cells: Cells) -> None:
    """Complete the cells; what is still pending comes back through the run."""
    cells = _without_special(run, cells)
    if not cells.values:
        return
    field = cells.field
    if cells.level < field.depth:
        _complete_lists(run, cells)
    elif field.is_leaf:
        _complete_leaves(run, cells)
    else:
        _complete_objects(run, cells)


def _fail(run: Run, cells: Cells, position: int, error: Exception) -> None:
    fail(Cell(run, cells, position), error)


# Values that are not yet values: promises, exceptions, awaitables.


def _without_special(run: Run, cells: Cells) -> Cells:
    types = set(map(type, cells.values))
    if types <= run.plain_types:
        return cells
    special = {kind for kind in types - run.plain_types if _is_special(kind)}
    run.plain_types |= types - special
    if not special:
        return cells
    keep, values = [], []
    for position, value in enumerate(cells.values):
        if type(value) in special:
            result = _unwrap(run, cells, position, value)
            if result is _WAITING:
                continue
        else:
            result = value
        keep.append(position)
        values.append(result)
    rest = cells.only(keep)
    rest.values = values
    # A promise may hold what is special itself, an exception for instance.
    return _without_special(run, rest)


def _is_special(kind: type) -> bool:
    return issubclass(kind, (Promise, Exception)) or hasattr(kind, "__await__")


_WAITING: Any = object()


def _unwrap(run: Run, cells: Cells, position: int, value: Any) -> Any:
    if isinstance(value, Promise):
        result = outcome(value)
        if result is None:
            run.pending += 1
            subscribe(value, Cell(run, cells, position), height=cells.field.height)
            return _WAITING
        value, error = result
        if error is None:
            return value
    elif isinstance(value, Exception):
        error = value
    else:
        refusal = run.accept(value, Cell(run, cells, position))
        if refusal is None:
            run.pending += 1
            return _WAITING
        error = refusal
    _fail(run, cells, position, error)
    return _WAITING


def _without_nothing(run: Run, cells: Cells) -> Cells:
    """Leave out None and Undefined: an error where the type forbids null."""
    if _NOTHING.isdisjoint(map(type, cells.values)):
        return cells
    if not cells.is_nullable:
        for position, value in enumerate(cells.values):
            if type(value) in _NOTHING:
                _fail(run, cells, position, _null_error(cells))
    return cells.only([position for position, value in enumerate(cells.values) if type(value) not in _NOTHING])


def _null_error(cells: Cells) -> TypeError:
    return TypeError(f"Cannot return null for non-nullable field {cells.field.coordinate}.")


def _complete_lists(run: Run, cells: Cells) -> None:
    cells = _without_nothing(run, cells)
    values: list[Any] = []
    rows: list[int] = []
    places = Items()
    # A queryset that many objects share is read once, as it would be by itself.
    shared: dict[int, list[Any]] = {}
    for position, value in enumerate(cells.values):
        try:
            items = value if type(value) is list else _listed(run, cells, value, shared)
            most = cells.field.most_rows
            if most is not None and len(items) > most:
                raise too_many(cells.field.coordinate, most)  # noqa: TRY301  # an error like those of reading
        except Exception as error:  # noqa: BLE001  # iterating may run user code or SQL: it is an error of this field
            _fail(run, cells, position, error)
            continue
        outputs: list[Any] = [None] * len(items)
        cells.write_one(position, outputs)
        spot = cells.spot(position)
        values.extend(items)
        rows.extend(repeat(cells.row(position), len(items)))
        indexes = range(len(items))
        places.spots.extend([(*spot, index) for index in indexes])
        places.holders.extend(zip(repeat(outputs), indexes))
    if values:
        complete(run, Cells(cells.batch, cells.field, values, rows=rows, items=places))


def _listed(run: Run, cells: Cells, value: Any, shared: dict[int, list[Any]]) -> list[Any]:
    most = cells.field.most_rows
    if isinstance(value, QuerySet) and (run.rows is not None or most is not None):
        items = shared.get(id(value))
        if items is None:
            rows = value if run.rows is None else run.rows.prepare(value, run.context, cells.field.named_type)
            # One more than allowed tells that there are too many; the others are not read.
            items = shared[id(value)] = list(rows if most is None else rows[: most + 1])
        return items
    if not is_iterable(value):
        raise GraphQLError(f"Expected Iterable, but did not find one for field '{cells.field.coordinate}'.")
    return list(value)


def _complete_leaves(run: Run, cells: Cells) -> None:
    leaf = cast("GraphQLLeafType", cells.field.named_type)
    values = harmless(leaf, cells.values, is_nullable=cells.is_nullable)
    if values is not None:
        cells.write(values)
        return
    for position, value in enumerate(cells.values):
        if value is None or value is Undefined:
            if not cells.is_nullable:
                _fail(run, cells, position, _null_error(cells))
            continue
        try:
            output = serialized(leaf, value)
        except Exception as error:  # noqa: BLE001  # a scalar's own code: an error of this field
            _fail(run, cells, position, error)
        else:
            cells.write_one(position, output)


def _complete_objects(run: Run, cells: Cells) -> None:
    cells = _without_nothing(run, cells)
    if not cells.values:
        return
    named = cells.field.named_type
    if isinstance(named, GraphQLObjectType):
        _spawn(run, cells, named)
        return
    groups: dict[str, tuple[GraphQLObjectType, list[int]]] = {}
    for position in range(len(cells.values)):
        try:
            object_type = _runtime_type(run, cells, position, cast("GraphQLAbstractType", named))
        except Exception as error:  # noqa: BLE001  # resolve_type is user code: an error of this field
            _fail(run, cells, position, error)
        else:
            groups.setdefault(object_type.name, (object_type, []))[1].append(position)
    for object_type, positions in groups.values():
        _spawn(run, cells.only(positions), object_type)


def _runtime_type(run: Run, cells: Cells, position: int, abstract: GraphQLAbstractType) -> GraphQLObjectType:
    info = run.info(cells.field, cells.batch, cells.row(position))
    value = cells.values[position]
    resolve_type = abstract.resolve_type or run.context.type_resolver
    name = _at_once(resolve_type(value, info, abstract), f"The type of {abstract.name}")
    return runtime_type(run.context, name, abstract, cells.field.nodes, info, value)


def _at_once(value: Any, what: str) -> Any:
    value = settled(value)
    if hasattr(value, "__await__"):
        close(value)
        raise TypeError(f"{what} must be told synchronously, not by an awaitable.")
    return value


def _spawn(run: Run, cells: Cells, object_type: GraphQLObjectType) -> None:
    """Make the response objects and queue them as a batch of their own."""
    cells = _of_type(run, cells, object_type)
    if not cells.values:
        return
    try:
        plan = run.planner.object_plan(cells.field, object_type)
    except RecursionError:
        plan = None
    # Outside the except block: the error would keep all frames of the recursion alive.
    if plan is None:
        for position in range(len(cells.values)):
            _fail(run, cells, position, GraphQLError(TOO_DEEP, cells.field.nodes))
        return
    copy = plan.template.copy
    outputs = [copy() for _ in cells.values]
    cells.write(outputs)
    if plan.fields:
        batch = Batch(plan, cells.values, outputs)
        batch.parent, batch.field = cells.batch, cells.field
        batch.parent_rows = cells.all_rows()
        batch.spots = None if cells.items is None else cells.items.spots
        run.batches.append(batch)


def _of_type(run: Run, cells: Cells, object_type: GraphQLObjectType) -> Cells:
    """Leave out values whose type's `is_type_of` refuses them."""
    if object_type.is_type_of is None:
        return cells
    once_a_class = checks_only_the_class(object_type.is_type_of)
    known = cells.field.class_checks
    if once_a_class and all(known.get((object_type.name, kind)) is True for kind in set(map(type, cells.values))):
        return cells
    keep = []
    for position, value in enumerate(cells.values):
        key = (object_type.name, type(value))
        answer: bool | Exception | None = known.get(key) if once_a_class else None
        if answer is None:
            answer = _answer(run, cells, position, object_type)
            if once_a_class and not isinstance(answer, Exception):
                # An error speaks of its own value.
                known[key] = answer
        if answer is True:
            keep.append(position)
        else:
            refusal = f"Expected value of type '{object_type.name}' but got: {inspect(value)}."
            error = answer if isinstance(answer, Exception) else GraphQLError(refusal, cells.field.nodes)
            _fail(run, cells, position, error)
    return cells if len(keep) == len(cells.values) else cells.only(keep)


def _answer(run: Run, cells: Cells, position: int, object_type: GraphQLObjectType) -> bool | Exception:
    info = run.info(cells.field, cells.batch, cells.row(position))
    try:
        is_type_of = cast("Any", object_type.is_type_of)
        return bool(_at_once(is_type_of(cells.values[position], info), f"{object_type.name}.is_type_of"))
    except Exception as error:  # noqa: BLE001  # is_type_of is user code: an error of this field
        return error
