"""All commands of `landline`, put together. `cli` runs them."""

from cyclopts import App

import landline
from landline.app import (
    cli_accounts,
    cli_carriers,
    cli_doctor,
    cli_erase,
    cli_messages,
    cli_opt_outs,
    cli_prices,
    cli_resources,
    cli_server,
    cli_settings,
    cli_stock,
    cli_subscription,
)

app = App(
    name="landline",
    help="The communications platform you run yourself, behind the public wire of Azure Communication Services.",
    version=landline.__version__,
)
cli_server.add_to(app)
cli_doctor.add_to(app)
cli_resources.add_to(app)
cli_subscription.add_to(app)
cli_messages.add_to(app)
cli_carriers.add_to(app)
cli_prices.add_to(app)
cli_settings.add_to(app)
cli_stock.add_to(app)
cli_accounts.add_to(app)
cli_opt_outs.add_to(app)
cli_erase.add_to(app)
