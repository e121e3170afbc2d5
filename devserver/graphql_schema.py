"""The GraphQL schema: the part of GitLab's that a scan of many repositories needs.

Types and names only. What a field costs is `graphql_limits.py`, what it answers
`graphql_resolvers.py`. Argument and field names are GitLab's, so a query written for this server
runs against the real one.
"""

from __future__ import annotations

import functools

from graphql import GraphQLSchema, build_schema

_SDL = """
scalar BigInt
scalar Time

enum AccessLevelEnum {
  NO_ACCESS
  GUEST
  PLANNER
  REPORTER
  DEVELOPER
  MAINTAINER
  OWNER
  ADMIN
}

enum ProjectArchived { ONLY INCLUDE EXCLUDE }
enum RefType { HEADS TAGS }

type Query {
  currentUser: CurrentUser
  project(fullPath: ID!): Project
  projects(
    membership: Boolean
    ids: [ID!]
    fullPaths: [String!]
    minAccessLevel: AccessLevelEnum
    archived: ProjectArchived
    active: Boolean
    search: String
    sort: String
    after: String
    before: String
    first: Int
    last: Int
  ): ProjectConnection
  queryComplexity: QueryComplexity
  metadata: Metadata
}

type CurrentUser { id: ID! username: String! name: String! bot: Boolean! webUrl: String! }
type Metadata { version: String! revision: String! enterprise: Boolean! }
type QueryComplexity { score: Int limit: Int }

type PageInfo {
  hasNextPage: Boolean!
  hasPreviousPage: Boolean!
  startCursor: String
  endCursor: String
}

type ProjectConnection {
  count: Int!
  edges: [ProjectEdge]
  nodes: [Project]
  pageInfo: PageInfo!
}
type ProjectEdge { cursor: String! node: Project }

type Project {
  id: ID!
  fullPath: ID!
  path: String!
  name: String!
  visibility: String
  archived: Boolean
  createdAt: Time
  lastActivityAt: Time
  lfsEnabled: Boolean
  webUrl: String
  httpUrlToRepo: String
  maxAccessLevel: AccessLevel!
  repository: Repository
}
type AccessLevel { integerValue: Int stringValue: AccessLevelEnum }

type Repository {
  rootRef: String
  exists: Boolean!
  empty: Boolean!
  blobs(
    paths: [String!]!, ref: String, refType: RefType,
    after: String, before: String, first: Int, last: Int
  ): RepositoryBlobConnection
  tree(path: String = "", ref: String, refType: RefType, recursive: Boolean = false): Tree
  branchNames(limit: Int!, offset: Int!, searchPattern: String!): [String!]
}

type RepositoryBlobConnection {
  edges: [RepositoryBlobEdge]
  nodes: [RepositoryBlob]
  pageInfo: PageInfo!
}
type RepositoryBlobEdge { cursor: String! node: RepositoryBlob }
type RepositoryBlob {
  id: ID!
  oid: String!
  path: String!
  name: String
  mode: String
  size: BigInt
  rawSize: Int
  lfsOid: String
  rawBlob: String
  rawTextBlob: String
  base64EncodedBlob: String
  webPath: String
  rawPath: String
}

type Tree {
  lastCommit: Commit
  blobs(after: String, before: String, first: Int, last: Int): BlobConnection!
  trees(after: String, before: String, first: Int, last: Int): TreeEntryConnection!
}
type Commit {
  id: ID!
  sha: String!
  shortId: String!
  title: String
  message: String
  authorName: String
  authorEmail: String
  authoredDate: Time
  committerName: String
  committedDate: Time
  webUrl: String!
}
type BlobConnection { edges: [BlobEdge] nodes: [Blob] pageInfo: PageInfo! }
type BlobEdge { cursor: String! node: Blob }
type Blob {
  id: ID! sha: String! name: String! path: String! flatPath: String! type: EntryType! mode: String
  lfsOid: String
}
type TreeEntryConnection { edges: [TreeEntryEdge] nodes: [TreeEntry] pageInfo: PageInfo! }
type TreeEntryEdge { cursor: String! node: TreeEntry }
type TreeEntry {
  id: ID! sha: String! name: String! path: String! flatPath: String! type: EntryType!
}
enum EntryType { tree blob commit }
"""


@functools.cache
def gitlab_schema() -> GraphQLSchema:
    """Build the schema, once; the executor's field resolver answers its fields."""
    return build_schema(_SDL)
