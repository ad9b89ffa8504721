// Answers for an agent that gateway.yaml declares with `remote: true`, word by word, until it is told to stop.
//
//   GATEWAYD_ADDRESS=127.0.0.1:8765 GATEWAYD_TOKEN=… node worker.js [AGENT [CLIENT-ID]]

import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from './connection.js';
import { fromStruct, toStruct } from './struct.js';

const PAUSE = 50; // milliseconds between two words, as if they were hard to find
const say = (line) => console.log(JSON.stringify(line));

// Thrown for the user to read; of any other error the user learns only that it happened.
class CannotAnswer extends Error {}

// Thrown when the execution leaves: the call is over, and another one goes on.
class Left extends Error {}

// "orders 7 8 9": a line for each. What is said is kept, so that after a pause or a crash it goes on with the next.
async function* lookUpAll(connection, call, numbers, signal) {
  const { said } = call.state ? JSON.parse(call.state) : { said: 0 };
  for (let next = said; next < numbers.length; next += 1) {
    await sleep(PAUSE, null, { signal });
    yield `Order ${numbers[next]} is on its way.\n`;
    if (await connection.checkpoint(call.callId, { said: next + 1 })) throw new Left();
  }
}

async function* lookUp(connection, call, signal) {
  const several = call.text.match(/orders((?: \d+)+)/i);
  if (several) {
    yield* lookUpAll(connection, call, several[1].trim().split(' '), signal);
    return;
  }
  const [, number] = call.text.match(/order (\d+)/i) ?? [];
  if (!number) throw new CannotAnswer('Ask me for an order, such as "order 7".');
  // What it does for its answer is an event of the execution, for whoever may see that.
  await connection.publish([{
    id: `${call.callId}-look-up`, // saying it twice is harmless
    type: 'EVENT_TYPE_TOOL_CALL_STARTED',
    executionId: call.executionId,
    toolCallStarted: { toolUseId: 'look-up', toolName: 'orders', toolInput: toStruct({ order: number }) },
  }]);
  const words = `Order ${number}: ${number} × A-${number}, paid, packed, handed over and on its way to Zürich 🚚`.split(' ');
  yield words[0];
  do { // "watch order 7" is told again and again, until nobody wants to know any more
    for (const word of words.slice(1)) {
      await sleep(PAUSE, null, { signal });
      yield ` ${word}`;
    }
  } while (/watch/i.test(call.text));
}

async function answer(connection, call, signal) {
  let offset = Number(call.offset); // in code points, as every language can count them
  const reply = async (more) => {
    signal.throwIfAborted();
    await connection.reply({ callId: call.callId, offset, ...more });
    offset += [...(more.content ?? '')].length;
  };
  try {
    for await (const content of lookUp(connection, call, signal)) await reply({ content });
    await reply({ final: true });
    say({ step: 'answered', call: call.callId, resumed: connection.resumed });
  } catch (error) {
    if (error instanceof Left) {
      say({ step: 'left', call: call.callId });
      return;
    }
    if (signal.aborted || error.reason === 'ERROR_REASON_NOT_FOUND') { // nobody waits for it any more
      say({ step: 'cancelled', call: call.callId });
      return;
    }
    if (error instanceof CannotAnswer) {
      await reply({ error: error.message });
      return;
    }
    console.error(error);
    await reply({ error: 'Something went wrong inside the agent.' });
  }
}

// An event that is addressed to the agent is a question without a promise. Its answer is an event for who asked.
async function tell(connection, question) {
  const { order } = fromStruct(question.custom.json);
  await connection.publish([{
    type: 'EVENT_TYPE_CUSTOM',
    customType: 'order.told',
    ephemeral: true,
    target: question.streamId,
    correlationId: question.correlationId,
    custom: { json: toStruct({ text: `Order ${order} is on its way.` }) },
  }]);
}

async function main([agent = 'lookup', clientId = 'worker-node']) {
  const { GATEWAYD_ADDRESS: address, GATEWAYD_TOKEN: token } = process.env;
  if (!address || !token) throw new Error('set GATEWAYD_ADDRESS and GATEWAYD_TOKEN');
  const onAddressed = (event) => {
    if (event.target === agent && event.customType === 'order.asked' && event.correlationId) {
      tell(connection, event).catch((error) => console.error(error.message)); // who asked may be gone
    }
  };
  const connection = new Connection({ address, token, clientId, clientVersion: 'node-worker/1', onAddressed });
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => connection.close());
  const running = connection.run(); // ends by `close`, or when the daemon will not have us
  let over = null;
  const onEnd = (error) => { // a reload took the agent away: whoever starts us decides when to try again
    over = error;
    connection.close();
  };
  try {
    const onCall = (call, signal) => answer(connection, call, signal);
    await Promise.race([connection.register(agent, onCall, { onEnd }), running]);
    say({ step: 'registered', agent });
    await running;
    if (over) throw over;
  } finally {
    connection.close();
    await running.catch(() => {});
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
