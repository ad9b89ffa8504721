// Refusals of the gateway, and what each means for the connection.

#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <stdexcept>
#include <string>

#include "gateway/v1/error.pb.h"

namespace example {

struct GatewayError : std::runtime_error {
  // Wrong token, too few scopes, a newer process under our client id (ABORTED, CONNECTION_REPLACED), another protocol:
  // the same hello would only be refused again. Everything else is worth another try.
  static bool IsFatal(grpc::StatusCode code) {
    switch (code) {
      case grpc::UNAUTHENTICATED:
      case grpc::PERMISSION_DENIED:
      case grpc::INVALID_ARGUMENT:
      case grpc::FAILED_PRECONDITION:
      case grpc::UNIMPLEMENTED:
      case grpc::ABORTED:
        return true;
      default:
        return false;
    }
  }

  GatewayError(grpc::StatusCode the_code, const std::string& message)
      : std::runtime_error(message + " (code " + std::to_string(the_code) + ")"), code(the_code), fatal(IsFatal(the_code)) {}

  // An error inside a frame: programs look at `reason`, people at the message.
  explicit GatewayError(const gateway::v1::Error& error)
      : std::runtime_error(error.message() + " (" + ErrorReason_Name(error.reason()) + ")"),
        code(static_cast<grpc::StatusCode>(error.code())),
        reason(error.reason()),
        retry_after(Milliseconds(error.retry_after())),
        fatal(IsFatal(code)) {}

  // 0 for an absent one.
  static std::chrono::milliseconds Milliseconds(const google::protobuf::Duration& duration) {
    return std::chrono::milliseconds(duration.seconds() * 1000 + duration.nanos() / 1000000);
  }

  grpc::StatusCode code;
  gateway::v1::ErrorReason reason = gateway::v1::ERROR_REASON_UNSPECIFIED;
  std::chrono::milliseconds retry_after{0};
  bool fatal;
};

}  // namespace example
