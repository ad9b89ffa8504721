# frozen_string_literal: true

# For the user to read; of any other error of a worker the user learns only that it happened.
class CannotAnswer < StandardError; end

# Nobody waits for the answer any more.
class Cancelled < StandardError; end

# The answer to one call, for the block that gives it: piece by piece.
class Answer
  # reply: takes the fields of a call_reply, and returns once the daemon has it.
  def initialize(reply)
    @reply = reply
    @offset = 0 # in code points, as every language can count them
    @cancelled = Queue.new # closed then
  end

  # Returns once the daemon has the piece, however many connections that takes. The offset makes it harmless to say it
  # twice, which happens when the connection is lost: every new one registers first, then says it again.
  def <<(text)
    raise Cancelled if @cancelled.closed?

    @reply.call(content: text, offset: @offset)
    @offset += text.length
    self
  rescue GatewayError => e
    raise e.reason == :ERROR_REASON_NOT_FOUND || @cancelled.closed? ? Cancelled : e
  end

  # The last word: all of it is said, or what went wrong, in a sentence for the user.
  def finish(error: nil)
    @reply.call(offset: @offset, final: error.nil?, error: error.to_s)
  rescue GatewayError => e
    warn "the last word on a call was not taken: #{e.message}" unless e.reason == :ERROR_REASON_NOT_FOUND
  end

  # As `sleep`, but raises Cancelled as soon as nobody waits any more.
  def pause(seconds)
    Timeout.timeout(seconds) { @cancelled.pop }
    raise Cancelled
  rescue Timeout::Error
    self
  end

  def cancel = @cancelled.close
end

# Answering for agents: the part of Connection that makes it a worker.
module Serving
  V1 = Gateway::V1

  # An agent that this client answers for.
  Served = Struct.new(:block, :on_end)

  # Makes this client a worker; returns once the daemon has accepted it. The block gets each call and its Answer, in a
  # thread of its own; the answer ends with the block.
  # on_end: called with the GatewayError when a reload took the agent away from its workers; nothing of it is left to
  # answer then.
  def serve(agent, on_end: nil, &block)
    @mutex.synchronize { @agents[agent] = Served.new(block, on_end) }
    hold(-> { { register_agent: V1::RegisterAgent.new(agent: agent, notify_end: !on_end.nil?) } })
  end

  private

  # An agent is not ours any more.
  def ended(agent, error)
    drop { |standing| standing.frame.call[:register_agent]&.agent == agent }
    served = @mutex.synchronize { @agents.delete(agent) }
    served&.on_end&.call(error)
  end

  def called(call)
    block, answer = @mutex.synchronize do
      next if @calls.key?(call.call_id) # told again after a cut: it is being answered

      @calls[call.call_id] = Answer.new(->(**fields) { ask({ call_reply: V1::CallReply.new(call_id: call.call_id, **fields) }) })
      [@agents[call.agent]&.block, @calls[call.call_id]]
    end
    Thread.new { respond(call, block, answer) } if block
  end

  def cancelled(call_id) = @mutex.synchronize { @calls[call_id] }&.cancel

  def respond(call, block, answer)
    block.call(call, answer)
    answer.finish
  rescue Cancelled
    nil
  rescue CannotAnswer => e
    answer.finish(error: e.message)
  rescue StandardError => e
    warn "call #{call.call_id}: #{e.full_message}"
    answer.finish(error: 'Something went wrong inside the agent.')
  ensure
    @mutex.synchronize { @calls.delete(call.call_id) }
  end
end
