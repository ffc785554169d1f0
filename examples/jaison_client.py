"""Talk to a running Greenroom as applications made for jaison do: requests by REST, answers on the websocket.

First: pip install httpx websockets
"""

import asyncio
import base64
import json
import time

import httpx
from websockets.asyncio.client import connect

URL = "http://127.0.0.1:9601"


async def main() -> None:
    async with connect(URL.replace("http", "ws", 1) + "/") as socket, httpx.AsyncClient(base_url=URL) as http:
        line = {"user": "Ana", "content": "Hello, who are you?", "timestamp": time.time()}
        await http.post("/api/context/conversation/text", json=line)
        answer = await http.post("/api/response", json={"include_audio": True})
        job_id = answer.json()["response"]["job_id"]
        pcm = b""
        async for text in socket:
            event = json.loads(text)[0]["response"]
            result = event.get("result", {})
            if event["job_id"] != job_id:
                continue
            if "content" in result:
                print(result["content"], flush=True)
            if "audio_bytes" in result:  # raw PCM: result["sr"] Hz, result["sw"] bytes, result["ch"] channels
                pcm += base64.b64decode(result["audio_bytes"])
            if event.get("finished"):
                break
        print(f"{len(pcm)} bytes of sound")


asyncio.run(main())
