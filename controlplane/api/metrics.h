// What the api counts, and /metrics in Prometheus' text format.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "controlplane/api/errors.h"
#include "projections/runner.h"

namespace prometheus {
class Registry;
}

namespace reprise::api {

class Metrics {
 public:
  Metrics();
  ~Metrics();

  void answered(Service service, int status, std::chrono::nanoseconds took);
  // Of an intent: from the hand-over to the log to the decision.
  void decided(std::chrono::nanoseconds took, bool refused);
  void undecided();  // answered 503 or 504

  // Others' figures: called at each scrape, before it is written.
  void watch(std::function<void(prometheus::Registry&)> refresh);
  prometheus::Registry& registry();
  std::string text(const ProjectionStatus& projection);

 private:
  struct Held;
  std::unique_ptr<Held> held_;
};

}  // namespace reprise::api
