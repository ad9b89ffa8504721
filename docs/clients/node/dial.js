// The stubs, loaded from the .proto files, and a stream with credentials.

import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const OPTIONS = {
  // Notices a peer that has vanished without a word.
  'grpc.keepalive_time_ms': 25_000,
  'grpc.keepalive_timeout_ms': 10_000,
  // Each attempt dials for itself, so that there is one back-off and not two that wait for each other.
  'grpc.use_local_subchannel_pool': 1,
};

const definition = protoLoader.loadSync('gateway/v1/event_service.proto', {
  includeDirs: [fileURLToPath(new URL('../../../proto', import.meta.url))],
  defaults: true,
  enums: String,
  longs: String,
  oneofs: true, // frame.frame names the member that is set
});
const { EventService } = grpc.loadPackageDefinition(definition).gateway.v1;

// Opens the stream of EventService on a channel of its own; hangUp closes that. The token crosses the network as it is:
// beyond loopback, use grpc.credentials.createSsl().
export function dial(address, token) {
  const client = new EventService(address, grpc.credentials.createInsecure(), OPTIONS);
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return { stream: client.connect(metadata), hangUp: () => client.close() };
}
