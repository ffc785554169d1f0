// Ask a running Greenroom one question. First: npm install socket.io-client
import { io } from "socket.io-client";

const socket = io(process.argv[2] ?? "http://127.0.0.1:9601", { auth: { session: "main" } });

socket.on("text_chunk", (event) => process.stdout.write(event.chunk));
socket.on("audio_chunk", (event) => { /* event.audio is PCM: event.sr Hz, event.sw bytes, event.ch channels */ });
socket.on("job_finished", (event) => {
  console.log(event.success ? "" : event.error.reason);
  socket.disconnect();
});
socket.emit("response", { text: "Hello, who are you?", include_audio: true }, (answer) => {
  if (!answer.success) console.error(answer.error);
});
