// Answers for an agent that gateway.yaml declares with `remote: true`, word by word, until it is told to stop.
//
//   GATEWAYD_ADDRESS=127.0.0.1:8765 GATEWAYD_TOKEN=… worker [AGENT [CLIENT-ID]]

#include <google/protobuf/util/json_util.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <regex>
#include <sstream>

#include "connection.h"
#include "serving.h"

namespace {

constexpr auto kPause = std::chrono::milliseconds(50);  // between two words, as if they were hard to find

void Step(const std::string& step, const std::string& name, const std::string& value, int resumed) {
  google::protobuf::Struct line;
  auto& fields = *line.mutable_fields();
  fields["step"].set_string_value(step);
  fields[name].set_string_value(value);
  fields["resumed"].set_number_value(resumed);
  std::string text;
  auto status = google::protobuf::util::MessageToJsonString(line, &text);
  if (!status.ok()) throw std::runtime_error(std::string(status.message()));
  std::cout << text + "\n" << std::flush;
}

// What it does for its answer is an event of the execution, for whoever may see that. The id makes saying it twice
// harmless.
gateway::v1::Event LookingUp(const gateway::v1::Call& call, const std::string& number) {
  gateway::v1::Event event;
  event.set_id(call.call_id() + "-look-up");
  event.set_type(gateway::v1::EVENT_TYPE_TOOL_CALL_STARTED);
  event.set_execution_id(call.execution_id());
  auto* started = event.mutable_tool_call_started();
  started->set_tool_use_id("look-up");
  started->set_tool_name("orders");
  (*started->mutable_tool_input()->mutable_fields())["order"].set_string_value(number);
  return event;
}

void LookUp(example::Connection& connection, const gateway::v1::Call& call, example::Answering& answer) {
  std::smatch found;
  if (!std::regex_search(call.text(), found, std::regex("order (\\d+)", std::regex::icase))) {
    throw example::CannotAnswer("Ask me for an order, such as \"order 7\".");
  }
  const std::string number = found[1];
  connection.Publish({LookingUp(call, number)});
  std::istringstream sentence("Order " + number + ": " + number + " × A-" + number +
                              ", paid, packed, handed over and on its way to Zürich 🚚");
  const std::vector<std::string> words{std::istream_iterator<std::string>(sentence), {}};
  // "watch order 7" is told again and again, until nobody wants to know any more.
  const bool is_watching = std::regex_search(call.text(), std::regex("watch", std::regex::icase));
  answer.Say(words.front());
  do {
    for (auto word = words.begin() + 1; word != words.end(); ++word) {
      answer.Pause(kPause);
      answer.Say(" " + *word);
    }
  } while (is_watching);
}

// Answers a question that is addressed to the agent, which has no promise of one: by an event for who asked.
void AnswerEvent(example::Connection& connection, const gateway::v1::Event& question) {
  const auto& asked = question.custom().json().fields();
  const auto order = asked.find("order");
  std::ostringstream text;
  text << std::fixed << std::setprecision(0);
  text << "Order " << (order == asked.end() ? 0 : order->second.number_value()) << " is on its way.";
  gateway::v1::Event told;
  told.set_type(gateway::v1::EVENT_TYPE_CUSTOM);
  told.set_custom_type("order.told");
  told.set_ephemeral(true);
  told.set_target(question.stream_id());
  told.set_correlation_id(question.correlation_id());
  auto& fields = *told.mutable_custom()->mutable_json()->mutable_fields();
  fields["text"].set_string_value(text.str());
  try {
    connection.Publish({told});
  } catch (const example::GatewayError& refusal) {  // who asked may be gone
    std::cerr << "question " << question.id() << ": " << refusal.what() << std::endl;
  }
}

// Answers until a signal comes; throws why if it ends by anything else.
void Work(const example::Options& options, const std::string& agent) {
  // Signals are waited for here; threads that are begun later do not get them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const auto stop = [] { kill(getpid(), SIGTERM); };  // what else ends us ends the wait as a signal does
  std::promise<example::GatewayError> over;           // gets why, when a reload took the agent away
  auto why = over.get_future();
  example::Connection connection(options, stop, [&](const gateway::v1::Event& event) {
    const bool is_question = event.target() == agent && event.custom_type() == "order.asked";
    if (is_question && !event.correlation_id().empty()) AnswerEvent(connection, event);
  });
  const auto on_call = [&](const gateway::v1::Call& call, example::Answering& answer) {
    try {
      LookUp(connection, call, answer);
      Step("answered", "call", call.call_id(), connection.stats().resumed);
    } catch (const example::NobodyWaits&) {
      Step("cancelled", "call", call.call_id(), connection.stats().resumed);
      throw;
    }
  };
  connection.Serve(agent, on_call, [&](const example::GatewayError& error) {
    over.set_value(error);
    stop();  // whoever starts us decides when to try again
  });
  Step("registered", "agent", agent, connection.stats().resumed);
  int number = 0;
  sigwait(&signals, &number);
  if (auto failure = connection.failure()) throw *failure;
  if (why.wait_for(std::chrono::seconds(0)) == std::future_status::ready) throw why.get();
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
    Work({address, token, argc > 2 ? argv[2] : "worker-cpp", "cpp-worker/1"}, argc > 1 ? argv[1] : "lookup");
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    return 1;
  }
}
