#include "connection.h"

#include <algorithm>
#include <utility>

#include "link.h"
#include "serving.h"

namespace example {

namespace {

using gateway::v1::ConnectRequest;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr auto kSteady = std::chrono::seconds(1);  // after which a connection counts as good

}  // namespace

Connection::Connection(Options options, OnFailure on_failure, OnEvent on_addressed)
    : options_(std::move(options)),
      on_failure_(std::move(on_failure)),
      on_addressed_(std::move(on_addressed)),
      listening_([this] { Listen(); }),
      thread_([this] { Run(); }) {}

Connection::~Connection() {
  Fail(GatewayError(grpc::CANCELLED, "the connection was closed"));
  thread_.join();
  listening_.join();
  calls_.clear();  // waits for those that are being answered; they have been cancelled
}

void Connection::Subscribe(const std::string& id, const gateway::v1::EventFilter& filter, OnEvent on_event) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    subscriptions_[id].on_event = std::move(on_event);
  }
  Hold(
      [this, id, filter] {
        ConnectRequest frame;
        frame.mutable_subscribe()->set_subscription_id(id);
        *frame.mutable_subscribe()->mutable_filter() = filter;
        frame.mutable_subscribe()->set_since(subscriptions_[id].cursor);
        return frame;
      },
      [this, id](const gateway::v1::Accepted& accepted) { Advance(std::vector<std::string>{id}, accepted.cursor()); });
}

std::string Connection::Publish(const std::vector<gateway::v1::Event>& events) {
  ConnectRequest frame;
  for (const auto& event : events) {
    // Without an id it would be stored twice if its answer were lost.
    if (event.id().empty() && !event.ephemeral()) throw GatewayError(grpc::INVALID_ARGUMENT, "an event needs an id");
    *frame.mutable_publish()->add_events() = event;
  }
  return Ask(std::move(frame)).accepted.cursor();
}

gateway::v1::Reply Connection::Send(gateway::v1::Send send, OnPartial on_partial) {
  // Without a key the agent would run twice if the answer were lost.
  if (send.idempotency_key().empty()) throw GatewayError(grpc::INVALID_ARGUMENT, "a send needs an idempotency key");
  send.set_partial_replies(on_partial != nullptr);
  ConnectRequest frame;
  *frame.mutable_send() = std::move(send);
  return Ask(std::move(frame), std::move(on_partial)).reply;
}

Stats Connection::stats() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return stats_;
}

std::optional<GatewayError> Connection::failure() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return failure_;
}

// Requests

// Says a frame on this and every later connection, and returns once it is accepted for the first time. What is refused
// then is not said again.
void Connection::Hold(std::function<ConnectRequest()> frame, std::function<void(const gateway::v1::Accepted&)> on_accepted) {
  auto first = std::make_shared<std::promise<Answer>>();
  auto answer = first->get_future();
  auto standing = std::make_shared<Standing>();
  standing->frame = std::move(frame);
  standing->on_answer = [this, on_accepted = std::move(on_accepted), first, self = standing.get()](const Answer& answer) mutable {
    if (!answer.error) on_accepted(answer.accepted);
    std::unique_lock<std::mutex> lock(mutex_);
    auto waiting = std::exchange(first, nullptr);
    if (waiting && answer.error) Drop([self](const Standing& other) { return &other == self; });
    lock.unlock();
    if (waiting) {
      waiting->set_value(answer);
    } else if (answer.error) {
      // HISTORY_LOST, for one: only the application knows how to go on without those events.
      Fail(*answer.error);
    }
  };
  Stand(std::move(standing));
  if (answer.wait_for(patience) != std::future_status::ready) {
    throw GatewayError(grpc::DEADLINE_EXCEEDED, "no answer in time");
  }
  if (auto got = answer.get(); got.error) throw *got.error;
}

Connection::Answer Connection::Ask(ConnectRequest frame, OnPartial on_partial) {
  auto request = std::make_shared<Request>();
  request->frame = std::move(frame);
  request->on_partial = std::move(on_partial);
  auto answer = request->answer.get_future();
  std::shared_ptr<Link> link;
  uint64_t id;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (failure_) throw *failure_;
    id = Add(request);
    link = link_;
  }
  if (link) link->Write({request->frame});
  if (answer.wait_for(patience) != std::future_status::ready) {
    std::lock_guard<std::mutex> lock(mutex_);
    requests_.erase(id);
    throw GatewayError(grpc::DEADLINE_EXCEEDED, "no answer in time");
  }
  Answer got = answer.get();
  if (got.error) throw *got.error;
  return got;
}

// Names and keeps a request. An id is never used twice: replies that a connection left behind come on the next under
// the id that they had. Needs the lock.
uint64_t Connection::Add(std::shared_ptr<Request> request) {
  request->frame.set_request_id(std::to_string(++last_request_));
  requests_[last_request_] = std::move(request);
  return last_request_;
}

void Connection::Stand(std::shared_ptr<Standing> standing) {
  std::shared_ptr<Link> link;
  Frames frames;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (failure_) throw *failure_;
    standing_.push_back(standing);
    link = link_;
    if (link) frames.push_back(Say(standing));
  }
  if (link) link->Write(frames);
}

// Later connections do not say it any more. Needs the lock.
void Connection::Drop(const std::function<bool(const Standing&)>& is_it) {
  const auto found = std::find_if(standing_.begin(), standing_.end(), [&](const auto& one) { return is_it(*one); });
  if (found != standing_.end()) standing_.erase(found);
}

// The frame of a standing thing for this connection. Needs the lock.
ConnectRequest Connection::Say(const std::shared_ptr<Standing>& standing) {
  auto request = std::make_shared<Request>();
  request->frame = standing->frame();
  request->standing = standing;
  Add(request);
  return request->frame;
}

// The connection

void Connection::Run() {
  for (;;) {
    auto began = Clock::now();
    GatewayError end = Converse();
    if (end.fatal) Fail(end);
    std::unique_lock<std::mutex> lock(mutex_);
    if (Clock::now() - began >= kSteady) attempts_ = 0;
    if (closed_.wait_for(lock, Backoff(end.retry_after), [this] { return is_closed_; })) return;
  }
}

// Nothing will come any more: everybody who waits learns why.
void Connection::Fail(const GatewayError& error) {
  std::map<uint64_t, std::shared_ptr<Request>> requests;
  std::vector<std::shared_ptr<Standing>> standing;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (is_closed_) return;
    is_closed_ = true;
    failure_ = error;
    requests.swap(requests_);
    standing.swap(standing_);
    if (dialled_) dialled_->context.TryCancel();
    for (const auto& [id, turn] : calls_) turn.answering->Cancel();
  }
  closed_.notify_all();
  arrived_.notify_all();
  for (const auto& one : standing) one->on_answer({{}, {}, error});
  for (const auto& [id, request] : requests) {
    if (!request->standing) request->answer.set_value({{}, {}, error});
  }
  on_failure_();
}

// From half of the step to all of it, so that a thousand clients of a restarted daemon do not come back at once. Needs
// the lock.
milliseconds Connection::Backoff(milliseconds at_least) {
  auto step = std::min(30'000, 100 << std::min(attempts_++, 10));
  std::uniform_int_distribution<int> chance(step / 2, step);
  return std::max(at_least, milliseconds(chance(random_)));
}

}  // namespace example
