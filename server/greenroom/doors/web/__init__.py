"""The HTTP side: health, metrics, pictures, and the one ASGI application that serves it beside the other doors."""

from greenroom.doors.web.app import Health, create_asgi_app, create_web_app, uvicorn_settings
from greenroom.doors.web.assets import Assets

__all__ = ["Assets", "Health", "create_asgi_app", "create_web_app", "uvicorn_settings"]
