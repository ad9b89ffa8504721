// What the example publishes, and the judgement over what came back.

#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "gateway/v1/event.pb.h"

namespace example {

gateway::v1::Event Order(const std::string& client, const std::string& run, int number);
// The last event of a run: the log is in order, so whatever is missing when it comes will not come any more.
gateway::v1::Event EndOf(const std::string& client, const std::string& run);

struct Faults {
  int missing = 0, doubled = 0, disordered = 0, damaged = 0;
  bool none() const { return missing + doubled + disordered + damaged == 0; }
};

class Tally {
 public:
  void Take(const gateway::v1::Event& event);
  // Nothing more will come: whoever waits gets false.
  void Abandon();
  // Waits until the order with that number has come; returns at once for 0. False if it is too late for that.
  bool Reached(const std::string& publisher, int number);
  bool Ended(const std::string& run);
  // `expected`: publisher → how many orders, numbered from 1.
  Faults Judge(const std::map<std::string, int>& expected);

 private:
  bool Wait(const std::function<bool()>& is_true);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::vector<int>> numbers_;  // as they came
  std::set<std::string> ends_;
  int damaged_ = 0;
  bool is_abandoned_ = false;
};

}  // namespace example
