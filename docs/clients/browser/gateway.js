// A client of gatewayd for pages: one WebSocket, frames as JSON, and the way back after a cut. No library is needed.

const FORM = "gateway.v1.json";
const LONGEST_PAUSE = 30_000; // milliseconds between two attempts
const POLICY = 1008; // closed for good: coming back alike would be refused again

/** The token as a subprotocol, since a page cannot set headers; never in the address, which ends up in logs. */
function bearer(token) {
  const bytes = new TextEncoder().encode(token);
  const text = btoa(String.fromCharCode(...bytes));
  return "bearer." + text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export class Gateway {
  #address;
  #token;
  #clientId;
  #socket = null;
  #resume = "";
  #attempts = 0;
  #numbers = 0;
  #closed = false;
  #pending = new Map(); // request id -> {frame, resolve, reject, onReply, sent}
  #subscriptions = new Map(); // id -> {filter, cursor, onEvent}

  /** Told of "open" (with the welcome), "lost" and "closed" (with what is known of the reason). */
  onState = () => {};

  constructor(address, token, clientId) {
    this.#address = address;
    this.#token = token;
    this.#clientId = clientId;
  }

  connect() {
    const socket = (this.#socket = new WebSocket(this.#address, [FORM, bearer(this.#token)]));
    let last = null;
    socket.onopen = () =>
      this.#write({ hello: { clientId: this.#clientId, protocolMin: 1, protocolMax: 1, resumeToken: this.#resume } });
    socket.onmessage = (message) => {
      const frame = JSON.parse(message.data);
      last = frame.refused?.error ?? (frame.requestId ? null : frame.rejected?.error) ?? last;
      this.#take(frame);
    };
    socket.onclose = (event) => {
      if (socket === this.#socket) this.#ended(event, last);
    };
  }

  close() {
    this.#closed = true;
    this.#socket?.close(1000);
  }

  /** Events that match, from now on or from a cursor; after a cut it goes on without a gap. */
  async subscribe(id, filter, onEvent, cursor = "") {
    const subscription = { filter, cursor, onEvent };
    this.#subscriptions.set(id, subscription);
    const accepted = await this.#request({ subscribe: { subscriptionId: id, filter, since: cursor } });
    subscription.cursor ||= accepted.cursor ?? "";
  }

  publish(events) {
    return this.#request({ publish: { events } });
  }

  /** The final reply of an agent; `onPiece` hears the text as it is produced. */
  send(agent, text, onPiece = () => {}) {
    const idempotencyKey = crypto.randomUUID();
    return this.#request({ send: { agent, text, partialReplies: true, idempotencyKey } }, onPiece);
  }

  #request(frame, onReply = null) {
    frame.requestId = `r${++this.#numbers}`;
    return new Promise((resolve, reject) => {
      this.#pending.set(frame.requestId, { frame, resolve, reject, onReply, sent: this.#write(frame) });
    });
  }

  /** Whether it could be written. */
  #write(frame) {
    const open = this.#socket?.readyState === WebSocket.OPEN;
    if (open) this.#socket.send(JSON.stringify(frame));
    return open;
  }

  #take(frame) {
    const pending = this.#pending.get(frame.requestId);
    if (frame.welcome) {
      this.#welcomed(frame.welcome);
    } else if (frame.rejected && pending) {
      this.#pending.delete(frame.requestId);
      pending.reject(frame.rejected.error);
    } else if (frame.accepted && pending && !pending.onReply) {
      this.#pending.delete(frame.requestId);
      pending.resolve(frame.accepted);
    } else if (frame.reply && pending) {
      if (!frame.reply.final) return pending.onReply(frame.reply.content ?? "");
      this.#pending.delete(frame.requestId);
      if (frame.reply.error) pending.reject(frame.reply.error);
      else pending.resolve(frame.reply.content ?? "");
    } else if (frame.delivery) {
      // Without an id it is for the client itself: heartbeats, broadcasts and what is addressed to it.
      for (const id of frame.delivery.subscriptionIds ?? []) {
        const subscription = this.#subscriptions.get(id);
        if (!subscription) continue;
        for (const event of frame.delivery.events) subscription.onEvent(event);
        subscription.cursor = frame.delivery.cursor ?? subscription.cursor;
      }
    } else if (frame.progress) {
      for (const id of frame.progress.subscriptionIds) {
        const subscription = this.#subscriptions.get(id);
        if (subscription) subscription.cursor = frame.progress.cursor;
      }
    } else if (frame.ended) {
      this.#subscriptions.get(frame.ended.subscriptionId)?.onEvent({ ended: frame.ended });
    }
  }

  #welcomed(welcome) {
    this.#resume = welcome.resumeToken;
    this.#attempts = 0;
    const waiting = new Set();
    for (const [id, pending] of this.#pending) {
      const { frame, sent, reject } = pending;
      if (frame.subscribe) waiting.add(frame.subscribe.subscriptionId);
      if (frame.publish && sent) {
        // Nobody knows whether it came through: events have ids of their own for who must repeat them.
        this.#pending.delete(id);
        reject({ reason: "ERROR_REASON_UNAVAILABLE", message: "the connection was cut before the answer came" });
      } else {
        pending.sent = this.#write(frame); // a send has its key, so it runs once
      }
    }
    for (const [id, { filter, cursor }] of this.#subscriptions) {
      if (waiting.has(id)) continue;
      this.#request({ subscribe: { subscriptionId: id, filter, since: cursor } }).catch((error) =>
        this.onState("lost", error),
      );
    }
    this.onState("open", welcome);
  }

  #ended(event, error) {
    const why = { code: event.code, reason: event.reason, error };
    if (this.#closed || event.code === POLICY) {
      for (const { reject } of this.#pending.values()) reject(error ?? why);
      this.#pending.clear();
      return this.onState("closed", why);
    }
    this.onState("lost", why);
    const pause = Math.min(LONGEST_PAUSE, 500 * 2 ** this.#attempts++) * (0.5 + Math.random() / 2);
    setTimeout(() => this.#closed || this.connect(), pause);
  }
}
