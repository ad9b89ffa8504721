#include "orders.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <chrono>

namespace example {

namespace {

using gateway::v1::Event;
using google::protobuf::Struct;

constexpr auto kPatience = std::chrono::seconds(90);

Struct Content(const std::string& publisher, int number) {
  const auto digits = std::to_string(number);
  Struct order;
  auto& fields = *order.mutable_fields();
  fields["publisher"].set_string_value(publisher);
  fields["number"].set_number_value(number);
  fields["text"].set_string_value("Order № " + digits + ": Grüße, 東京 🚀");
  auto& line = *fields["lines"].mutable_list_value()->add_values()->mutable_struct_value()->mutable_fields();
  line["sku"].set_string_value("A-" + digits);
  line["price"].set_number_value(number / 4.0);
  line["paid"].set_bool_value(number % 2 == 0);
  line["note"].set_null_value(google::protobuf::NULL_VALUE);
  return order;
}

// A durable event of our own type. Its id makes publishing it twice harmless; ids are per principal, so it has to be
// unlike those of every other run.
Event Custom(const std::string& client, const std::string& id, const std::string& type, Struct data) {
  Event event;
  event.set_id(id);
  event.set_type(gateway::v1::EVENT_TYPE_CUSTOM);
  event.set_custom_type(type);
  event.set_topic("examples." + client + ".orders");
  *event.mutable_custom()->mutable_json() = std::move(data);
  return event;
}

}  // namespace

Event Order(const std::string& client, const std::string& run, int number) {
  return Custom(client, client + "-" + run + "-" + std::to_string(number), "order.created", Content(client, number));
}

Event EndOf(const std::string& client, const std::string& run) {
  Struct data;
  (*data.mutable_fields())["run"].set_string_value(run);
  return Custom(client, client + "-" + run + "-end", "orders.ended", std::move(data));
}

void Tally::Take(const Event& event) {
  std::lock_guard<std::mutex> lock(mutex_);
  const Struct& data = event.custom().json();
  const auto& fields = data.fields();
  if (event.custom_type() == "orders.ended") {
    ends_.insert(fields.at("run").string_value());
  } else {
    const std::string& publisher = fields.at("publisher").string_value();
    const int number = static_cast<int>(fields.at("number").number_value());
    if (!google::protobuf::util::MessageDifferencer::Equals(data, Content(publisher, number))) ++damaged_;
    numbers_[publisher].push_back(number);
  }
  changed_.notify_all();
}

void Tally::Abandon() {
  std::lock_guard<std::mutex> lock(mutex_);
  is_abandoned_ = true;
  changed_.notify_all();
}

bool Tally::Reached(const std::string& publisher, int number) {
  return Wait([&] {
    const auto& numbers = numbers_[publisher];
    return number == 0 || std::find(numbers.begin(), numbers.end(), number) != numbers.end();
  });
}

bool Tally::Ended(const std::string& run) {
  return Wait([&] { return ends_.count(run) > 0; });
}

bool Tally::Wait(const std::function<bool()>& is_true) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, kPatience, [&] { return is_abandoned_ || is_true(); });
  return is_true();
}

Faults Tally::Judge(const std::map<std::string, int>& expected) {
  std::lock_guard<std::mutex> lock(mutex_);
  Faults faults;
  faults.damaged = damaged_;
  for (const auto& [publisher, count] : expected) {
    const auto& numbers = numbers_[publisher];
    const std::set<int> unique(numbers.begin(), numbers.end());
    for (int number = 1; number <= count; ++number) faults.missing += unique.count(number) == 0;
    faults.doubled += static_cast<int>(numbers.size() - unique.size());
    for (size_t i = 1; i < numbers.size(); ++i) faults.disordered += numbers[i] < numbers[i - 1];
  }
  return faults;
}

}  // namespace example
