// One conversation with gatewayd that outlives its connections.
//
// The stream may break at any time. What then has to be said again is kept here: the subscriptions, each with the
// cursor behind the last event that was handled, and the requests that have no answer yet. Saying a request twice is
// safe, because every event has an id and every send an idempotency key: the daemon knows what it has taken.

#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "errors.h"
#include "gateway/v1/event_service.grpc.pb.h"

namespace example {

struct Options {
  std::string address;  // HOST:PORT
  std::string token;    // crosses the network as it is: beyond loopback, use grpc::SslCredentials
  std::string client_id;
  std::string client_version;
};

// How the connection has fared.
struct Stats {
  int connections = 0;            // welcomes so far
  int resumed = 0;                // how many of them took up the connection before
  std::vector<std::string> lost;  // why subscriptions ended with those
};

class Answering;  // serving.h

class Connection {
 public:
  using OnEvent = std::function<void(const gateway::v1::Event&)>;
  using OnPartial = std::function<void(const gateway::v1::Reply&)>;
  using OnFailure = std::function<void()>;
  using OnEnd = std::function<void(const GatewayError&)>;
  using Answerer = std::function<void(const gateway::v1::Call&, Answering&)>;

  // Connects in a thread of its own, which also runs all callbacks but one. `on_failure` is called once, when the daemon
  // will not have us; `failure` then says why. `on_addressed` gets what is for this client itself, or for an agent that
  // it answers for, and comes by no subscription: heartbeats, broadcasts, events with a target. It has a thread of its
  // own, so that it may wait for the daemon.
  Connection(Options options, OnFailure on_failure, OnEvent on_addressed = nullptr);
  ~Connection();

  // Each returns when the daemon has answered, and throws GatewayError: what it says, or DEADLINE_EXCEEDED after
  // `patience`, however many connections that took.

  // `on_event` gets every event that the filter selects, across connections; the cursor moves on when it has returned.
  // A reader that is too slow is told so and begins again at its cursor.
  void Subscribe(const std::string& id, const gateway::v1::EventFilter& filter, OnEvent on_event);
  // The durable events are on disk then; returns the place of the last one. Each of them must have an id.
  std::string Publish(const std::vector<gateway::v1::Event>& events);
  // Returns the final reply. `on_partial` gets the text as it is produced; after a cut, `offset` says where a piece
  // belongs, and the final reply has the whole. The send must have an idempotency key.
  gateway::v1::Reply Send(gateway::v1::Send send, OnPartial on_partial = nullptr);
  // Makes this client a worker. `answer` gets each call, in a thread of its own; the answer ends when it has returned.
  // `on_end` hears that a reload took the agent away from its workers; nothing of it is left to answer then.
  void Serve(const std::string& agent, Answerer answer, OnEnd on_end = nullptr);

  Stats stats() const;
  std::optional<GatewayError> failure() const;

  std::chrono::milliseconds patience = std::chrono::seconds(30);

 private:
  struct Link;
  struct Answer {
    gateway::v1::Accepted accepted;
    gateway::v1::Reply reply;
    std::optional<GatewayError> error;
  };
  // What every new connection is told first.
  struct Standing {
    std::function<gateway::v1::ConnectRequest()> frame;
    std::function<void(const Answer&)> on_answer;
  };
  struct Subscription {
    std::string cursor;
    OnEvent on_event;
  };
  // Kept until it is answered.
  struct Request {
    gateway::v1::ConnectRequest frame;
    std::promise<Answer> answer;
    OnPartial on_partial;
    bool accepted = false;               // a send whose reply is to follow
    std::shared_ptr<Standing> standing;  // its answer belongs to one connection alone
  };
  // An agent that this client answers for.
  struct Served {
    Answerer answer;
    OnEnd on_end;
  };
  // A call that is being answered.
  struct Turn {
    std::shared_ptr<Answering> answering;
    std::future<void> thread;
  };
  using Frames = std::vector<gateway::v1::ConnectRequest>;
  friend class Answering;

  void Run();
  GatewayError Converse();
  std::optional<GatewayError> Take(const gateway::v1::ConnectResponse& frame, const std::shared_ptr<Link>& link);
  void Welcomed(const gateway::v1::Welcome& welcome, const std::shared_ptr<Link>& link);
  void Note(const gateway::v1::Welcome& welcome);
  void Deliver(const gateway::v1::Delivery& delivery);
  void Settle(const std::string& request_id, Answer answer);
  void OnReply(const std::string& request_id, const gateway::v1::Reply& reply);
  template <typename Ids>
  void Advance(const Ids& subscription_ids, const std::string& cursor);

  void Addressed(const gateway::v1::Delivery& delivery);
  void Listen();

  void Ended(const gateway::v1::RegistrationEnded& ended);
  void Called(const gateway::v1::Call& call);
  void Cancelled(const std::string& call_id);
  void Respond(const gateway::v1::Call& call, const Answerer& answer, Answering& answering);

  Answer Ask(gateway::v1::ConnectRequest frame, OnPartial on_partial = nullptr);
  void Hold(std::function<gateway::v1::ConnectRequest()> frame, std::function<void(const gateway::v1::Accepted&)> on_accepted);
  void Stand(std::shared_ptr<Standing> standing);
  void Drop(const std::function<bool(const Standing&)>& is_it);
  gateway::v1::ConnectRequest Say(const std::shared_ptr<Standing>& standing);
  uint64_t Add(std::shared_ptr<Request> request);
  void Fail(const GatewayError& error);
  std::chrono::milliseconds Backoff(std::chrono::milliseconds at_least);

  const Options options_;
  const OnFailure on_failure_;
  const OnEvent on_addressed_;
  // Kept, because gRPC shuts down, in threads of its own, whenever the last of its objects goes: that would be after
  // each connection, while the next is dialled.
  const std::shared_ptr<grpc::ChannelCredentials> credentials_ = grpc::InsecureChannelCredentials();
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable closed_;
  bool is_closed_ = false;
  std::optional<GatewayError> failure_;
  Stats stats_;
  std::shared_ptr<Link> link_;  // welcomed, else null
  std::shared_ptr<Link> dialled_;
  std::string resume_token_;
  std::vector<std::shared_ptr<Standing>> standing_;
  std::map<std::string, Subscription> subscriptions_;
  std::map<uint64_t, std::shared_ptr<Request>> requests_;  // in the order in which they were said first
  std::deque<gateway::v1::Event> addressed_;               // those that wait for `on_addressed`
  std::condition_variable arrived_;
  std::map<std::string, Served> agents_;
  std::map<std::string, Turn> calls_;  // by call id
  uint64_t last_request_ = 0;
  int attempts_ = 0;
  std::mt19937 random_{std::random_device{}()};
  std::thread listening_;
  std::thread thread_;
};

}  // namespace example
