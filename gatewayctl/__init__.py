"""gatewayctl: the operator's command, and the Python SDK (`gatewayctl.client`). It knows the wire, not the daemon."""

__version__ = "0.1.0"
