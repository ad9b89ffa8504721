#include "serving.h"

#include <algorithm>
#include <iostream>
#include <utility>

namespace example {

namespace {

// Of UTF-8: every byte but those that go on with a character.
int64_t CodePoints(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xC0) != 0x80; });
}

}  // namespace

void Answering::Say(const std::string& text) {
  if (is_cancelled() || !Reply(text, false, "")) throw NobodyWaits();
  offset_ += CodePoints(text);
}

void Answering::Pause(std::chrono::milliseconds duration) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (changed_.wait_for(lock, duration, [this] { return is_cancelled_; })) throw NobodyWaits();
}

void Answering::Cancel() {
  std::lock_guard<std::mutex> lock(mutex_);
  is_cancelled_ = true;
  changed_.notify_all();
}

bool Answering::is_cancelled() {
  std::lock_guard<std::mutex> lock(mutex_);
  return is_cancelled_;
}

void Answering::Finish(const std::string& error) { Reply("", error.empty(), error); }

bool Answering::Reply(const std::string& text, bool is_final, const std::string& error) {
  gateway::v1::ConnectRequest frame;
  auto* reply = frame.mutable_call_reply();
  reply->set_call_id(call_id_);
  reply->set_content(text);
  // Makes it harmless to say it twice, which happens when the connection is lost: every new one registers first, then
  // says it again.
  reply->set_offset(offset_);
  reply->set_final(is_final);
  reply->set_error(error);
  try {
    connection_.Ask(std::move(frame));
  } catch (const GatewayError& refusal) {
    if (refusal.reason != gateway::v1::ERROR_REASON_NOT_FOUND && !is_cancelled()) throw;
    return false;
  }
  return true;
}

void Connection::Serve(const std::string& agent, Answerer answer, OnEnd on_end) {
  const bool notify_end = on_end != nullptr;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    agents_[agent] = {std::move(answer), std::move(on_end)};
  }
  Hold(
      [agent, notify_end] {
        gateway::v1::ConnectRequest frame;
        frame.mutable_register_agent()->set_agent(agent);
        frame.mutable_register_agent()->set_notify_end(notify_end);
        return frame;
      },
      [](const gateway::v1::Accepted&) {});
}

// An agent is not ours any more.
void Connection::Ended(const gateway::v1::RegistrationEnded& ended) {
  OnEnd on_end;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto found = agents_.find(ended.agent());
    if (found == agents_.end()) return;
    on_end = std::move(found->second.on_end);
    agents_.erase(found);
    Drop([&](const Standing& one) { return one.frame().register_agent().agent() == ended.agent(); });
  }
  if (on_end) on_end(GatewayError(ended.error()));
}

void Connection::Called(const gateway::v1::Call& call) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (auto it = calls_.begin(); it != calls_.end();) {  // a finished one has its thread at the end: joining takes no time
    it = it->second.answering->is_finished_ ? calls_.erase(it) : std::next(it);
  }
  auto agent = agents_.find(call.agent());
  if (is_closed_ || agent == agents_.end() || calls_.count(call.call_id())) return;  // told again: it is being answered
  auto answering = std::make_shared<Answering>(*this, call.call_id());
  auto respond = [this, call, answer = agent->second.answer, answering] { Respond(call, answer, *answering); };
  calls_[call.call_id()] = {answering, std::async(std::launch::async, std::move(respond))};
}

void Connection::Cancelled(const std::string& call_id) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = calls_.find(call_id);
  if (found != calls_.end()) found->second.answering->Cancel();
}

void Connection::Respond(const gateway::v1::Call& call, const Answerer& answer, Answering& answering) {
  try {
    try {
      answer(call, answering);
      answering.Finish();
    } catch (const NobodyWaits&) {
    } catch (const CannotAnswer& sorry) {
      answering.Finish(sorry.what());
    } catch (const std::exception& error) {
      std::cerr << "call " << call.call_id() << ": " << error.what() << std::endl;
      answering.Finish("Something went wrong inside the agent.");
    }
  } catch (const GatewayError& refusal) {
    std::cerr << "call " << call.call_id() << ": its end was not taken: " << refusal.what() << std::endl;
  }
  answering.is_finished_ = true;
}

}  // namespace example
