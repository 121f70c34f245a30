"""The operator's ports: /healthz and /readyz for probes, /metrics for Prometheus, as the other members have them."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST


async def serve_health(
    registry: CollectorRegistry, *, ready: Callable[[], bool], http_port: int, admin_port: int, host: str = "0.0.0.0"
) -> web.AppRunner:
    """Listen on both ports; `cleanup` of what is given closes them. Raises OSError for a port that is taken."""

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readiness(_: web.Request) -> web.Response:
        return web.json_response({"ready": ready()}, status=200 if ready() else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", alive), web.get("/readyz", readiness), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    for port in {http_port, admin_port}:
        await web.TCPSite(runner, host, port).start()
    return runner
