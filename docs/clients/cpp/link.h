#pragma once

#include <memory>
#include <mutex>

#include "connection.h"

namespace example {

// One connection. grpc allows one writer and one reader at a time.
struct Connection::Link {
  grpc::ClientContext context;
  std::unique_ptr<gateway::v1::EventService::Stub> stub;
  std::unique_ptr<grpc::ClientReaderWriter<gateway::v1::ConnectRequest, gateway::v1::ConnectResponse>> stream;

  void Write(const Frames& frames) {
    std::lock_guard<std::mutex> lock(writing_);
    for (const auto& frame : frames) {
      if (is_finished_ || !stream->Write(frame)) return;  // the next connection says it again
    }
  }

  // Why the stream has ended; nothing may be written after it.
  grpc::Status Finish() {
    std::lock_guard<std::mutex> lock(writing_);
    is_finished_ = true;
    return stream->Finish();
  }

 private:
  std::mutex writing_;
  bool is_finished_ = false;
};

template <typename Ids>
void Connection::Advance(const Ids& subscription_ids, const std::string& cursor) {
  if (cursor.empty()) return;  // all of it was ephemeral
  std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& id : subscription_ids) {
    auto found = subscriptions_.find(id);
    if (found != subscriptions_.end()) found->second.cursor = cursor;
  }
}

}  // namespace example
