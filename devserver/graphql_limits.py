"""What a query may cost: GitLab's complexity score, depth and recursion guard, known before it runs.

    field                        1, or 2 if it calls Gitaly, plus what is asked below it
    field of FIXED               its own figure, plus what is asked below it
    field of RESOLVED            1, +1 with `sort`, +1 if it calls Gitaly, +1 per path, plus what is
                                 asked below it; a connection then costs 1 % more per row of a page

Knows the schema's names and no data. Source: GitLab `Types::BaseField`, `Resolvers::BaseResolver`,
`BlobsResolver` and `RecursionAnalyzer`, and graphql-ruby's query analysers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLIncludeDirective,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSkipDirective,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    get_argument_values,
    get_directive_values,
    get_named_type,
)
from graphql.execution.values import VariableValues

from devserver.limits import Limits
from devserver.people import User

FIXED = {
    "RepositoryBlob.rawTextBlob": 2,
    "RepositoryBlob.rawBlob": 2,
    "RepositoryBlob.base64EncodedBlob": 3,
    "Repository.branchNames": 170,
    "Tree.lastCommit": 10,
}
CALLS_GITALY = {
    "Repository.rootRef",
    "Repository.exists",
    "Repository.empty",
    "Repository.blobs",
    "Repository.tree",
    "Tree.blobs",
    "Tree.trees",
}
RESOLVED = {"Query.projects", "Query.project", "Repository.blobs", "Repository.tree"}

RECURSION_LIMIT = 2
_MAY_RECUR = {"node", "nodes", "edges", "ofType"}


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """How much one person may ask for in one request."""

    complexity: int
    depth: int
    page_size: int

    @classmethod
    def of(cls, limits: Limits, user: User | None) -> QueryLimits:
        """Grade the configured limits: GitLab's 250 is 300 for administrators, 200 for nobody."""
        complexity, depth = limits.graphql_max_complexity, limits.graphql_max_depth
        if user is None:
            complexity, depth = complexity * 4 // 5, depth * 3 // 4
        elif user.admin:
            complexity = complexity * 6 // 5
        return cls(complexity, depth, limits.graphql_max_page_size)

    def complexity_error(self, score: int) -> str | None:
        """Return why a score is refused, or None."""
        if score <= self.complexity:
            return None
        return f"Query has complexity of {score}, which exceeds max complexity of {self.complexity}"

    def depth_error(self, depth: int) -> str | None:
        """Return why a depth is refused, or None."""
        if depth <= self.depth:
            return None
        return f"Query has depth of {depth}, which exceeds max depth of {self.depth}"


@dataclass(frozen=True, slots=True)
class Weight:
    """What one operation costs; `recurring` holds field names found too often down one branch."""

    score: int
    depth: int
    recurring: Mapping[str, int]

    def errors(self, limits: QueryLimits) -> list[str]:
        """Return every reason to refuse the operation."""
        reasons = [limits.complexity_error(self.score), limits.depth_error(self.depth)]
        if self.recurring:
            found = ", ".join(f'"{name}"=>{count}' for name, count in self.recurring.items())
            reasons.append(
                f"Recursive query - too many of fields '{{{found}}}' detected "
                "in single branch of the query"
            )
        return [reason for reason in reasons if reason is not None]


def weigh(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: VariableValues,
    page_size: int,
) -> Weight:
    """Weigh one valid operation with the variables it will run with."""
    root = schema.get_root_type(operation.operation)
    if root is None:
        return Weight(0, 0, {})
    scale = _Scale(schema, document, variables, page_size)
    score = scale.selections(root, [operation.selection_set], ())
    return Weight(score, scale.depth, scale.recurring)


class _Scale:
    """One walk over an operation; the deepest point and recurring fields are noted on the way."""

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        variables: VariableValues,
        page_size: int,
    ) -> None:
        self._schema = schema
        self._fragments = {
            node.name.value: node
            for node in document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        self._variables = variables
        self._page_size = page_size
        self.depth = 0
        self.recurring: dict[str, int] = {}

    def selections(
        self, parent: GraphQLObjectType, sets: Iterable[SelectionSetNode], above: tuple[str, ...]
    ) -> int:
        """Return the cost of everything selected on a type; one response key counts once."""
        by_key: dict[str, list[FieldNode]] = {}
        seen: set[str] = set()
        for selection_set in sets:
            self._collect(selection_set.selections, by_key, seen)
        return sum(self._field(parent, nodes, above) for nodes in by_key.values())

    def _collect(
        self,
        selections: Iterable[SelectionNode],
        by_key: dict[str, list[FieldNode]],
        seen: set[str],
    ) -> None:
        for node in selections:
            if self._is_skipped(node):
                continue
            if isinstance(node, FieldNode):
                by_key.setdefault((node.alias or node.name).value, []).append(node)
            elif isinstance(node, FragmentSpreadNode):
                if node.name.value not in seen:
                    seen.add(node.name.value)
                    fragment = self._fragments[node.name.value]
                    self._collect(fragment.selection_set.selections, by_key, seen)
            else:
                inner: SelectionSetNode = node.selection_set  # type: ignore[attr-defined]  # inline
                self._collect(inner.selections, by_key, seen)

    def _field(
        self, parent: GraphQLObjectType, nodes: list[FieldNode], above: tuple[str, ...]
    ) -> int:
        name = nodes[0].name.value
        path = (*above, name)
        self.depth = max(self.depth, len(path))
        field = self._schema.get_field(parent, name)
        if field is None:
            return 0
        sets = [node.selection_set for node in nodes if node.selection_set is not None]
        below, inner = 0, get_named_type(field.type)
        if sets and isinstance(inner, GraphQLObjectType):
            self._note_recursion(path)
            below = self.selections(inner, sets, path)
        arguments = get_argument_values(field, nodes[0], self._variables)
        is_connection = inner.name.endswith("Connection")
        return self._cost(f"{parent.name}.{name}", arguments, below, is_connection=is_connection)

    def _cost(
        self, name: str, arguments: Mapping[str, Any], below: int, *, is_connection: bool
    ) -> int:
        if name in FIXED:
            return FIXED[name] + below
        cost = below + 1 + (name in CALLS_GITALY)
        if name not in RESOLVED:
            return cost
        cost += bool(arguments.get("sort")) + len(arguments.get("paths") or ())
        if is_connection:
            asked = [arguments.get("first"), arguments.get("last"), self._page_size]
            cost += cost * min(size for size in asked if size is not None) // 100
        return cost

    def _note_recursion(self, path: tuple[str, ...]) -> None:
        name = path[-1]
        count = Counter(path)[name]
        if count > RECURSION_LIMIT and name not in _MAY_RECUR:
            self.recurring[name] = max(count, self.recurring.get(name, 0))

    def _is_skipped(self, node: SelectionNode) -> bool:
        skip = get_directive_values(GraphQLSkipDirective, node, self._variables)
        include = get_directive_values(GraphQLIncludeDirective, node, self._variables)
        return bool(skip and skip["if"]) or bool(include and not include["if"])
