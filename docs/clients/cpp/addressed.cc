// What is addressed to this client itself, or to an agent that it answers for: the part of Connection that listens.

#include <utility>

#include "connection.h"

namespace example {

void Connection::Addressed(const gateway::v1::Delivery& delivery) {
  if (!on_addressed_) return;
  std::lock_guard<std::mutex> lock(mutex_);
  addressed_.insert(addressed_.end(), delivery.events().begin(), delivery.events().end());
  arrived_.notify_one();
}

void Connection::Listen() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    arrived_.wait(lock, [this] { return is_closed_ || !addressed_.empty(); });
    if (is_closed_) return;
    const gateway::v1::Event event = std::move(addressed_.front());
    addressed_.pop_front();
    lock.unlock();
    try {
      on_addressed_(event);
    } catch (const std::exception& error) {  // as of every callback
      Fail(GatewayError(grpc::INTERNAL, error.what()));
    }
    lock.lock();
  }
}

}  // namespace example
