"""The check at the start: is this a GitLab, is the token good, may it do what the worker does?

Every way of being started wrongly ends in a `ConfigError` with a remedy and the exit code that tells a
service manager whether trying again makes sense. Sends two small requests.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gitlab_jobs.errors import ConfigError, Denied, Forbidden, Missing, StoreError
from gitlab_jobs.gitlab_errors import Astray, NotData, RequestFailed, Untrusted
from gitlab_jobs.gitlab_session import GitLabSession
from gitlab_jobs.store import Account

EXIT_UNAVAILABLE = 69
EXIT_NO_PERMISSION = 77
NEEDED_SCOPE = "api"
NEW_TOKEN = "make an access token with scope `api` and give it as GITLAB_TOKEN or --token-file"


def check_account(session: GitLabSession) -> Account:
    """Name the owner of the credential; raises `ConfigError` if it cannot be used."""
    user = _user(session)
    token = _token(session)
    scopes = frozenset(str(scope) for scope in token.get("scopes") or ())
    if scopes and NEEDED_SCOPE not in scopes:
        raise ConfigError(
            f"the access token of {user['username']} has scope {', '.join(sorted(scopes))}; writing "
            f"results needs `{NEEDED_SCOPE}`",
            hint=NEW_TOKEN,
            exit_code=EXIT_NO_PERMISSION,
        )
    return Account(str(user["id"]), str(user["username"]), scopes, _expiry(token))


def _user(session: GitLabSession) -> dict[str, Any]:
    try:
        found = session.once(lambda: session.client.http_get("/user"))
    except (NotData, Missing) as error:
        raise _not_gitlab(session.url) from error
    except Untrusted as error:
        raise ConfigError(
            f"the server's certificate is not trusted: {error}",
            hint="set REQUESTS_CA_BUNDLE to a file with your authority's certificates",
            exit_code=EXIT_NO_PERMISSION,
        ) from error
    except Astray as error:
        raise ConfigError(
            f"{session.url} is not where GitLab is: {error}",
            hint="use the address that a browser ends up at, with https if the server wants it",
        ) from error
    except Denied as error:
        raise ConfigError(str(error), hint=NEW_TOKEN, exit_code=EXIT_NO_PERMISSION) from error
    except Forbidden as error:
        raise ConfigError(
            f"GitLab refused the account or its token: {error}",
            hint=NEW_TOKEN,
            exit_code=EXIT_NO_PERMISSION,
        ) from error
    except RequestFailed as error:
        raise ConfigError(
            f"GitLab cannot be reached: {error}",
            hint=f"is {session.url} right, is the server up, is a proxy needed?",
            exit_code=EXIT_UNAVAILABLE,
        ) from error
    except StoreError as error:
        raise ConfigError(
            f"GitLab refused to answer: {error}", hint="check --gitlab-url"
        ) from error
    if not isinstance(found, dict) or "username" not in found:
        raise _not_gitlab(session.url)
    return found


def _token(session: GitLabSession) -> dict[str, Any]:
    """What GitLab knows of the token; nothing for kinds of tokens, or servers, that do not tell."""
    try:
        found = session.call(lambda: session.client.http_get("/personal_access_tokens/self"))
    except RequestFailed as error:
        raise ConfigError(
            f"GitLab cannot be reached: {error}",
            hint="is the server up?",
            exit_code=EXIT_UNAVAILABLE,
        ) from error
    except Denied:
        raise
    except StoreError:
        return {}
    return found if isinstance(found, dict) else {}


def _expiry(token: dict[str, Any]) -> datetime | None:
    """The token dies at the start of the day that GitLab names, in UTC."""
    day = token.get("expires_at")
    return None if not day else datetime.fromisoformat(str(day)).replace(tzinfo=UTC)


def _not_gitlab(url: str) -> ConfigError:
    return ConfigError(
        f"{url} does not answer like a GitLab server",
        hint="--gitlab-url is the address of the start page, for example https://gitlab.example.org",
    )
