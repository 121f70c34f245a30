"""The operator's process: credentials -> cluster -> lease and loop and ports -> SIGTERM -> everything let go, the lease last.

A standby fills its caches and waits; when the lease comes to it, it looks at every model.
"""

import asyncio
import logging
import os
import signal

from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from penstock.serving.vitals import Vitals
from penstock_operator.controller import Controller
from penstock_operator.counters import OperatorCollector
from penstock_operator.health import serve_health
from penstock_operator.kube_cluster import KubeCluster
from penstock_operator.kube_config import find_credentials
from penstock_operator.lease import Lease
from penstock_operator.log_sinks import SinkAsker
from penstock_operator.settings import OperatorSettings

log = logging.getLogger(__name__)


async def operate(settings: OperatorSettings) -> None:
    """Run until SIGTERM or SIGINT. Raises InvalidInput without usable credentials, OSError for a port that is taken."""
    credentials = find_credentials(settings.kubeconfig, os.environ)
    cluster, asker = KubeCluster(credentials), SinkAsker(admin_port=settings.transformer_admin_port, sinks=settings.log_sinks)
    place = settings.lease_namespace or credentials.namespace
    lease = Lease(cluster, place, settings.lease_name, settings.name(), duration_s=settings.lease_s)
    controller = Controller(cluster, asker, settings.policy(), namespaces=settings.namespaces, may_act=lease.held)
    registry = CollectorRegistry()
    registry.register(OperatorCollector(controller.counters, controller.versions, lambda: controller.waiting, lease.held))

    def checks() -> dict[str, str | None]:
        return {"caches": None if controller.synced else "not filled yet", "api_server": lease.trouble()}

    registry.register(Vitals(checks))
    ProcessCollector(registry=registry)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = await serve_health(
        registry, ready=lambda: not any(checks().values()), http_port=settings.http_port, admin_port=settings.admin_port
    )
    tasks = [
        asyncio.create_task(controller.run(), name="controller"),
        asyncio.create_task(_look_when_leading(lease, controller), name="leading"),
    ]
    keeping = asyncio.create_task(lease.keep(), name="lease")
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([*tasks, keeping, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            task.result()
    finally:
        # The lease goes last: whoever takes it over must not meet calls of ours.
        await _end(*tasks)
        await _end(keeping, stopping)
        await runner.cleanup()
        await asker.close()
        await cluster.close()


async def _look_when_leading(lease: Lease, controller: Controller) -> None:
    while True:
        await lease.changes.wait()
        lease.changes.clear()
        if lease.held():
            controller.all_soon()


async def _end(*tasks: "asyncio.Task[object]") -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            log.error("a part of the operator ended with a fault", exc_info=result)
