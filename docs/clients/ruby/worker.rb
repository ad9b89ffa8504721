# frozen_string_literal: true

# Answers for an agent that gateway.yaml declares with `remote: true`, word by word, until it is told to stop.
#
#   GATEWAYD_ADDRESS=127.0.0.1:8765 GATEWAYD_TOKEN=… ruby worker.rb [AGENT [CLIENT-ID]]

$LOAD_PATH.unshift(File.expand_path('../../../.build/polyglot/ruby', __dir__))
$stdout.sync = true

require 'google/protobuf/well_known_types'
require 'json'
require_relative 'connection'

PAUSE = 0.05 # seconds between two words, as if they were hard to find

def say(**line) = puts(line.to_json)

def look_up(connection, call, answer)
  number = call.text[/order (\d+)/i, 1]
  raise CannotAnswer, 'Ask me for an order, such as "order 7".' unless number

  connection.publish([looking_up(call, number)])
  first, *words = "Order #{number}: #{number} × A-#{number}, paid, packed, handed over and on its way to Zürich 🚚".split
  answer << first
  loop do
    words.each { |word| answer.pause(PAUSE) << " #{word}" }
    break unless call.text.match?(/watch/i) # "watch order 7" is told again and again, until nobody wants to know any more
  end
end

# What it does for its answer is an event of the execution, for whoever may see that. The id makes saying it twice harmless.
def looking_up(call, number)
  started = Gateway::V1::ToolCallStartedData.new(
    tool_use_id: 'look-up', tool_name: 'orders', tool_input: Google::Protobuf::Struct.from_hash({ 'order' => number })
  )
  Gateway::V1::Event.new(id: "#{call.call_id}-look-up", type: :EVENT_TYPE_TOOL_CALL_STARTED,
                         execution_id: call.execution_id, tool_call_started: started)
end

# Answers a question that is addressed to the agent, which has no promise of one: by an event for who asked.
def answer_event(connection, question)
  asked = (question.custom.json || Google::Protobuf::Struct.new).fields
  text = format('Order %.0f is on its way.', asked['order']&.number_value || 0)
  connection.publish([
    Gateway::V1::Event.new(
      type: :EVENT_TYPE_CUSTOM, custom_type: 'order.told', ephemeral: true,
      target: question.stream_id, correlation_id: question.correlation_id,
      custom: Gateway::V1::CustomData.new(json: Google::Protobuf::Struct.from_hash({ 'text' => text }))
    )
  ])
rescue GatewayError => e # who asked may be gone
  warn "question #{question.id}: #{e.message}"
end

def main(agent = 'lookup', client_id = 'worker-ruby')
  address, token = ENV.values_at('GATEWAYD_ADDRESS', 'GATEWAYD_TOKEN')
  abort 'set GATEWAYD_ADDRESS and GATEWAYD_TOKEN' unless address && token

  over = Queue.new # gets why: a signal, or the error of a daemon that will not have us, or not our agent
  %w[INT TERM].each { |signal| trap(signal) { over << nil } }
  on_error = ->(error) { over << error } # whoever starts us decides when to try again
  connection = nil
  on_addressed = lambda do |event|
    is_question = event.target == agent && event.custom_type == 'order.asked' && !event.correlation_id.empty?
    answer_event(connection, event) if is_question
  end
  connection = Connection.new(address: address, token: token, client_id: client_id, client_version: 'ruby-worker/1',
                              on_failure: on_error, on_addressed: on_addressed)
  connection.serve(agent, on_end: on_error) do |call, answer|
    look_up(connection, call, answer)
    say(step: 'answered', call: call.call_id, resumed: connection.resumed)
  rescue Cancelled # nobody waits for it any more
    say(step: 'cancelled', call: call.call_id)
    raise
  end
  say(step: 'registered', agent: agent)
  error = over.pop
  connection.close
  raise error if error
rescue GatewayError => e
  abort e.message
end

main(*ARGV)
