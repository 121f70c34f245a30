"""The settings that every serving program shares; a member's own settings class inherits them."""

from dataclasses import dataclass

from penstock.serving.greeting import most_connections
from penstock.serving.security.options import SecuritySettings
from penstock.serving.shell import ShellLimits
from penstock.settings import setting


@dataclass(frozen=True, kw_only=True)
class ServingSettings(SecuritySettings):
    """Ports, processes, limits and draining. Times are in seconds."""

    host: str = setting("0.0.0.0", "Address that the HTTP, gRPC and admin servers listen on.")
    http_port: int = setting(8080, "Port of the HTTP API; 0 lets the kernel choose (the log says which).", most=65535)
    grpc_port: int = setting(
        8081, "Port of the gRPC API; 0 lets the kernel choose (the log says which), -1 switches it off.", least=-1, most=65535
    )
    admin_port: int = setting(
        9090, "Port of the admin API, never on a Service; 0 lets the kernel choose, -1 switches it off.", least=-1, most=65535
    )
    workers: int = setting(1, "Serving processes that share the port; never more than the container's CPU limit.")
    body_bytes: int = setting(64 * 1024 * 1024, "Largest request body; more is refused with 413.", unit="bytes")
    head_timeout_s: int = setting(10, "A request's head must arrive within so long, or gets 408.", unit="s")
    stall_timeout_s: int = setting(
        30, "A body or an answer may stand still for so long before its connection is given up.", unit="s"
    )
    keep_alive_s: int = setting(
        75, "An idle connection is closed after so long; keep it above the load balancer's own.", unit="s"
    )
    max_connections: int = setting(
        10_000, "Open connections of one process; more are turned away with 503. 0: as many as it may open files for.", least=0
    )
    drain_delay_s: float = setting(
        3.0, "After SIGTERM, keep serving (reporting not ready) for so long, until routers have noticed; 0 for none.", unit="s"
    )
    drain_timeout_s: float = setting(25.0, "After that, wait at most so long for requests in progress.", unit="s")
    log_level: str = setting("info", "Least level that is logged.", choices=("debug", "info", "warning", "error"))
    log_requests: bool = setting(False, "Log successful requests too; failed ones always are.")

    def shell_limits(self) -> ShellLimits:
        """The limits of the HTTP shell under these settings."""
        return ShellLimits(
            body_bytes=self.body_bytes,
            head_timeout_s=self.head_timeout_s,
            stall_timeout_s=self.stall_timeout_s,
            keep_alive_s=self.keep_alive_s,
            connections=most_connections(self.max_connections),
        )
