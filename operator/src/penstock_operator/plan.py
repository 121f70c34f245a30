"""What a decision asks for: API calls in the order in which they are safe, and when to look again.

Any prefix of a plan leaves a state from which the next look goes on: an operator may die between any two calls.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from penstock_operator.cluster import Kind
from penstock_operator.model_version import Status


class Verb(StrEnum):
    """A call. CREATE fails if the object is there, APPLY is a server-side apply, STATUS one of the status subresource; DELETE
    names uid and resourceVersion as seen; EVICT asks the eviction API; FINALIZERS replaces the list; EVENT is best effort."""

    CREATE = "create"
    APPLY = "apply"
    STATUS = "status"
    FINALIZERS = "finalizers"
    DELETE = "delete"
    EVICT = "evict"
    EVENT = "event"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call. `resource_version`: refused by the API server if the object has changed since; empty: whatever it is now.
    `status`: of a ModelVersion, put into the document where the call is made, for most are only kept."""

    verb: Verb
    kind: Kind
    namespace: str
    name: str
    document: dict[str, Any] = field(default_factory=dict)
    uid: str = ""
    resource_version: str = ""
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """`look_again_s`: even if nothing is heard until then. `ask`: it is time to ask pods for evidence; this look did not."""

    operations: tuple[Operation, ...]
    look_again_s: float
    ask: bool = False
