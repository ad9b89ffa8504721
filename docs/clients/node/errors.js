// Errors of the gateway, and what each means for the connection.

import grpc from '@grpc/grpc-js';

// Codes after which the same hello would only be refused again: wrong token, too few scopes, a newer process under our
// client id (ABORTED, CONNECTION_REPLACED), another protocol. Everything else is worth another try.
const FATAL = new Set([
  grpc.status.UNAUTHENTICATED,
  grpc.status.PERMISSION_DENIED,
  grpc.status.INVALID_ARGUMENT,
  grpc.status.FAILED_PRECONDITION,
  grpc.status.UNIMPLEMENTED,
  grpc.status.ABORTED,
]);

export class GatewayError extends Error {
  constructor(message, { code = grpc.status.UNKNOWN, reason = '', retryAfter = 0, fatal = FATAL.has(code) } = {}) {
    super(`${message} (${grpc.status[code] ?? code}${reason && `, ${reason}`})`);
    Object.assign(this, { name: 'GatewayError', code, reason, retryAfter, fatal });
  }

  // From a `gateway.v1.Error` inside a frame: programs look at `reason`, people at the message.
  static fromFrame(error, more = {}) {
    const { code, reason, message, retryAfter } = error;
    return new GatewayError(message, { code, reason, retryAfter: milliseconds(retryAfter), ...more });
  }
}

// A google.protobuf.Duration; 0 if it is absent.
export function milliseconds(duration) {
  return duration ? Number(duration.seconds) * 1000 + duration.nanos / 1e6 : 0;
}
