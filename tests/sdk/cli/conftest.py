from __future__ import annotations

from tests.sdk.client.conftest import apart, hub

__all__ = ["apart", "hub"]
