// Publishes orders, reads them back and talks to an agent, and counts: whatever happens to the connection meanwhile,
// every event has to come exactly once and in order.
//
//   GATEWAYD_ADDRESS=127.0.0.1:8765 GATEWAYD_TOKEN=… client [ORDERS [ORDERS-OF-ANOTHER-PUBLISHER]]

#include <google/protobuf/util/json_util.h>

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <random>
#include <sstream>

#include "connection.h"
#include "orders.h"

namespace {

const std::string kClient = "cpp";

// One line of JSON.
void Say(const google::protobuf::Struct& line) {
  std::string text;
  auto status = google::protobuf::util::MessageToJsonString(line, &text);
  if (!status.ok()) throw std::runtime_error(std::string(status.message()));
  std::cout << text << std::endl;
}

void Step(const std::string& step, const std::string& content = "") {
  google::protobuf::Struct line;
  (*line.mutable_fields())["step"].set_string_value(step);
  if (!content.empty()) (*line.mutable_fields())["content"].set_string_value(content);
  Say(line);
}

std::string NewRun() {
  std::random_device random;
  std::ostringstream run;
  run << std::hex << random() << random();
  return run.str();
}

bool Verdict(int own, int others, const example::Faults& faults, int partials, const example::Stats& stats) {
  const bool good = faults.none() && partials > 0;
  google::protobuf::Struct line;
  auto& fields = *line.mutable_fields();
  fields["client"].set_string_value(kClient);
  fields["grpc"].set_string_value(grpc::Version());
  fields["verdict"].set_string_value(good ? "ok" : "failed");
  const std::map<std::string, int> counts = {
      {"own", own},         {"others", others},           {"missing", faults.missing},
      {"doubled", faults.doubled}, {"disordered", faults.disordered}, {"damaged", faults.damaged},
      {"partials", partials},      {"connections", stats.connections}, {"resumed", stats.resumed}};
  for (const auto& [name, count] : counts) fields[name].set_number_value(count);
  auto* lost = fields["lost"].mutable_list_value();
  for (const auto& reason : stats.lost) lost->add_values()->set_string_value(reason);
  Say(line);
  return good;
}

bool Story(example::Connection& connection, example::Tally& tally, int own, int others) {
  const std::string run = NewRun();
  const auto need = [&](bool has_come, const char* what) {
    if (has_come) return;
    if (auto failure = connection.failure()) throw *failure;
    throw std::runtime_error(std::string(what) + " did not come in time");
  };

  gateway::v1::EventFilter filter;
  filter.add_types(gateway::v1::EVENT_TYPE_CUSTOM);
  filter.set_topic("examples." + kClient + ".*");
  connection.Subscribe("orders", filter, [&](const gateway::v1::Event& event) { tally.Take(event); });
  Step("subscribed");

  std::vector<gateway::v1::Event> events;
  for (int number = 1; number <= own; ++number) events.push_back(example::Order(kClient, run, number));
  if (connection.Publish(events).empty()) throw std::runtime_error("durable events without a cursor");
  need(tally.Reached(kClient, own), "our own orders");
  Step("published");

  auto partials = std::make_shared<std::atomic<int>>(0);  // the callback may outlive this wait
  gateway::v1::Send send;
  send.set_agent("assistant");
  send.set_text("What can you do?");
  send.set_idempotency_key(kClient + "-" + run);
  const auto reply = connection.Send(send, [partials](const gateway::v1::Reply&) { ++*partials; });
  send.set_text("And what else?");
  send.set_idempotency_key(kClient + "-" + run + "-again");
  const auto whole = connection.Send(send);  // no pieces, only the answer
  if (reply.content().empty() || whole.content().empty()) throw std::runtime_error("an empty answer");
  Step("answered", reply.content());

  need(tally.Reached("other", others), "the orders of the other publisher");
  connection.Publish({example::EndOf(kClient, run)});
  need(tally.Ended(run), "the end");

  return Verdict(own, others, tally.Judge({{kClient, own}, {"other", others}}), *partials, connection.stats());
}

}  // namespace

int main(int argc, char** argv) {
  const char* address = std::getenv("GATEWAYD_ADDRESS");
  const char* token = std::getenv("GATEWAYD_TOKEN");
  if (address == nullptr || token == nullptr) {
    std::cerr << "set GATEWAYD_ADDRESS and GATEWAYD_TOKEN" << std::endl;
    return 1;
  }
  try {
    const int own = argc > 1 ? std::stoi(argv[1]) : 120;
    const int others = argc > 2 ? std::stoi(argv[2]) : 0;
    example::Tally tally;  // outlives the connection, whose thread writes to it
    example::Connection connection({address, token, "example-" + kClient, kClient + "-example/1"}, [&] { tally.Abandon(); });
    return Story(connection, tally, own, others) ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    return 1;
  }
}
