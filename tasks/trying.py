"""When a step is tried again, and how long it may take.

A retry helps where the next try finds another world: a server or a remote that does not answer, a process that was killed. A refusal
of the input, a failed gate and a bug would come again, at the end of the same hours.
"""

from typing import Any

from timbre.config import Profile

KILLED_DELAY = 2.0
DELAYS: list[float] = [5.0, 20.0, 60.0]
"""Seconds before what was killed is tried once more, and before each further try of what did not answer."""
STEP_HOURS: dict[Profile, float] = {"quick": 3.0, "standard": 48.0, "gpu": 96.0}
"""What a step may take at most, several times what it is planned to take: a step that hangs gives its place free."""
_AWAY = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")


class Unreachable(ValueError):
    """A remote or a server did not answer, and nothing is lost: later it may."""


class OutOfTime(TimeoutError):
    """A command took longer than it may, and all of it was ended."""


def may_pass(error: object) -> bool:
    """Whether another try may find what this one did not: somebody else's server that was away."""
    while isinstance(error, BaseException) and not isinstance(error, OutOfTime):
        if isinstance(error, Unreachable | ConnectionError | TimeoutError) or _is_away(error):
            return True
        error = error.__cause__
    return False


def _is_away(error: BaseException) -> bool:
    """By the classes of libraries that may not be loaded here: MLflow's, requests', SQLAlchemy's, botocore's."""
    names = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
    if "mlflow.MlflowException" in names:
        code: Any = getattr(error, "error_code", "")
        return code in _AWAY or "failed with exception HTTPConnectionPool" in str(error) or "Max retries exceeded" in str(error)
    if "sqlalchemy.OperationalError" in names:
        return bool(getattr(error, "connection_invalidated", False)) or "could not connect" in str(error) or "refused" in str(error)
    return bool(
        names & {"requests.ConnectionError", "requests.Timeout", "botocore.EndpointConnectionError", "botocore.ConnectTimeoutError"}
    )
