// A complete backend of Millrace in Node, made from docs/STREAMS.md alone. In its namespace it answers each req with the
// body of the req, and publishes each pub to its channel.
import { hostname } from "node:os";
import Redis from "ioredis";

const { REDIS = "redis://127.0.0.1:6379/0", NAMESPACE = "node", GROUP = "backend", PARTITIONS = 64, CLAIM_AFTER = 5000 } = process.env;
const consumer = `${hostname()}-${process.pid}-${Date.now()}`;
const inputs = Array.from({ length: PARTITIONS }, (_, p) => `millrace:{${p}}:in`);
const from = ["STREAMS", ...inputs, ...inputs.map(() => ">")], redis = new Redis(REDIS, { protocol: 2 });

function crc16(text) { // XMODEM, as Redis Cluster's key slots
  let crc = 0;
  for (const byte of Buffer.from(text))
    for (let bit = 7; bit >= 0; bit--) crc = ((crc << 1) ^ ((crc >> 15) ^ ((byte >> bit) & 1) ? 0x1021 : 0)) & 0xffff;
  return crc;
}

async function setUp() {
  await redis.multi().hsetnx("millrace:meta", "version", 1).hsetnx("millrace:meta", "partitions", PARTITIONS).exec();
  const { version, partitions } = await redis.hgetall("millrace:meta");
  if (version !== "1" || partitions !== `${PARTITIONS}`) {
    console.error(`the streams have version ${version} and ${partitions} partitions, this program 1 and ${PARTITIONS}`);
    process.exit(1);
  }
  const made = await Promise.allSettled(inputs.map((stream) => redis.xgroup("CREATE", stream, GROUP, 0, "MKSTREAM")));
  for (const { reason } of made) if (reason && !reason.message.startsWith("BUSYGROUP")) throw reason;
  console.log(`reading as ${consumer}, namespace ${NAMESPACE}`);
}

async function handle(stream, [id, fields]) {
  const e = {};
  for (let i = 0; i < fields.length; i += 2) e[fields[i]] = `${fields[i]}` === "data" ? fields[i + 1] : `${fields[i + 1]}`;
  const seen = e.id && stream.replace(/in$/, `seen:${Buffer.byteLength(e.user)}:${e.user}:${e.id}`);
  const tx = redis.multi(); // the effect and its acknowledgement: both or none, whatever dies in between
  if (e.ch?.split(":")[0] === NAMESPACE && !(seen && (await redis.exists(seen)))) {
    const body = ["enc", e.enc, "data", e.data];
    if (e.kind === "req" && e.ref !== "-")
      tx.xadd(`millrace:node:{${e.node}}`, "NOMKSTREAM", "MAXLEN", "~", 10000, "*", "kind", "res", "conn", e.conn, "ref", e.ref, ...body);
    if (e.kind === "pub") tx.xadd(`millrace:{${crc16(e.ch) % PARTITIONS}}:out`, "MAXLEN", "~", 10000, "*", "ch", e.ch, ...body);
    if (seen) tx.set(seen, 1, "PX", 600_000);
  }
  await tx.xack(stream, GROUP, id).exec();
}

let stopping = false, ready = false, claimed = 0;
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => (stopping = true));
while (!stopping) try {
  if (!ready) ready = await setUp().then(() => true);
  if (Date.now() - claimed > CLAIM_AFTER / 2) { // what a backend that died has left pending
    const left = await Promise.all(inputs.map((s) => redis.callBuffer("XAUTOCLAIM", s, GROUP, consumer, CLAIM_AFTER, "0-0")));
    for (const [p, [, entries]] of left.entries()) for (const entry of entries) await handle(inputs[p], entry);
    claimed = Date.now();
  }
  const read = await redis.callBuffer("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", 64, "BLOCK", 1000, ...from);
  for (const [stream, entries] of read ?? []) for (const entry of entries) await handle(`${stream}`, entry);
} catch (err) { // Redis is away, or has lost the groups
  console.error(err.message);
  ready = await new Promise((done) => setTimeout(done, 1000, false));
}
await redis.quit();
