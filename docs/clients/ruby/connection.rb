# frozen_string_literal: true

require 'securerandom'
require 'timeout'
require_relative 'errors'
require_relative 'link'
require_relative 'serving'

# One conversation with gatewayd that outlives its connections.
#
# The stream may break at any time. What then has to be said again is kept here: the subscriptions, each with the cursor
# behind the last event that was handled, and the requests that have no answer yet. Saying a request twice is safe,
# because every event has an id and every send an idempotency key: the daemon knows what it has taken.
class Connection
  include Link
  include Serving

  REQUEST = 30 # seconds for an answer, however many connections that takes
  STEADY = 1 # seconds after which a connection counts as good

  Subscription = Struct.new(:cursor, :on_event)
  # What every new connection is told first.
  Standing = Struct.new(:frame, :on_answer)
  # Kept until it is answered. `standing`: its answer belongs to one connection alone.
  Request = Struct.new(:frame, :answer, :on_partial, :accepted, :standing)

  # Welcomes so far, how many of them took up the connection before, and why subscriptions ended with those.
  attr_reader :connections, :resumed, :lost

  # address: HOST:PORT. The token crosses the network as it is: beyond loopback, use GRPC::Core::ChannelCredentials.
  # on_failure: called with the GatewayError when the daemon will not have us.
  # on_addressed: called with what is for this client itself, or for an agent that it answers for, and comes by no
  # subscription: heartbeats, broadcasts, events with a target. In a thread of its own, so that it may wait for the daemon.
  def initialize(address:, token:, client_id:, client_version: '', on_failure: ->(_error) {}, on_addressed: ->(_event) {})
    @address = address
    @token = token
    @identity = { client_id: client_id, client_version: client_version, protocol_min: PROTOCOL, protocol_max: PROTOCOL }
    @on_failure = on_failure
    @on_addressed = on_addressed
    @addressed = Queue.new # those that wait for that
    @mutex = Mutex.new # guards what follows
    @connections = @resumed = @last_request = @attempts = 0
    @lost = []
    @standing = []
    @subscriptions = {}
    @requests = {} # by request id, in the order in which they were said first
    @agents = {} # each that this client answers for
    @calls = {} # by call id: the Answer of each that is being answered
    @resume_token = ''
    @outgoing = nil # the queue of the welcomed connection, else nil
    @closing = Queue.new
    @threads = [Thread.new { run }, Thread.new { listen }]
  end

  def close
    failed(GatewayError.new('the connection was closed', code: GRPC::Core::StatusCodes::CANCELLED))
    @threads.each(&:join)
  end

  # Returns once it is accepted. The block gets every event that the filter selects, across connections, in the thread of
  # the connection; the cursor moves on when it has returned. A reader that is too slow is told so and begins again at
  # its cursor.
  def subscribe(id, filter, &on_event)
    subscription = Subscription.new('', on_event)
    @mutex.synchronize { @subscriptions[id] = subscription }
    frame = -> { { subscribe: V1::Subscribe.new(subscription_id: id, filter: filter, since: subscription.cursor) } }
    hold(frame) { |accepted| subscription.cursor = accepted.cursor }
  end

  # Returns once the events are taken, and the durable ones on disk: its cursor is the place of the last of those.
  def publish(events)
    # Without an id it would be stored twice if its answer were lost.
    events.each { |event| event.id = SecureRandom.uuid if event.id.empty? }
    ask({ publish: V1::Publish.new(events: events) })
  end

  # Returns the final reply. The block gets the text as it is produced; after a cut, `offset` says where a piece belongs,
  # and the final reply has the whole.
  def send_message(agent:, text:, key: SecureRandom.uuid, &on_partial)
    # Without the key the agent would run twice if the answer were lost.
    send = V1::Send.new(agent: agent, text: text, idempotency_key: key, partial_replies: !on_partial.nil?)
    ask({ send: send }, &on_partial)
  end

  private

  # Requests

  # Says a frame on this and every later connection, and returns once it is accepted for the first time. What is refused
  # then is not said again.
  def hold(frame, &on_accepted)
    first = waiting = Queue.new
    standing = Standing.new(frame)
    standing.on_answer = lambda do |answer|
      on_accepted&.call(answer) if answer.is_a?(V1::Accepted)
      if first
        drop { |other| other.equal?(standing) } if answer.is_a?(GatewayError)
        first << answer
        first = nil
      elsif answer.is_a?(GatewayError)
        failed(answer) # HISTORY_LOST, for one: only the application knows how to go on without those events
      end
    end
    @mutex.synchronize do
      raise @failure if @failure

      @standing << standing
      @outgoing&.push(say(standing))
    end
    result(waiting)
  end

  # Later connections do not say what the block finds any more. A new list: who goes through the old one is not disturbed.
  def drop(&is_it)
    @mutex.synchronize { @standing = @standing.reject(&is_it) }
  end

  def ask(frame, &on_partial)
    answer = Queue.new
    request = Request.new(V1::ConnectRequest.new(**frame), answer, on_partial)
    @mutex.synchronize do
      raise @failure if @failure

      add(request)
      @outgoing&.push(request.frame)
    end
    result(answer)
  ensure
    @mutex.synchronize { @requests.delete(request.frame.request_id) } if request
  end

  # Waits for an answer and gives it, or raises what it is.
  def result(queue)
    answer = Timeout.timeout(REQUEST) { queue.pop }
    raise answer if answer.is_a?(GatewayError)

    answer
  rescue Timeout::Error
    raise GatewayError.new('no answer in time', code: GRPC::Core::StatusCodes::DEADLINE_EXCEEDED)
  end

  # Names and keeps a request. An id is never used twice: replies that a connection left behind come on the next under
  # the id that they had. Needs the lock.
  def add(request)
    request.frame.request_id = (@last_request += 1).to_s
    @requests[request.frame.request_id] = request
    request.frame
  end

  # The frame of a standing thing for this connection. Needs the lock.
  def say(standing)
    add(Request.new(V1::ConnectRequest.new(**standing.frame.call), nil, nil, false, standing))
  end

  # The connection

  def run
    loop do
      began = now
      failure = converse
      failed(failure) if failure.fatal?
      @attempts = 0 if now - began >= STEADY
      break if closed_within?(backoff(failure.retry_after))
    end
  end

  def listen
    while (event = @addressed.pop)
      @on_addressed.call(event)
    end
  rescue StandardError => e
    failed(failure_of_block(e))
  end

  # Nothing will come any more: everybody who waits learns why.
  def failed(error)
    requests, standing, calls = @mutex.synchronize do
      return if @failure

      @failure = error
      @call&.cancel
      [@requests.values.reject(&:standing), @standing, @calls.values]
    end
    calls.each(&:cancel)
    @closing << true
    @addressed << nil # ends the listener
    requests.each { |request| request.answer << error }
    standing.each { |one| one.on_answer.call(error) }
    @on_failure.call(error)
  end

  def closed_within?(seconds)
    Timeout.timeout(seconds) { @closing.pop }
  rescue Timeout::Error
    false
  end

  # From half of the step to all of it, so that a thousand clients of a restarted daemon do not come back at once.
  def backoff(at_least)
    step = [30, 0.1 * (2**[@attempts, 10].min)].min
    @attempts += 1
    [at_least, step * (0.5 + (rand / 2))].max
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
