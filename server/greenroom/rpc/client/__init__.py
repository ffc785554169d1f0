"""Calling a typed interface as if it were the object behind it."""

from greenroom.rpc.client.api_call import ApiCall
from greenroom.rpc.client.client import Client
from greenroom.rpc.client.options import ClientOptions
from greenroom.rpc.client.replies import AsyncStream, Stream
from greenroom.rpc.client.waiting import ApiUtils

__all__ = ["ApiCall", "ApiUtils", "AsyncStream", "Client", "ClientOptions", "Stream"]
