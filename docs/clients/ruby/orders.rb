# frozen_string_literal: true

require 'google/protobuf/well_known_types'
require 'gateway/v1/event_pb'
require 'timeout'

# What the example publishes.
module Orders
  module_function

  def topic(client) = "examples.#{client}.orders"

  def content(publisher, number)
    {
      'publisher' => publisher,
      'number' => number,
      'text' => "Order № #{number}: Grüße, 東京 🚀",
      'lines' => [{ 'sku' => "A-#{number}", 'price' => number / 4.0, 'paid' => number.even?, 'note' => nil }]
    }
  end

  def order(client, run, number)
    event(client, "#{client}-#{run}-#{number}", 'order.created', content(client, number))
  end

  # The last event of a run: the log is in order, so whatever is missing when it comes will not come any more.
  def end_of(client, run) = event(client, "#{client}-#{run}-end", 'orders.ended', { 'run' => run })

  # A durable event of our own type. Its id makes publishing it twice harmless; ids are per principal, so it has to be
  # unlike those of every other run.
  def event(client, id, type, data)
    custom = Gateway::V1::CustomData.new(json: Google::Protobuf::Struct.from_hash(data))
    Gateway::V1::Event.new(id: id, type: :EVENT_TYPE_CUSTOM, custom_type: type, topic: topic(client), custom: custom)
  end
end

# The judgement over what came back.
class Tally
  PATIENCE = 90 # seconds

  def initialize
    @mutex = Mutex.new
    @changed = ConditionVariable.new
    @numbers = Hash.new { |hash, publisher| hash[publisher] = [] } # as they came
    @ends = []
    @damaged = 0
  end

  def take(event)
    data = event.custom.json.to_h
    @mutex.synchronize do
      if event.custom_type == 'orders.ended'
        @ends << data['run']
      else
        publisher, number = data.values_at('publisher', 'number')
        @damaged += 1 if data != Orders.content(publisher, number.to_i)
        @numbers[publisher] << number.to_i
      end
      @changed.broadcast
    end
  end

  # Nothing more will come: whoever waits gets the error.
  def abandon(error)
    @mutex.synchronize do
      @failure = error
      @changed.broadcast
    end
  end

  # Waits until the order with that number has come; returns at once for 0.
  def reached(publisher, number)
    wait("order #{number} of #{publisher}") { number.zero? || @numbers[publisher].include?(number) }
  end

  def ended(run)
    wait('the end') { @ends.include?(run) }
  end

  # expected: publisher → how many orders, numbered from 1.
  def judge(expected)
    faults = { missing: 0, doubled: 0, disordered: 0, damaged: @damaged }
    expected.each do |publisher, count|
      numbers = @numbers[publisher]
      faults[:missing] += ((1..count).to_a - numbers).size
      faults[:doubled] += numbers.size - numbers.uniq.size
      faults[:disordered] += numbers.each_cons(2).count { |before, after| after < before }
    end
    faults
  end

  private

  def wait(what)
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + PATIENCE
    @mutex.synchronize do
      until yield
        raise @failure if @failure

        left = deadline - Process.clock_gettime(Process::CLOCK_MONOTONIC)
        raise Timeout::Error, "#{what} did not come in #{PATIENCE} s" if left <= 0

        @changed.wait(@mutex, left)
      end
    end
  end
end
