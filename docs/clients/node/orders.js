// What the example publishes, and the judgement over what came back.

import { isDeepStrictEqual } from 'node:util';
import { fromStruct, toStruct } from './struct.js';

export const topic = (client) => `examples.${client}.orders`;

const content = (publisher, number) => ({
  publisher,
  number,
  text: `Order № ${number}: Grüße, 東京 🚀`,
  lines: [{ sku: `A-${number}`, price: number / 4, paid: number % 2 === 0, note: null }],
});

// A durable event of our own type. Its id makes publishing it twice harmless; ids are per principal, so it has to be
// unlike those of every other run.
export function order(client, run, number) {
  return {
    id: `${client}-${run}-${number}`,
    type: 'EVENT_TYPE_CUSTOM',
    customType: 'order.created',
    topic: topic(client),
    custom: { json: toStruct(content(client, number)) },
  };
}

// The last event of a run: the log is in order, so whatever is missing when it comes will not come any more.
export function endOf(client, run) {
  return {
    id: `${client}-${run}-end`,
    type: 'EVENT_TYPE_CUSTOM',
    customType: 'orders.ended',
    topic: topic(client),
    custom: { json: toStruct({ run }) },
  };
}

export class Tally {
  #numbers = new Map(); // publisher → the numbers of its orders as they came
  #damaged = 0;
  #ends = new Set();
  #waiting = [];

  take(event) {
    const data = fromStruct(event.custom.json);
    if (event.customType === 'orders.ended') {
      this.#ends.add(data.run);
    } else {
      if (!isDeepStrictEqual(data, content(data.publisher, data.number))) this.#damaged += 1;
      this.#of(data.publisher).push(data.number);
    }
    this.#waiting = this.#waiting.filter(({ isTrue, resolve }) => !isTrue() || resolve());
  }

  // Resolves once the order with that number has come; at once for 0.
  reached(publisher, number) {
    return this.#when(() => number === 0 || this.#of(publisher).includes(number));
  }

  ended(run) {
    return this.#when(() => this.#ends.has(run));
  }

  // `expected`: publisher → how many orders, numbered from 1.
  judge(expected) {
    const verdict = { missing: 0, doubled: 0, disordered: 0, damaged: this.#damaged };
    for (const [publisher, count] of Object.entries(expected)) {
      const numbers = this.#of(publisher);
      const unique = new Set(numbers);
      for (let number = 1; number <= count; number += 1) verdict.missing += unique.has(number) ? 0 : 1;
      verdict.doubled += numbers.length - unique.size;
      verdict.disordered += numbers.filter((number, index) => number < numbers[index - 1]).length;
    }
    return verdict;
  }

  #of(publisher) {
    if (!this.#numbers.has(publisher)) this.#numbers.set(publisher, []);
    return this.#numbers.get(publisher);
  }

  #when(isTrue) {
    return new Promise((resolve) => {
      if (isTrue()) resolve();
      else this.#waiting.push({ isTrue, resolve });
    });
  }
}
