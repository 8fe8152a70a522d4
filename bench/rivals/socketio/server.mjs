// A Socket.IO server with its Redis streams adapter, for make bench:  node --expose-gc server.mjs PORT redis://HOST:PORT/0
// Clients join channels with "sub", publish with "pub" and ask with "req", which is answered with its own body.
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { Redis } from "ioredis";
import { createServer } from "node:http";
import { Server } from "socket.io";

const [port, redis] = process.argv.slice(2);
const http = createServer();
const io = new Server(http, { transports: ["websocket"], adapter: createAdapter(new Redis(redis)) });

io.on("connection", (client) => {
  client.on("sub", (channels, answer) => {
    client.join(channels);
    answer();
  });
  client.on("pub", (channel, body) => io.to(channel).emit("msg", body));
  client.on("req", (body, answer) => answer(body));
});

process.on("SIGUSR2", () => {
  globalThis.gc();
  console.log("collected");
});
http.listen(Number(port), "127.0.0.1");
