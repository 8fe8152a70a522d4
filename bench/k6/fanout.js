// What the harness does, for k6: connections that subscribe to one channel each and time what comes. Somebody else publishes, with the
// harness's stamps. Environment: URL, CONNECTIONS, PER_VU (connections a VU), CHANNELS, CONNECT_RATE, HOLD_MS, and OFFSET_MS, which is
// what to add to CLOCK_MONOTONIC to get k6's clock.
import { WebSocket } from 'k6/websockets';
import { Counter, Trend } from 'k6/metrics';

const connections = Number(__ENV.CONNECTIONS);
const perVU = Number(__ENV.PER_VU);
const channels = Number(__ENV.CHANNELS);
const connectRate = Number(__ENV.CONNECT_RATE);
const hold = Number(__ENV.HOLD_MS);
const offset = Number(__ENV.OFFSET_MS);

export const options = {
  scenarios: {
    hold: { executor: 'per-vu-iterations', vus: connections / perVU, iterations: 1, maxDuration: '30m', gracefulStop: '0s' },
  },
  summaryTrendStats: ['med', 'p(99)', 'max', 'count'],
};

const latency = new Trend('msg_latency', true);
const received = new Counter('msgs_received');
const lost = new Counter('connections_lost');

export default function () {
  for (let i = 0; i < perVU; i++) {
    const n = (__VU - 1) * perVU + i;
    setTimeout(() => open(n), (1000 * n) / connectRate);
  }
}

function open(n) {
  const ws = new WebSocket(__ENV.URL, 'millrace.v1');
  let closing = false;
  ws.onmessage = (e) => {
    const text = e.data;
    if (text.startsWith('msg ')) {
      // A stamp: 'm', run (8 digits), feed (6), number (8), due (15), all hexadecimal; loadtest/internal/swarm/stamp.go.
      const body = text.indexOf('\n') + 1;
      const due = parseInt(text.substring(body + 23, body + 38), 16) / 1e6;
      latency.add(Date.now() - due - offset);
      received.add(1);
    } else if (text.startsWith('hello ')) {
      ws.send(`sub 1 direct:load-${n % channels}`);
      setTimeout(() => {
        closing = true;
        ws.close();
      }, hold);
    }
  };
  ws.onclose = () => {
    if (!closing) lost.add(1);
  };
  ws.onerror = () => lost.add(1);
}
