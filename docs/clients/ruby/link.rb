# frozen_string_literal: true

require 'gateway/v1/event_service_services_pb'
require_relative 'errors'

# What happens on one connection: the other half of Connection.
module Link
  V1 = Gateway::V1
  PROTOCOL = 1
  HANDSHAKE = 10 # seconds from dialling to the welcome
  CHANNEL = {
    # Notices a peer that has vanished without a word.
    'grpc.keepalive_time_ms' => 25_000,
    'grpc.keepalive_timeout_ms' => 10_000,
    # Each attempt dials for itself, so that there is one back-off and not two that wait for each other.
    'grpc.use_local_subchannel_pool' => 1
  }.freeze

  private

  # One connection from dialling to its end; returns the reason.
  def converse
    outgoing = Queue.new
    channel = GRPC::Core::Channel.new(@address, CHANNEL, :this_channel_is_insecure)
    stub = V1::EventService::Stub.new(@address, :this_channel_is_insecure, channel_override: channel)
    outgoing << V1::ConnectRequest.new(hello: V1::Hello.new(resume_token: @resume_token, **@identity))
    frames = Enumerator.new { |sink| while (frame = outgoing.pop) do sink << frame end }
    call = stub.connect(frames, metadata: { 'authorization' => "Bearer #{@token}" }, return_op: true)
    @mutex.synchronize do
      return @failure if @failure

      @call = call
    end
    read(call, outgoing)
  ensure
    @mutex.synchronize { @outgoing = @call = nil }
    outgoing << nil # ends the writer
    channel.close
  end

  def read(call, outgoing)
    welcomed = false
    impatience = Thread.new do
      sleep HANDSHAKE
      call.cancel unless welcomed
    end
    failure = nil # what the daemon said before it ended the stream
    call.execute.each do |frame|
      welcomed ||= frame.frame == :welcome
      failure = take(frame, outgoing) || failure
      break if frame.frame == :ended
    end
    failure || GatewayError.new('the daemon has closed the connection')
  rescue GRPC::BadStatus => e
    failure || GatewayError.new(e.details, code: e.code)
  rescue GRPC::Core::CallError => e # the channel broke before the call was under way
    failure || GatewayError.new(e.message)
  rescue StandardError => e # of a block: going on would count its event as handled
    failure_of_block(e)
  ensure
    impatience.kill
    call.cancel
  end

  def failure_of_block(error)
    GatewayError.new(error.full_message, code: GRPC::Core::StatusCodes::INTERNAL, fatal: true)
  end

  # Handles a frame. Returns a GatewayError if it announces the end of the connection.
  def take(frame, outgoing)
    body = frame.public_send(frame.frame) if frame.frame # nil: a later daemon says more than we know
    case frame.frame
    when :welcome then welcomed(body, outgoing)
    when :refused then return GatewayError.from_frame(body.error, fatal: body.step != :RECOVERY_STEP_WAIT_THEN_RETRY)
    when :goodbye then return GatewayError.new("goodbye: #{body.reason}", retry_after: GatewayError.seconds(body.reconnect_after))
    when :accepted then settle(frame.request_id, body)
    when :rejected then settle(frame.request_id, GatewayError.from_frame(body.error))
    when :reply then reply(frame.request_id, body)
    when :delivery then deliver(body)
    when :call then called(body)
    when :cancel_call then cancelled(body.call_id)
    when :registration_ended then ended(body.agent, GatewayError.from_frame(body.error))
    when :progress then advance(body.subscription_ids, body.cursor)
    when :ended
      # The cursor is ours and not the daemon's: it knows what it has sent, we know what we have handled. A stream that
      # begins anew says the subscription again, or learns why it may not.
      return GatewayError.new("the subscription has ended: #{body.reason}")
    end
    nil
  end

  def welcomed(welcome, outgoing)
    @mutex.synchronize do
      note(welcome)
      @requests.delete_if { |_, request| request.standing }
      # The reply to an accepted send follows by itself on a connection that was taken up.
      kept = @requests.values.reject { |request| request.accepted && welcome.resumed }
      @standing.each { |standing| outgoing << say(standing) }
      kept.each { |request| outgoing << request.frame }
      @outgoing = outgoing
    end
  end

  # Needs the lock.
  def note(welcome)
    @resume_token = welcome.resume_token
    @connections += 1
    @resumed += 1 if welcome.resumed
    welcome.lost.each do |lost|
      @lost << lost.reason.to_s
      # Where the daemon stopped sending; we may have received less. So it is second best, for a subscription that has no
      # cursor of its own yet.
      subscription = @subscriptions[lost.subscription_id]
      subscription.cursor = lost.cursor if subscription&.cursor == ''
    end
  end

  def deliver(delivery)
    return delivery.events.each { |event| @addressed << event } if delivery.subscription_ids.empty?

    subscriptions = @mutex.synchronize { @subscriptions.values_at(*delivery.subscription_ids).compact }
    delivery.events.each { |event| subscriptions.each { |subscription| subscription.on_event.call(event) } }
    advance(delivery.subscription_ids, delivery.cursor)
  end

  def advance(subscription_ids, cursor)
    return if cursor.empty? # all of it was ephemeral

    @mutex.synchronize { @subscriptions.values_at(*subscription_ids).compact.each { |one| one.cursor = cursor } }
  end

  def settle(request_id, answer)
    request = @mutex.synchronize do
      found = @requests[request_id]
      next if found.nil? # its caller has given up, or it was answered on an earlier connection

      if found.frame.frame == :send && answer.is_a?(V1::Accepted)
        found.accepted = true # a reply follows
        next
      end
      @requests.delete(request_id)
    end
    return unless request

    request.standing ? request.standing.on_answer.call(answer) : request.answer << answer
  end

  def reply(request_id, reply)
    return settle(request_id, reply.error ? GatewayError.from_frame(reply.error) : reply) if reply.final

    request = @mutex.synchronize { @requests[request_id] }
    request&.on_partial&.call(reply)
  end
end
