"""Django with Channels: its users and sessions, a ban by middleware of Channels; peers in a `URLRouter`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import django
from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path, re_path

folder = Path(tempfile.mkdtemp(dir="."))
settings.configure(
    SECRET_KEY="test",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "db.sqlite3"}},
)
django.setup()

# These need Django to be set up.
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.middleware import BaseMiddleware  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import WebsocketDenier  # noqa: E402
from django.contrib.auth import alogin  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402

from crosspeer import Hub  # noqa: E402
from crosspeer.adapters import asgi  # noqa: E402
from frameworks.chat import Chat  # noqa: E402

call_command("migrate", verbosity=0)
hub = Hub(Chat(lambda request: request.user.username if request.user.is_authenticated else None))


async def login(request: HttpRequest) -> HttpResponse:
    user, _ = await User.objects.aget_or_create(username=request.body.decode())
    await alogin(request, user)
    return HttpResponse("welcome")


async def announce(request: HttpRequest) -> HttpResponse:
    hub.publish("chat", request.body.decode())
    return HttpResponse("told")


@async_to_sync
async def publish(topic: str, data: str) -> None:
    hub.publish(topic, data)


def announce_from_a_thread(request: HttpRequest) -> HttpResponse:
    publish("chat", request.body.decode())
    return HttpResponse("told")


async def peers(request: HttpRequest) -> HttpResponse:
    return JsonResponse({room: len(peers) for room, peers in hub.peers.items()})


class Ban(BaseMiddleware):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if any(name == b"x-banned" for name, _ in scope["headers"]):
            return await WebsocketDenier()(scope, receive, send)
        return await super().__call__(scope, receive, send)


urlpatterns = [
    path("login", login),
    path("announce", announce),
    path("announce-from-a-thread", announce_from_a_thread),
    path("peers", peers),
]
chat = re_path(r"^ws/(?P<room>.*)$", Ban(AuthMiddlewareStack(asgi.Adapter(hub))))
app = ProtocolTypeRouter(
    {
        # Those that come by `EventSource` are plain HTTP, and so is the module for browsers.
        "http": URLRouter([chat, re_path("^_crosspeer/", asgi.Adapter(hub)), re_path("", get_asgi_application())]),
        "websocket": URLRouter([chat]),
    }
)
