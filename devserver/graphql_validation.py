"""Validation in GitLab's words: the two refusals that clients look at to tell an old server.

An unknown field or argument is answered with `extensions.code`; everything else keeps graphql-core's
own text, since nobody reads those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphql import (
    FieldNode,
    FieldsOnCorrectTypeRule,
    GraphQLError,
    KnownArgumentNamesRule,
    Node,
    OperationDefinitionNode,
    specified_rules,
)
from graphql.language.ast import ArgumentNode


class UndefinedFieldRule(FieldsOnCorrectTypeRule):
    """Refuses fields that a type does not have."""

    def enter_field(
        self, node: FieldNode, _key: Any, _parent: Any, _path: Any, ancestors: Sequence[Any]
    ) -> None:
        """Check one field."""
        parent_type = self.context.get_parent_type()
        if parent_type is None or self.context.get_field_def() is not None:
            return
        name = node.name.value
        self.report_error(
            _Refusal(
                f"Field '{name}' doesn't exist on type '{parent_type.name}'",
                node,
                [*_path_of(ancestors), _key_of(node)],
                {"code": "undefinedField", "typeName": parent_type.name, "fieldName": name},
            )
        )


class UnknownArgumentRule(KnownArgumentNamesRule):
    """Refuses arguments that a field does not take."""

    def enter_argument(
        self, node: ArgumentNode, _key: Any, _parent: Any, _path: Any, ancestors: Sequence[Any]
    ) -> None:
        """Check one argument."""
        field = self.context.get_field_def()
        asked = next((item for item in reversed(ancestors) if isinstance(item, Node)), None)
        if field is None or self.context.get_argument() or not isinstance(asked, FieldNode):
            return
        name = node.name.value
        self.report_error(
            _Refusal(
                f"Field '{asked.name.value}' doesn't accept argument '{name}'",
                node,
                [*_path_of(ancestors), name],
                {
                    "code": "argumentNotAccepted",
                    "name": asked.name.value,
                    "typeName": "Field",
                    "argumentName": name,
                },
            )
        )


class _Refusal(GraphQLError):
    """An error whose path names the place in the query, as graphql-ruby reports it."""

    def __init__(
        self, message: str, node: Node, path: list[str | int], extensions: dict[str, Any]
    ) -> None:
        super().__init__(message, node, path=path, extensions=extensions)


RULES = [
    *(
        rule
        for rule in specified_rules
        if rule not in (FieldsOnCorrectTypeRule, KnownArgumentNamesRule)
    ),
    UndefinedFieldRule,
    UnknownArgumentRule,
]


def _path_of(ancestors: Sequence[Any]) -> list[str | int]:
    path: list[str | int] = []
    for node in ancestors:
        if isinstance(node, OperationDefinitionNode):
            name = f" {node.name.value}" if node.name else ""
            path.append(f"{node.operation.value}{name}")
        elif isinstance(node, FieldNode):
            path.append(_key_of(node))
    return path


def _key_of(node: FieldNode) -> str:
    return (node.alias or node.name).value
