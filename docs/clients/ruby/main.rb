# frozen_string_literal: true

# Publishes orders, reads them back and talks to an agent, and counts: whatever happens to the connection meanwhile, every
# event has to come exactly once and in order.
#
#   GATEWAYD_ADDRESS=127.0.0.1:8765 GATEWAYD_TOKEN=… ruby main.rb [ORDERS [ORDERS-OF-ANOTHER-PUBLISHER]]

$LOAD_PATH.unshift(File.expand_path('../../../.build/polyglot/ruby', __dir__))
$stdout.sync = true

require 'json'
require_relative 'connection'
require_relative 'orders'

CLIENT = 'ruby'

def say(**line) = puts(line.to_json)

def story(connection, tally, own, others)
  run = SecureRandom.hex(8)

  filter = Gateway::V1::EventFilter.new(types: [:EVENT_TYPE_CUSTOM], topic: "examples.#{CLIENT}.*")
  connection.subscribe('orders', filter) { |event| tally.take(event) }
  say(step: 'subscribed')

  events = (1..own).map { |number| Orders.order(CLIENT, run, number) }
  cursor = connection.publish(events).cursor # taken as a whole or not at all
  tally.reached(CLIENT, own)
  say(step: 'published', cursor: cursor)

  partials = 0
  reply = connection.send_message(agent: 'assistant', text: 'What can you do?') { partials += 1 }
  whole = connection.send_message(agent: 'assistant', text: 'And what else?') # no pieces, only the answer
  say(step: 'answered', content: reply.content)

  tally.reached('other', others)
  connection.publish([Orders.end_of(CLIENT, run)])
  tally.ended(run)

  faults = tally.judge({ CLIENT => own, 'other' => others })
  good = faults.values.sum.zero? && !cursor.empty? && partials.positive? &&
         !reply.content.empty? && !whole.content.empty?
  say(client: CLIENT, grpc: GRPC::VERSION, own: own, others: others, **faults, partials: partials,
      connections: connection.connections, resumed: connection.resumed, lost: connection.lost,
      verdict: good ? 'ok' : 'failed')
  good
end

def main(own = '120', others = '0')
  address, token = ENV.values_at('GATEWAYD_ADDRESS', 'GATEWAYD_TOKEN')
  abort 'set GATEWAYD_ADDRESS and GATEWAYD_TOKEN' unless address && token

  tally = Tally.new
  connection = Connection.new(address: address, token: token, client_id: "example-#{CLIENT}",
                              client_version: "#{CLIENT}-example/1", on_failure: ->(error) { tally.abandon(error) })
  begin
    story(connection, tally, Integer(own), Integer(others))
  ensure
    connection.close
  end
rescue GatewayError, Timeout::Error => e
  abort e.message
end

exit main(*ARGV)
