// Publishes orders, reads them back and talks to an agent, and counts: whatever happens to the connection meanwhile,
// every event has to come exactly once and in order.
//
//   GATEWAYD_ADDRESS=127.0.0.1:8765 GATEWAYD_TOKEN=… node main.js [ORDERS [ORDERS-OF-ANOTHER-PUBLISHER]]

import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { Connection } from './connection.js';
import { Tally, endOf, order, topic } from './orders.js';

const CLIENT = 'node';
const DEADLINE = 120_000;
const { version } = createRequire(import.meta.url)('@grpc/grpc-js/package.json');
const say = (line) => console.log(JSON.stringify(line));

async function story(connection, own, others) {
  const run = randomBytes(8).toString('hex');
  const tally = new Tally();

  await connection.subscribe('orders', { types: ['EVENT_TYPE_CUSTOM'], topic: `examples.${CLIENT}.*` }, (event) => tally.take(event));
  say({ step: 'subscribed' });

  const events = Array.from({ length: own }, (_, index) => order(CLIENT, run, index + 1));
  const { cursor } = await connection.publish(events); // taken as a whole or not at all
  await tally.reached(CLIENT, own);
  say({ step: 'published', cursor });

  let partials = 0;
  const reply = await connection.send({ agent: 'assistant', text: 'What can you do?' }, () => { partials += 1; });
  const whole = await connection.send({ agent: 'assistant', text: 'And what else?' }); // no pieces, only the answer
  say({ step: 'answered', content: reply.content });

  await tally.reached('other', others);
  await connection.publish([endOf(CLIENT, run)]);
  await tally.ended(run);

  const verdict = tally.judge({ [CLIENT]: own, other: others });
  const good = Object.values(verdict).every((count) => count === 0) && cursor !== '' && partials > 0 && reply.content !== '' && whole.content !== '';
  const { connections, resumed, lost } = connection;
  return { client: CLIENT, grpc: version, own, others, ...verdict, partials, connections, resumed, lost, verdict: good ? 'ok' : 'failed' };
}

async function main([own = '120', others = '0']) {
  const { GATEWAYD_ADDRESS: address, GATEWAYD_TOKEN: token } = process.env;
  if (!address || !token) throw new Error('set GATEWAYD_ADDRESS and GATEWAYD_TOKEN');
  const connection = new Connection({ address, token, clientId: `example-${CLIENT}`, clientVersion: `${CLIENT}-example/1` });
  const deadline = setTimeout(() => {
    console.error(`not done in ${DEADLINE / 1000} s`);
    process.exit(1);
  }, DEADLINE);
  const running = connection.run();
  try {
    // `run` ends first only if the daemon will not have us; the error says why.
    const verdict = await Promise.race([story(connection, Number(own), Number(others)), running.then(() => null)]);
    say(verdict);
    return verdict.verdict === 'ok' ? 0 : 1;
  } finally {
    clearTimeout(deadline);
    connection.close();
    await running.catch(() => {});
  }
}

main(process.argv.slice(2)).then(
  (code) => { process.exitCode = code; },
  (error) => {
    console.error(error.message);
    process.exitCode = 1;
  },
);
