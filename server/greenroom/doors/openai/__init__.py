"""The door for clients of OpenAI's API: its SDKs, Open WebUI, SillyTavern, LangChain and whatever else speaks it."""

from greenroom.doors.openai.door import OpenAIDoor

__all__ = ["OpenAIDoor"]
