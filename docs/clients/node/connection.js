// One conversation with gatewayd that outlives its connections.
//
// The stream may break at any time. What then has to be said again is kept here: the subscriptions, each with the
// cursor behind the last event that was handled, and the requests that have no answer yet. Saying a request twice is
// safe, because every event has an id and every send an idempotency key: the daemon knows what it has taken.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import grpc from '@grpc/grpc-js';
import { dial } from './dial.js';
import { GatewayError, milliseconds } from './errors.js';

const PROTOCOL = 1;
const HANDSHAKE = 10_000; // milliseconds from dialling to the welcome
const REQUEST = 30_000; // milliseconds for an answer, however many connections that takes
const STEADY = 1_000; // milliseconds after which a connection counts as good

const tooLate = () => new GatewayError('no answer in time', { code: grpc.status.DEADLINE_EXCEEDED });

export class Connection {
  connections = 0; // welcomes so far
  resumed = 0; // how many of them took up the connection before
  welcome = null; // the last one
  lost = []; // why subscriptions ended with the connections that were taken up

  #options;
  #resumeToken = '';
  #stream = null; // open and welcomed, else null
  #attempts = 0;
  #closing = new AbortController();
  #standing = new Set(); // what every new connection is told first: { frame(), accepted(), rejected() }
  #subscriptions = new Map(); // id → { filter, cursor, onEvent }
  #requests = new Map(); // request id → { frame, timer, standing, accepted, resolve, reject, onReply }, in order
  #agents = new Map(); // agent → { onCall, ended }
  #calls = new Map(); // call id → the AbortController of what answers it
  #lastRequest = 0;

  // address: HOST:PORT. `onAddressed` gets what is for this client itself, or for an agent that it answers for, and comes
  // by no subscription: heartbeats, broadcasts, events with a target.
  constructor({ address, token, clientId, clientVersion = '', onAddressed = () => {} }) {
    this.#options = { address, token, clientId, clientVersion, onAddressed };
  }

  // Keeps a connection open until `close`; throws GatewayError when the daemon will not have us.
  async run() {
    while (!this.#closing.signal.aborted) {
      const began = Date.now();
      const end = await this.#converse();
      if (this.#closing.signal.aborted) break;
      if (end.fatal) {
        this.#fail(end);
        throw end;
      }
      if (Date.now() - began >= STEADY) this.#attempts = 0;
      await sleep(this.#backoff(end.retryAfter), null, { signal: this.#closing.signal }).catch(() => {});
    }
  }

  close() {
    this.#fail(new GatewayError('the connection was closed', { code: grpc.status.CANCELLED }));
  }

  // Resolves once it is accepted. `onEvent` gets every event that the filter selects, across connections; the cursor
  // moves on when it has returned. A reader that is too slow is told so and begins again at its cursor.
  subscribe(id, filter, onEvent) {
    return new Promise((resolve, reject) => {
      this.#closing.signal.throwIfAborted();
      const subscription = { filter, onEvent, cursor: '' };
      this.#subscriptions.set(id, subscription);
      let isNew = true;
      const timer = setTimeout(() => reject(tooLate()), REQUEST);
      const standing = {
        frame: () => ({ subscribe: { subscriptionId: id, filter, since: subscription.cursor } }),
        accepted: (accepted) => {
          subscription.cursor ||= accepted.cursor;
          isNew = false;
          clearTimeout(timer);
          resolve(accepted);
        },
        // HISTORY_LOST, for one: only the application knows how to go on without those events.
        rejected: (error) => {
          clearTimeout(timer);
          this.#standing.delete(standing);
          if (isNew) reject(error);
          else this.#fail(error);
        },
      };
      this.#stand(standing);
    });
  }

  // Resolves once the events are on disk: `cursor` is the place of the last one.
  publish(events) {
    const named = events.map((event) => ({ ...event, id: event.id || randomUUID() }));
    return this.#request({ publish: { events: named } });
  }

  // Resolves with the final reply. `onPartial` gets the text as it is produced; after a cut, `offset` says where a
  // piece belongs, and the final reply has the whole.
  send(message, onPartial = null) {
    const send = { idempotencyKey: randomUUID(), partialReplies: onPartial !== null, ...message };
    return this.#request({ send }, (reply) => onPartial?.(reply));
  }

  // Makes this client a worker; resolves once it is accepted. `onCall(call, signal)` answers a call by `reply`; the
  // signal is aborted when nobody waits for the answer any more. `onEnd(error)` hears that a reload took the agent away
  // from its workers; nothing of it is left to answer then.
  register(agent, onCall, { maxConcurrent = 16, history = false, onEnd = null } = {}) {
    return new Promise((resolve, reject) => {
      this.#closing.signal.throwIfAborted();
      let isNew = true;
      const standing = {
        frame: () => ({ registerAgent: { agent, maxConcurrent, history, notifyEnd: onEnd !== null } }),
        accepted: (accepted) => {
          isNew = false;
          resolve(accepted);
        },
        rejected: (error) => {
          this.#standing.delete(standing);
          if (isNew) reject(error);
          else this.#fail(error);
        },
      };
      const ended = (error) => {
        this.#agents.delete(agent);
        this.#standing.delete(standing);
        onEnd?.(error);
      };
      this.#agents.set(agent, { onCall, ended });
      this.#stand(standing);
    });
  }

  // Part of the answer to a call; resolves once the daemon has it. Its `offset` (in code points) makes it harmless to
  // say it twice, which happens when the connection is lost: every new one registers first, then says it again.
  reply(callReply) {
    return this.#request({ callReply });
  }

  // Keeps `state`, a JSON object, as what the execution of a call goes on from; it is on disk when this resolves, to
  // whether the execution leaves here. Then the call is over without an answer, and a later one brings it in `state`.
  async checkpoint(callId, state, more = {}) {
    this.#needs('worker_checkpoints');
    const saveCheckpoint = { callId, state: JSON.stringify(state), idempotencyKey: randomUUID(), ...more };
    return (await this.#request({ saveCheckpoint })).left;
  }

  // Asks people, and leaves: when somebody has answered, another call brings `state` and their `inputs`.
  async waitForInput(callId, prompt, state, more = {}) {
    this.#needs('worker_checkpoints');
    const waitForInput = { callId, prompt, state: JSON.stringify(state), idempotencyKey: randomUUID(), ...more };
    await this.#request({ waitForInput });
  }

  // A daemon that does not know a kind of frame ends the stream over it.
  #needs(feature) {
    if (this.welcome?.features.includes(feature)) return;
    throw new GatewayError(`the daemon does not know ${feature}`, { code: grpc.status.UNIMPLEMENTED });
  }

  #request(frame, onReply = null) {
    return new Promise((resolve, reject) => {
      this.#closing.signal.throwIfAborted();
      const requestId = this.#newId();
      const timer = setTimeout(() => {
        this.#requests.delete(requestId);
        reject(tooLate());
      }, REQUEST);
      const request = { frame: { requestId, ...frame }, timer, onReply, resolve, reject, accepted: false };
      this.#requests.set(requestId, request);
      this.#stream?.write(request.frame);
    });
  }

  #stand(standing) {
    this.#standing.add(standing);
    if (this.#stream) this.#say(standing);
  }

  // Its answer belongs to this connection alone: the next one is told anew.
  #say(standing) {
    const requestId = this.#newId();
    const request = { standing, resolve: standing.accepted, reject: standing.rejected };
    this.#requests.set(requestId, request);
    this.#stream.write({ requestId, ...standing.frame() });
  }

  // Never used twice: replies that a connection left behind come on the next under the id that they had.
  #newId() {
    return String(++this.#lastRequest);
  }

  // One connection from dialling to its end; resolves with the reason.
  #converse() {
    return new Promise((resolve) => {
      const { address, token, clientId, clientVersion } = this.#options;
      const { stream, hangUp } = dial(address, token);
      const impatience = setTimeout(() => stream.cancel(), HANDSHAKE);
      let end = null; // what the daemon said before it ended the stream
      stream.on('data', (frame) => {
        try {
          if (frame.frame === 'welcome') clearTimeout(impatience);
          end = this.#take(frame, stream) ?? end;
        } catch (error) { // a handler has failed: going on would count its event as handled
          end = Object.assign(error, { fatal: true });
          stream.cancel();
        }
      });
      stream.on('error', () => {}); // the same as `status`, which comes in any case
      stream.on('status', ({ code, details }) => {
        clearTimeout(impatience);
        this.#stream = null;
        hangUp();
        resolve(end ?? new GatewayError(details || 'the daemon has closed the connection', { code }));
      });
      stream.write({
        hello: { clientId, clientVersion, resumeToken: this.#resumeToken, protocolMin: PROTOCOL, protocolMax: PROTOCOL },
      });
    });
  }

  // Handles a frame. Returns a GatewayError if it announces the end of the connection.
  #take(frame, stream) {
    const body = frame[frame.frame];
    switch (frame.frame) {
      case 'welcome':
        this.#welcomed(body, stream);
        break;
      case 'refused':
        return GatewayError.fromFrame(body.error, { fatal: body.step !== 'RECOVERY_STEP_WAIT_THEN_RETRY' });
      case 'goodbye':
        return new GatewayError(`goodbye: ${body.reason}`, {
          code: grpc.status.UNAVAILABLE,
          retryAfter: milliseconds(body.reconnectAfter),
        });
      case 'accepted':
        this.#accepted(frame.requestId, body);
        break;
      case 'rejected':
        this.#settle(frame.requestId)?.reject(GatewayError.fromFrame(body.error));
        break;
      case 'reply':
        this.#reply(frame.requestId, body);
        break;
      case 'delivery':
        for (const event of body.events) {
          if (!body.subscriptionIds.some(Boolean)) this.#options.onAddressed(event);
          for (const id of body.subscriptionIds) this.#subscriptions.get(id)?.onEvent(event);
        }
        this.#advance(body.subscriptionIds, body.cursor);
        break;
      case 'call':
        this.#called(body);
        break;
      case 'cancelCall':
        this.#calls.get(body.callId)?.abort(new Error(body.reason));
        break;
      case 'registrationEnded':
        this.#agents.get(body.agent)?.ended(GatewayError.fromFrame(body.error));
        break;
      case 'progress':
        this.#advance(body.subscriptionIds, body.cursor);
        break;
      case 'ended':
        // The cursor is ours and not the daemon's: it knows what it has sent, we know what we have handled. A stream
        // that begins anew says the subscription again, or learns why it may not.
        stream.cancel();
        return new GatewayError(`the subscription has ended: ${body.reason}`, { code: grpc.status.UNAVAILABLE });
      default: // a later daemon may say more than we know
    }
    return null;
  }

  #welcomed(welcome, stream) {
    this.#stream = stream;
    this.#resumeToken = welcome.resumeToken;
    this.#note(welcome);
    for (const [id, request] of this.#requests) if (request.standing) this.#requests.delete(id);
    for (const standing of this.#standing) this.#say(standing);
    for (const request of this.#requests.values()) {
      // The reply to an accepted send follows by itself on a connection that was taken up.
      if (!request.standing && !(request.accepted && welcome.resumed)) stream.write(request.frame);
    }
  }

  #note(welcome) {
    this.welcome = welcome;
    this.connections += 1;
    if (!welcome.resumed) return;
    this.resumed += 1;
    for (const { subscriptionId, reason, cursor } of welcome.lost) {
      this.lost.push(reason);
      // Where the daemon stopped sending; we may have received less. So it is second best, for a subscription that
      // has no cursor of its own yet.
      const subscription = this.#subscriptions.get(subscriptionId);
      if (subscription) subscription.cursor ||= cursor;
    }
  }

  #accepted(requestId, accepted) {
    const request = this.#requests.get(requestId);
    if (request?.onReply) request.accepted = true; // its answer is still to come
    else this.#settle(requestId)?.resolve(accepted);
  }

  #reply(requestId, reply) {
    if (!reply.final) return this.#requests.get(requestId)?.onReply?.(reply);
    const request = this.#settle(requestId);
    return reply.error ? request?.reject(GatewayError.fromFrame(reply.error)) : request?.resolve(reply);
  }

  #called(call) {
    const { onCall } = this.#agents.get(call.agent) ?? {};
    if (!onCall || this.#calls.has(call.callId)) return; // told again after a cut: it is being answered
    const controller = new AbortController();
    this.#calls.set(call.callId, controller);
    onCall(call, controller.signal)
      .catch((error) => controller.abort(error))
      .finally(() => this.#calls.delete(call.callId));
  }

  #settle(requestId) {
    const request = this.#requests.get(requestId);
    clearTimeout(request?.timer);
    this.#requests.delete(requestId);
    return request;
  }

  #advance(subscriptionIds, cursor) {
    if (!cursor) return; // all of it was ephemeral
    for (const id of subscriptionIds) {
      const subscription = this.#subscriptions.get(id);
      if (subscription) subscription.cursor = cursor;
    }
  }

  // Nothing will come any more: everybody who waits learns why.
  #fail(error) {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(error);
    this.#stream?.cancel();
    for (const controller of this.#calls.values()) controller.abort(error);
    for (const standing of this.#standing) standing.rejected(error);
    for (const id of [...this.#requests.keys()]) this.#settle(id).reject(error);
  }

  // From half of the step to all of it, so that a thousand clients of a restarted daemon do not come back at once.
  #backoff(atLeast) {
    const step = Math.min(30_000, 100 * 2 ** Math.min(this.#attempts++, 10));
    return Math.max(atLeast, step / 2 + Math.random() * (step / 2));
  }
}
