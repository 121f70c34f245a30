"""A deliverer in a process of its own, for tests that kill it: the database's URL, then settings as NAME=VALUE."""

import asyncio
import sys

from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.webhook_delivery import WebhookDelivery
from penstock_transformer.predictions.webhook_settings import WebhookSettings


async def main(url: str, lease_s: float, secret: str) -> None:
    predictions = open_predictions(url)
    await predictions.start()
    settings = WebhookSettings(
        webhook_secret=secret,
        webhook_http=True,
        webhook_networks=("127.0.0.0/8",),
        webhook_ports=(0,),
        webhook_first_retry_s=0.0,
        webhook_timeout_s=lease_s,
        webhook_lease_s=lease_s,
    )
    delivery = WebhookDelivery(predictions, settings)
    await delivery.start()
    print("delivering", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
