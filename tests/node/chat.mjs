// Asks a Greenroom one question and prints, as one line of JSON, what came of it.
//
//   node chat.mjs http://127.0.0.1:9601 "Hello, who are you?" [token]
//
// Exit code 1 and a sentence on standard error if it went wrong.

import { io } from "socket.io-client";

const [url = "http://127.0.0.1:9601", question = "Hello, who are you?", token] = process.argv.slice(2);
const TIME_LIMIT_MS = 60_000;

const socket = io(url, {
  auth: { session: "main", client: "node-test/1", ...(token ? { token } : {}) },
  reconnection: false,
});

const seen = {
  joined: null, // session_joined
  seqs: [],
  names: [],
  chunks: "",
  text: null, // text_generated
  audio_bytes: 0,
  audio_format: null,
  audio_is_binary: true,
  sentences: [],
  finished: null, // job_finished
};
const early = []; // events that came before the acknowledgement said which job is ours
let job = null;

function take(name, event) {
  if (event.job_id !== job) return;
  seen.names.push(name);
  switch (name) {
    case "text_chunk":
      if (event.type === 0) seen.chunks += event.chunk;
      break;
    case "audio_chunk":
      seen.audio_is_binary &&= Buffer.isBuffer(event.audio);
      seen.audio_bytes += event.audio.length;
      seen.audio_format = { sr: event.sr, sw: event.sw, ch: event.ch, format: event.format };
      break;
    case "sentence":
      seen.sentences.push(event.text);
      break;
    case "text_generated":
      seen.text = event.text;
      break;
    case "job_finished":
      seen.finished = event;
      report();
  }
}

function report() {
  const ordered = seen.seqs.every((seq, index) => index === 0 || seq === seen.seqs[index - 1] + 1);
  console.log(JSON.stringify({ ...seen, ordered }));
  end(0);
}

function end(code) {
  clearTimeout(timer);
  process.exitCode = code;
  socket.disconnect();
}

function fail(sentence) {
  console.error(sentence);
  end(1);
}

const timer = setTimeout(() => fail(`no answer within ${TIME_LIMIT_MS / 1000} s`), TIME_LIMIT_MS);

socket.on("connect_error", (error) => fail(`${url}: ${error.data?.message ?? error.message}`));
socket.on("session_joined", (event) => {
  seen.joined = event;
});
socket.onAny((name, event) => {
  if (event?.seq === undefined || name === "session_joined") return;
  seen.seqs.push(event.seq);
  if (job === null) early.push([name, event]);
  else take(name, event);
});
socket.on("connect", async () => {
  const answer = await socket.emitWithAck("response", { include_audio: true, user: "Node", text: question });
  if (!answer.success) {
    fail(`refused: ${answer.error} (${answer.code})`);
    return;
  }
  job = answer.job_id;
  for (const [name, event] of early.splice(0)) take(name, event);
});
