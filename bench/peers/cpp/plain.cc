// A peer: what a plain C++ gRPC server costs that passes events on, one in a frame, each read and written again.
//
//   plain PORT
//
// Every stream of /bench.Plain/Connect gets what the streams with `role: publisher` in their metadata send. Nothing is
// authenticated, bounded or kept.

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <deque>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>

#include "plain.grpc.pb.h"

using gateway::v1::Event;
using Shared = std::shared_ptr<const Event>;

class Subscriber;

class Hub {
 public:
  void Add(Subscriber* one) {
    std::lock_guard<std::mutex> lock(mutex_);
    subscribers_.insert(one);
  }
  void Remove(Subscriber* one) {
    std::lock_guard<std::mutex> lock(mutex_);
    subscribers_.erase(one);
  }
  void Publish(const Shared& event);

 private:
  std::mutex mutex_;
  std::unordered_set<Subscriber*> subscribers_;
};

class Subscriber : public grpc::ServerBidiReactor<Event, Event> {
 public:
  explicit Subscriber(Hub* hub) : hub_(hub) {
    hub_->Add(this);
    StartSendInitialMetadata();
    StartRead(&ignored_);
  }

  // Called with the hub's lock held, so it cannot outlive `Remove`.
  void Push(const Shared& event) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (ended_) return;
      waiting_.push_back(event);
      if (writing_) return;
      writing_ = true;
    }
    StartWrite(waiting_.front().get());
  }

  void OnWriteDone(bool ok) override {
    const Event* next = nullptr;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      waiting_.pop_front();
      writing_ = ok && !ended_ && !waiting_.empty();
      if (writing_) next = waiting_.front().get();
    }
    if (next != nullptr) StartWrite(next);
  }

  void OnReadDone(bool ok) override {
    if (ok) {
      StartRead(&ignored_);
      return;
    }
    hub_->Remove(this);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      ended_ = true;
    }
    Finish(grpc::Status::OK);
  }

  void OnDone() override { delete this; }

 private:
  Hub* hub_;
  Event ignored_;
  std::mutex mutex_;
  std::deque<Shared> waiting_;
  bool writing_ = false;
  bool ended_ = false;
};

class Publisher : public grpc::ServerBidiReactor<Event, Event> {
 public:
  explicit Publisher(Hub* hub) : hub_(hub) { Next(); }

  void OnReadDone(bool ok) override {
    if (!ok) {
      Finish(grpc::Status::OK);
      return;
    }
    event_->set_source("plain");
    event_->set_time(std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
    hub_->Publish(event_);
    Next();
  }

  void OnDone() override { delete this; }

 private:
  void Next() {
    event_ = std::make_shared<Event>();
    StartRead(event_.get());
  }

  Hub* hub_;
  std::shared_ptr<Event> event_;
};

void Hub::Publish(const Shared& event) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (Subscriber* one : subscribers_) one->Push(event);
}

class Service : public bench::Plain::CallbackService {
 public:
  grpc::ServerBidiReactor<Event, Event>* Connect(grpc::CallbackServerContext* context) override {
    const auto found = context->client_metadata().find("role");
    if (found != context->client_metadata().end() && found->second == "publisher") return new Publisher(&hub_);
    return new Subscriber(&hub_);
  }

 private:
  Hub hub_;
};

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: plain PORT\n";
    return 64;
  }
  Service service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:" + std::string(argv[1]), grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return 69;
  server->Wait();
  return 0;
}
