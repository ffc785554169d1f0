"""Ask a running Greenroom with OpenAI's SDK, as a turn of the session `main`: all who listen there hear it, too.

First: pip install openai
"""

from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:9601/v1", api_key="none")
stream = client.chat.completions.create(
    model="greenroom",
    messages=[{"role": "user", "name": "Ana", "content": "Hello, who are you?"}],
    metadata={"session": "main"},
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
