"""Answers a GraphQL document from nested values: what is asked for, under the names it is asked for by."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from graphql import parse
from graphql.language import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)
from graphql.utilities import value_from_ast_untyped

# An object: its fields by name, each a value or a function of the field's arguments, and its `__typename`.
Node = Mapping[str, Any]


class Refused(Exception):
    """An error that the client is told of."""


def execute(document: str, variables: Mapping[str, Any], roots: Mapping[str, Node]) -> dict[str, Any]:
    """`{"data": ...}` or `{"errors": [...]}` of a document with one operation; `roots` are `query` and `mutation`."""
    definitions = parse(document).definitions
    fragments = {item.name.value: item for item in definitions if isinstance(item, FragmentDefinitionNode)}
    (operation,) = [item for item in definitions if isinstance(item, OperationDefinitionNode)]
    known = {
        item.variable.name.value: value_from_ast_untyped(item.default_value)
        for item in operation.variable_definitions or ()
        if item.default_value is not None
    }
    selection = _Selection(fragments, {**known, **variables})
    try:
        return {"data": selection.of(roots[operation.operation.value], operation.selection_set)}
    except Refused as error:
        return {"errors": [{"message": str(error)}]}


class _Selection:
    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode], variables: Mapping[str, Any]) -> None:
        self.fragments, self.variables = fragments, variables

    def of(self, value: Any, wanted: SelectionSetNode | None) -> Any:
        if value is None or wanted is None:
            return value
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [self.of(item, wanted) for item in value]
        answer: dict[str, Any] = {}
        self._collect(value, wanted, answer)
        return answer

    def _collect(self, node: Node, wanted: SelectionSetNode, answer: dict[str, Any]) -> None:
        for item in wanted.selections:
            if not self._included(item.directives):
                continue
            if isinstance(item, FieldNode):
                key = item.alias.value if item.alias else item.name.value
                made = self.of(self._resolve(node, item), item.selection_set)
                answer[key] = {**answer[key], **made} if isinstance(answer.get(key), dict) else made
            elif isinstance(item, InlineFragmentNode):
                if item.type_condition is None or _is_a(node, item.type_condition.name.value):
                    self._collect(node, item.selection_set, answer)
            elif isinstance(item, FragmentSpreadNode):
                fragment = self.fragments[item.name.value]
                if _is_a(node, fragment.type_condition.name.value):
                    self._collect(node, fragment.selection_set, answer)

    def _resolve(self, node: Node, field: FieldNode) -> Any:
        name = field.name.value
        if name not in node:
            raise Refused(f'Cannot query field "{name}" on type "{node.get("__typename", "?")}".')
        value = node[name]
        if not callable(value):
            return value
        given = {
            item.name.value: value_from_ast_untyped(item.value, dict(self.variables)) for item in field.arguments or ()
        }
        taken = inspect.signature(value).parameters
        return value(**{key: item for key, item in given.items() if key in taken})

    def _included(self, directives: Sequence[Any] | None) -> bool:
        for directive in directives or ():
            condition = value_from_ast_untyped(directive.arguments[0].value, dict(self.variables))
            if (directive.name.value, bool(condition)) in (("include", False), ("skip", True)):
                return False
        return True


def _is_a(node: Node, kind: str) -> bool:
    """Whether a node is of a type or an interface that it names; each mutation's payload is one of its own."""
    return kind in (node.get("__typename"), *node.get("__interfaces", ())) or node.get("__typename") == "Payload"


def connection(nodes: Sequence[Node], **extra: Any) -> Node:
    """A page of nodes that is the last one."""
    edges = [{"__typename": "Edge", "node": node, "cursor": str(place), **extra} for place, node in enumerate(nodes)]
    page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
    return {"__typename": "Connection", "edges": edges, "pageInfo": page, "totalCount": len(nodes)}
