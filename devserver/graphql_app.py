"""`/api/graphql`: one query or a multiplexed batch, refused in GitLab's error shapes.

    401 Invalid token · 422 query text, variables or method · 200 everything else, also errors

Order of refusals as in GitLab: token, text size, mutation by GET, variables, then per query syntax,
validation, cost. A batch is weighed query by query and as a whole.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    execute_sync,
    get_operation_ast,
    get_variable_values,
    parse,
    validate,
)
from graphql.execution.values import VariableValues
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from devserver import auth
from devserver.errors import Refusal
from devserver.graphql_limits import QueryLimits, Weight, weigh
from devserver.graphql_resolvers import Asker, Root, resolve_field
from devserver.graphql_schema import gitlab_schema
from devserver.graphql_validation import RULES
from devserver.people import Credential, User
from devserver.world import World

_PARSED_QUERIES = 256
_UNWEIGHED = Weight(0, 0, {})


class GraphqlError(Refusal):
    """A request that is refused before any query is looked at."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status)
        self.message = message

    def response(self) -> Response:
        """Return the answer."""
        return JSONResponse({"errors": [{"message": self.message}]}, self.status)


@dataclass(slots=True)
class Query:
    """One query with its variables, and why it will not run."""

    text: str
    variables: dict[str, Any]
    operation_name: str | None
    document: DocumentNode | None = None
    operation: OperationDefinitionNode | None = None
    weight: Weight = _UNWEIGHED
    errors: list[GraphQLError] = field(default_factory=list)

    @classmethod
    def read(cls, raw: object) -> Query:
        """Take a query from a request."""
        if not isinstance(raw, dict):
            raise GraphqlError(422, f"Unexpected parameter: {json.dumps(raw)}")
        text, name = raw.get("query"), raw.get("operationName")
        variables = _variables(raw.get("variables"))
        return cls(str(text or ""), variables, name if isinstance(name, str) else None)


async def graphql(request: Request) -> Response:
    """Answer a query or a batch of them."""
    body = await request.body()
    return await run_in_threadpool(_answer, request, body)


def _answer(request: Request, body: bytes) -> Response:
    world: World = request.app.state.world
    user = _sign_in(request, world)
    asker = Asker(world, user, QueryLimits.of(world.limits, user))
    raw = _payload(request, body)
    queries = [Query.read(item) for item in (raw if isinstance(raw, list) else [raw])]
    if sum(len(query.text) for query in queries) > world.limits.graphql_max_query_chars:
        raise GraphqlError(422, "Query too large")
    for query in queries:
        _prepare(query, asker.limits)
        _refuse_mutation_by_get(request, query)
    _weigh_batch(queries, asker.limits)
    results = [_run(query, asker) for query in queries]
    return JSONResponse(results if isinstance(raw, list) else results[0])


def _sign_in(request: Request, world: World) -> User | None:
    token = auth.presented_token(request)
    if token is None:
        return None
    found = world.authenticate(token)
    if not isinstance(found, Credential) or not found.token.scopes.intersection(auth.READ_SCOPES):
        raise GraphqlError(401, "Invalid token")
    return found.user


def _payload(request: Request, body: bytes) -> object:
    if request.method == "GET" or not body:
        return dict(request.query_params)
    try:
        return json.loads(body)
    except ValueError as error:
        raise GraphqlError(400, "Malformed JSON") from error


def _variables(raw: object) -> dict[str, Any]:
    """Accept a mapping, its JSON text, or nothing, as GitLab does."""
    if isinstance(raw, str) and raw:
        try:
            raw = json.loads(raw)
        except ValueError as error:
            raise GraphqlError(422, str(error)) from error
    if not raw:
        return {}
    if not isinstance(raw, dict):
        raise GraphqlError(422, f"Unexpected parameter: {json.dumps(raw)}")
    return raw


def _refuse_mutation_by_get(request: Request, query: Query) -> None:
    is_mutation = query.operation is not None and query.operation.operation.value == "mutation"
    if request.method in ("GET", "HEAD") and is_mutation:
        raise GraphqlError(422, f"Mutations are forbidden in {request.method} requests")


@functools.lru_cache(maxsize=_PARSED_QUERIES)
def _parse(text: str) -> tuple[DocumentNode | None, tuple[GraphQLError, ...]]:
    """Parse and validate; the same few texts come again and again."""
    try:
        document = parse(text)
    except GraphQLSyntaxError as error:
        return None, (error,)
    return document, tuple(validate(gitlab_schema(), document, RULES))


def _prepare(query: Query, limits: QueryLimits) -> None:
    """Find out all that can be known before a query runs."""
    query.document, errors = _parse(query.text)
    query.errors.extend(errors)
    if query.document is None:
        return
    query.operation = get_operation_ast(query.document, query.operation_name)
    if query.operation is None or query.errors:
        return
    schema = gitlab_schema()
    variables = get_variable_values(
        schema, query.operation.variable_definitions or (), query.variables
    )
    if isinstance(variables, VariableValues):
        query.weight = weigh(schema, query.document, query.operation, variables, limits.page_size)
        query.errors.extend(map(GraphQLError, query.weight.errors(limits)))


def _weigh_batch(queries: Sequence[Query], limits: QueryLimits) -> None:
    """A batch may cost no more than one query; if it does, none of it runs."""
    reason = limits.complexity_error(sum(query.weight.score for query in queries))
    if len(queries) > 1 and reason is not None:
        for query in queries:
            query.errors.insert(0, GraphQLError(reason))


def _run(query: Query, asker: Asker) -> dict[str, Any]:
    if query.errors or query.document is None:
        return {"errors": [error.formatted for error in query.errors]}
    result = execute_sync(
        gitlab_schema(),
        query.document,
        root_value=Root(asker, query.weight.score),
        variable_values=query.variables,
        operation_name=query.operation_name,
        field_resolver=resolve_field,
    )
    return {**result.formatted}


routes: list[BaseRoute] = [Route("/api/graphql", graphql, methods=["GET", "POST"])]
