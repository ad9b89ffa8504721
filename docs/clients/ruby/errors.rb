# frozen_string_literal: true

require 'grpc'

# A refusal of the gateway, and what it means for the connection.
class GatewayError < StandardError
  # Wrong token, too few scopes, a newer process under our client id (ABORTED, CONNECTION_REPLACED), another protocol: the
  # same hello would only be refused again. Everything else is worth another try.
  FATAL = [
    GRPC::Core::StatusCodes::UNAUTHENTICATED, GRPC::Core::StatusCodes::PERMISSION_DENIED,
    GRPC::Core::StatusCodes::INVALID_ARGUMENT, GRPC::Core::StatusCodes::FAILED_PRECONDITION,
    GRPC::Core::StatusCodes::UNIMPLEMENTED, GRPC::Core::StatusCodes::ABORTED
  ].freeze

  attr_reader :code, :reason, :retry_after

  def initialize(message, code: GRPC::Core::StatusCodes::UNAVAILABLE, reason: nil, retry_after: 0, fatal: FATAL.include?(code))
    super("#{message} (#{[code, reason].compact.join(', ')})")
    @code = code
    @reason = reason
    @retry_after = retry_after
    @fatal = fatal
  end

  def fatal? = @fatal

  # From a Gateway::V1::Error inside a frame: programs look at `reason`, people at the message.
  def self.from_frame(error, **more)
    new(error.message, code: error.code, reason: error.reason, retry_after: seconds(error.retry_after), **more)
  end

  # Of a Google::Protobuf::Duration; 0 if it is absent.
  def self.seconds(duration) = duration ? duration.seconds + (duration.nanos / 1e9) : 0
end
