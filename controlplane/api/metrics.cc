#include "controlplane/api/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <atomic>
#include <mutex>
#include <vector>

namespace reprise::api {
namespace {

constexpr std::size_t service_count = 6;
constexpr std::size_t status_end = 600;

prometheus::Histogram::BucketBoundaries seconds() {
  return {0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30};
}

double in_seconds(std::chrono::nanoseconds took) { return std::chrono::duration<double>(took).count(); }

}  // namespace

struct Metrics::Held {
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  prometheus::Family<prometheus::Counter>& requests = prometheus::BuildCounter()
                                                          .Name("reprise_requests_total")
                                                          .Help("Requests answered, by service and status")
                                                          .Register(*registry);
  prometheus::Family<prometheus::Histogram>& took = prometheus::BuildHistogram()
                                                        .Name("reprise_request_seconds")
                                                        .Help("From a request's arrival to its answer")
                                                        .Register(*registry);
  prometheus::Family<prometheus::Histogram>& decisions =
      prometheus::BuildHistogram()
          .Name("reprise_decision_seconds")
          .Help("From an intent's append to its folded decision")
          .Register(*registry);
  prometheus::Histogram& done = decisions.Add({{"outcome", "done"}}, seconds());
  prometheus::Histogram& refused = decisions.Add({{"outcome", "refused"}}, seconds());
  prometheus::Counter& undecided = prometheus::BuildCounter()
                                       .Name("reprise_intents_undecided_total")
                                       .Help("Intents answered 503 or 504")
                                       .Register(*registry)
                                       .Add({});
  prometheus::Family<prometheus::Gauge>& gauges = prometheus::BuildGauge()
                                                      .Name("reprise_projection")
                                                      .Help("The projection behind this api")
                                                      .Register(*registry);
  std::array<prometheus::Histogram*, service_count> by_service{};
  // Counters once looked up, by service and status.
  std::array<std::array<std::atomic<prometheus::Counter*>, status_end>, service_count> by_status{};
  std::mutex mutex;
  std::vector<std::function<void(prometheus::Registry&)>> refreshes;

  Held() {
    for (std::size_t i = 0; i < service_count; ++i)
      by_service[i] = &took.Add({{"service", service_name(static_cast<Service>(i))}}, seconds());
  }
};

Metrics::Metrics() : held_(std::make_unique<Held>()) {}
Metrics::~Metrics() = default;

void Metrics::answered(Service service, int status, std::chrono::nanoseconds took) {
  const auto index = static_cast<std::size_t>(service);
  held_->by_service[index]->Observe(in_seconds(took));
  auto& known = held_->by_status[index][static_cast<std::size_t>(status) % status_end];
  auto* counter = known.load();
  if (counter == nullptr) {
    counter = &held_->requests.Add({{"service", service_name(service)}, {"status", std::to_string(status)}});
    known = counter;
  }
  counter->Increment();
}

void Metrics::decided(std::chrono::nanoseconds took, bool refused) {
  (refused ? held_->refused : held_->done).Observe(in_seconds(took));
}

void Metrics::undecided() { held_->undecided.Increment(); }

void Metrics::watch(std::function<void(prometheus::Registry&)> refresh) {
  std::lock_guard lock(held_->mutex);
  held_->refreshes.push_back(std::move(refresh));
}

prometheus::Registry& Metrics::registry() { return *held_->registry; }

std::string Metrics::text(const ProjectionStatus& projection) {
  const auto set = [&](const char* what, double value) { held_->gauges.Add({{"value", what}}).Set(value); };
  set("head_seq", static_cast<double>(projection.head.seq));
  set("head_at_ms", static_cast<double>(projection.head.at_ms));
  set("lag", static_cast<double>(projection.lag));
  set("voids", static_cast<double>(projection.voids));
  set("caught_up", projection.caught_up ? 1 : 0);
  set("broken", projection.broken.empty() ? 0 : 1);
  {
    std::lock_guard lock(held_->mutex);
    for (const auto& refresh : held_->refreshes) refresh(*held_->registry);
  }
  return prometheus::TextSerializer().Serialize(held_->registry->Collect());
}

}  // namespace reprise::api
