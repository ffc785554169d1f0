// Asks a Greenroom through OpenAI's own SDK and prints, as one line of JSON, what came of it.
//
//   node openai.mjs http://127.0.0.1:9601/v1 [key]
//
// Exit code 1 and a sentence on standard error if it went wrong.

import OpenAI from "openai";

const [baseURL = "http://127.0.0.1:9601/v1", apiKey = "any"] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 60_000 });
const told = { models: [], deltas: [], thoughts: "", finish: null, usage: null };

async function refusal(work) {
  try {
    await work();
    return null;
  } catch (error) {
    return { status: error.status, code: error.code, param: error.param, kind: error.constructor.name };
  }
}

try {
  for await (const model of client.models.list()) told.models.push(model.id);

  const stream = await client.chat.completions.create({
    model: "english/companions/robin",
    messages: [{ role: "user", content: "Please think first." }],
    stream: true,
    stream_options: { include_usage: true },
  });
  for await (const chunk of stream) {
    const [choice] = chunk.choices;
    if (choice?.delta.content) told.deltas.push(choice.delta.content);
    told.thoughts += choice?.delta.reasoning_content ?? "";
    told.finish = choice?.finish_reason ?? told.finish;
    told.usage = chunk.usage ?? told.usage;
  }

  const runner = await client.chat.completions.create({
    model: "openai/fake-chat",
    messages: [{ role: "user", content: 'call add {"a": 1, "b": 2}' }],
    tools: [{ type: "function", function: { name: "add", parameters: { type: "object", properties: {} } } }],
  });
  told.tool = runner.choices[0].message.tool_calls[0].function;

  const speech = await client.audio.speech.create({
    model: "tts-1",
    voice: "nova",
    input: "Hello there. How are you?",
    response_format: "mp3",
  });
  told.speech_type = speech.headers.get("content-type");
  told.speech_pieces = [];
  for await (const piece of speech.body) told.speech_pieces.push(Buffer.from(piece).toString("base64"));

  const file = new File([Buffer.concat(told.speech_pieces.map((piece) => Buffer.from(piece, "base64")))], "a.mp3");
  told.heard = (await client.audio.transcriptions.create({ model: "whisper-1", file })).text;

  told.vectors = (await client.embeddings.create({ model: "text-embedding-3-small", input: ["one"] })).data[0].embedding;
  told.missing = await refusal(() =>
    client.chat.completions.create({ model: "gpt-none", messages: [{ role: "user", content: "x" }] }),
  );
  told.wrong = await refusal(() => client.chat.completions.create({ model: "greenroom", messages: [], n: 1 }));
  console.log(JSON.stringify(told));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
