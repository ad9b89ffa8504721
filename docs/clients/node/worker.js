// Answers for an agent that gateway.yaml declares with `remote: true`, word by word, until it is told to stop.
//
//   GATEWAYD_ADDRESS=127.0.0.1:8765 GATEWAYD_TOKEN=… node worker.js [AGENT [CLIENT-ID]]

import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from './connection.js';

const PAUSE = 50; // milliseconds between two words, as if they were hard to find
const say = (line) => console.log(JSON.stringify(line));

// Thrown for the user to read; of any other error the user learns only that it happened.
class CannotAnswer extends Error {}

async function* lookUp(call, signal) {
  const [, number] = call.text.match(/order (\d+)/i) ?? [];
  if (!number) throw new CannotAnswer('Ask me for an order, such as "order 7".');
  const words = `Order ${number}: ${number} × A-${number}, paid, packed, handed over and on its way to Zürich 🚚`.split(' ');
  for (const [place, word] of words.entries()) {
    if (place > 0) await sleep(PAUSE, null, { signal });
    yield place > 0 ? ` ${word}` : word;
  }
}

async function answer(connection, call, signal) {
  let offset = 0; // in code points, as every language can count them
  const reply = async (more) => {
    signal.throwIfAborted();
    await connection.reply({ callId: call.callId, offset, ...more });
    offset += [...(more.content ?? '')].length;
  };
  try {
    for await (const content of lookUp(call, signal)) await reply({ content });
    await reply({ final: true });
    say({ step: 'answered', call: call.callId });
  } catch (error) {
    if (signal.aborted || error.reason === 'ERROR_REASON_NOT_FOUND') return; // nobody waits for it any more
    console.error(error);
    await reply({ error: error instanceof CannotAnswer ? error.message : 'Something went wrong inside the agent.' });
  }
}

async function main([agent = 'lookup', clientId = 'worker-node']) {
  const { GATEWAYD_ADDRESS: address, GATEWAYD_TOKEN: token } = process.env;
  if (!address || !token) throw new Error('set GATEWAYD_ADDRESS and GATEWAYD_TOKEN');
  const connection = new Connection({ address, token, clientId, clientVersion: 'node-worker/1' });
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => connection.close());
  const running = connection.run(); // ends by `close`, or when the daemon will not have us
  try {
    await Promise.race([connection.register(agent, (call, signal) => answer(connection, call, signal)), running]);
    say({ step: 'registered', agent });
    await running;
  } finally {
    connection.close();
    await running.catch(() => {});
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
