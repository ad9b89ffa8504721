// Answering for agents: the part of Connection that makes it a worker.

#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>

#include "connection.h"

namespace example {

// Thrown by an answerer for the user to read; of any other exception the user learns only that it happened.
struct CannotAnswer : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Thrown to an answerer when nobody waits for its answer any more.
struct NobodyWaits : std::runtime_error {
  NobodyWaits() : std::runtime_error("the call was cancelled") {}
};

// The answer to one call, for whoever gives it: piece by piece, in one thread.
class Answering {
 public:
  Answering(Connection& connection, std::string call_id) : connection_(connection), call_id_(std::move(call_id)) {}

  // Returns once the daemon has the piece, however many connections that takes. Throws NobodyWaits.
  void Say(const std::string& text);
  // Sleeps, but throws NobodyWaits as soon as nobody waits any more.
  void Pause(std::chrono::milliseconds duration);

 private:
  friend class Connection;

  void Cancel();
  bool is_cancelled();
  // The last word: all of it is said, or what went wrong, in a sentence for the user.
  void Finish(const std::string& error = "");
  // False if nobody waits for it.
  bool Reply(const std::string& text, bool is_final, const std::string& error);

  Connection& connection_;
  const std::string call_id_;
  int64_t offset_ = 0;  // in code points, as every language can count them
  std::mutex mutex_;    // guards what follows
  std::condition_variable changed_;
  bool is_cancelled_ = false;
  std::atomic<bool> is_finished_ = false;  // needs no lock
};

}  // namespace example
