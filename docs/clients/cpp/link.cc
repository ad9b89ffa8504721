// What happens on one connection: the other half of Connection.

#include "link.h"

#include <grpcpp/alarm.h>

#include <cstdlib>

namespace example {

namespace {

using gateway::v1::ConnectRequest;
using gateway::v1::ConnectResponse;

constexpr int kProtocol = 1;
constexpr auto kHandshake = std::chrono::seconds(10);  // from dialling to the welcome

grpc::ChannelArguments ChannelArguments() {
  grpc::ChannelArguments arguments;
  // Notices a peer that has vanished without a word.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 25'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // Each attempt dials for itself, so that there is one back-off and not two that wait for each other.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return arguments;
}

}  // namespace

// One connection from dialling to its end; returns the reason.
GatewayError Connection::Converse() {
  auto link = std::make_shared<Link>();
  auto channel = grpc::CreateCustomChannel(options_.address, credentials_, ChannelArguments());
  link->stub = gateway::v1::EventService::NewStub(channel);
  link->context.AddMetadata("authorization", "Bearer " + options_.token);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (is_closed_) return *failure_;
    dialled_ = link;
  }
  link->stream = link->stub->Connect(&link->context);
  grpc::Alarm impatience;
  impatience.Set(std::chrono::system_clock::now() + kHandshake, [link](bool has_fired) {
    if (has_fired) link->context.TryCancel();
  });
  ConnectRequest frame;
  auto* hello = frame.mutable_hello();
  hello->set_client_id(options_.client_id);
  hello->set_client_version(options_.client_version);
  hello->set_resume_token(resume_token_);
  hello->set_protocol_min(kProtocol);
  hello->set_protocol_max(kProtocol);
  link->Write({frame});

  std::optional<GatewayError> end;  // what the daemon said before it ended the stream
  ConnectResponse response;
  while (link->stream->Read(&response)) {
    if (response.has_welcome()) impatience.Cancel();
    try {
      if (auto said = Take(response, link)) end = said;
    } catch (const std::exception& error) {  // of a callback: going on would count its event as handled
      Fail(GatewayError(grpc::INTERNAL, error.what()));
    }
    if (response.has_ended()) link->context.TryCancel();
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    link_ = dialled_ = nullptr;
  }
  const grpc::Status status = link->Finish();
  if (end) return *end;
  if (status.ok()) return GatewayError(grpc::UNAVAILABLE, "the daemon has closed the connection");
  return GatewayError(status.error_code(), status.error_message());
}

// Handles a frame. Returns an error if the frame announces the end of the connection.
std::optional<GatewayError> Connection::Take(const ConnectResponse& frame, const std::shared_ptr<Link>& link) {
  switch (frame.frame_case()) {
    case ConnectResponse::kWelcome:
      Welcomed(frame.welcome(), link);
      break;
    case ConnectResponse::kRefused: {
      GatewayError refused(frame.refused().error());
      refused.fatal = frame.refused().step() != gateway::v1::RECOVERY_STEP_WAIT_THEN_RETRY;
      return refused;
    }
    case ConnectResponse::kGoodbye: {
      GatewayError goodbye(grpc::UNAVAILABLE, "goodbye: " + frame.goodbye().reason());
      goodbye.retry_after = GatewayError::Milliseconds(frame.goodbye().reconnect_after());
      return goodbye;
    }
    case ConnectResponse::kAccepted:
      Settle(frame.request_id(), {frame.accepted(), {}, {}});
      break;
    case ConnectResponse::kRejected:
      Settle(frame.request_id(), {{}, {}, GatewayError(frame.rejected().error())});
      break;
    case ConnectResponse::kReply:
      OnReply(frame.request_id(), frame.reply());
      break;
    case ConnectResponse::kDelivery:
      Deliver(frame.delivery());
      break;
    case ConnectResponse::kCall:
      Called(frame.call());
      break;
    case ConnectResponse::kCancelCall:
      Cancelled(frame.cancel_call().call_id());
      break;
    case ConnectResponse::kRegistrationEnded:
      Ended(frame.registration_ended());
      break;
    case ConnectResponse::kProgress:
      Advance(frame.progress().subscription_ids(), frame.progress().cursor());
      break;
    case ConnectResponse::kEnded:
      // The cursor is ours and not the daemon's: it knows what it has sent, we know what we have handled. A stream that
      // begins anew says the subscription again, or learns why it may not.
      return GatewayError(grpc::UNAVAILABLE, "a subscription has ended: " + EndReason_Name(frame.ended().reason()));
    default:  // a later daemon may say more than we know
      break;
  }
  return std::nullopt;
}

void Connection::Welcomed(const gateway::v1::Welcome& welcome, const std::shared_ptr<Link>& link) {
  Frames frames;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (is_closed_) return;
    link_ = link;
    Note(welcome);
    Frames kept;
    for (auto it = requests_.begin(); it != requests_.end();) {
      auto& request = *it->second;
      if (request.standing) {
        it = requests_.erase(it);
        continue;
      }
      // The reply to an accepted send follows by itself on a connection that was taken up.
      if (!(request.accepted && welcome.resumed())) kept.push_back(request.frame);
      ++it;
    }
    for (const auto& standing : standing_) frames.push_back(Say(standing));
    frames.insert(frames.end(), kept.begin(), kept.end());
  }
  link->Write(frames);
}

// Needs the lock.
void Connection::Note(const gateway::v1::Welcome& welcome) {
  resume_token_ = welcome.resume_token();
  stats_.connections += 1;
  if (welcome.resumed()) stats_.resumed += 1;
  for (const auto& lost : welcome.lost()) {
    stats_.lost.push_back(EndReason_Name(lost.reason()));
    // Where the daemon stopped sending; we may have received less. So it is second best, for a subscription that has no
    // cursor of its own yet.
    auto found = subscriptions_.find(lost.subscription_id());
    if (found != subscriptions_.end() && found->second.cursor.empty()) found->second.cursor = lost.cursor();
  }
}

void Connection::Deliver(const gateway::v1::Delivery& delivery) {
  if (delivery.subscription_ids().empty()) return Addressed(delivery);
  std::vector<OnEvent> handlers;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& id : delivery.subscription_ids()) {
      auto found = subscriptions_.find(id);
      if (found != subscriptions_.end()) handlers.push_back(found->second.on_event);
    }
  }
  for (const auto& event : delivery.events()) {
    for (const auto& on_event : handlers) on_event(event);
  }
  Advance(delivery.subscription_ids(), delivery.cursor());
}

void Connection::Settle(const std::string& request_id, Answer answer) {
  std::shared_ptr<Request> request;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto found = requests_.find(std::strtoull(request_id.c_str(), nullptr, 10));
    if (found == requests_.end()) return;  // its caller has given up, or it was answered on an earlier connection
    request = found->second;
    bool is_last = answer.error || answer.reply.final() || !request->frame.has_send();
    if (!is_last) {
      request->accepted = true;
      return;
    }
    requests_.erase(found);
  }
  if (request->standing) {
    request->standing->on_answer(answer);
  } else {
    request->answer.set_value(std::move(answer));
  }
}

void Connection::OnReply(const std::string& request_id, const gateway::v1::Reply& reply) {
  if (reply.final()) {
    Answer answer{{}, reply, {}};
    if (reply.has_error()) answer.error = GatewayError(reply.error());
    Settle(request_id, std::move(answer));
    return;
  }
  OnPartial on_partial;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto found = requests_.find(std::strtoull(request_id.c_str(), nullptr, 10));
    if (found != requests_.end()) on_partial = found->second->on_partial;
  }
  if (on_partial) on_partial(reply);
}

}  // namespace example
