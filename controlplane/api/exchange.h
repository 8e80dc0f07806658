// One request on its way through the frame (service.h). Only service.cc and exchange.cc include this.
//
//   begin ─▶ fresh ─▶ admit ─▶ handler ─▶ Response ──────────────────────────▶ finish
//                       │         ▲  │
//                       │         │  ├─▶ Later ─▶ (elsewhere) ─▶ resume ─▶ as the handler's
//                       │         │  └─▶ Change ─▶ submit ─▶ decided ─▶ then() ─▶ as the handler's
//                       └─ replay ┘                             └─ refused ─▶ finish
#pragma once

#include <chrono>
#include <memory>

#include "controlplane/api/service.h"

namespace reprise::api {

struct Route {
  Need need = Need::nothing;
  bool write = false;
  bool present = false;  // a read of what was never in the log
  Handle handle;
};

// 401 of a request whose token nothing in the state could make good. Cheap: before its body is read, and before the log is
// asked.
std::optional<Response> refuse_unauthenticated(const Api& api, const Request& head, Service service);

class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(Api& api, std::shared_ptr<const Route> route, Call call, Responder responder);
  void begin();

 private:
  // Goes on here if `asked` is this thread (then it is an I/O thread), else on a worker.
  void go_on(std::thread::id asked, std::function<void()> step);
  void on_worker(std::function<void()> step);

  void admit(const Status& fresh);
  std::optional<Response> authorize();
  std::optional<Response> limit_rate();
  // Under /at/: a read gets that view; or why there is none.
  std::optional<Response> go_back();
  void run();
  void proceed(Plan plan);

  void submit(Change change);
  Intent intent_of(Change& change);
  void decided(Result<DecidedAnswer> answer);
  void undone(const Error& error);
  void conclude();
  Response refusal(const IntentRefused& event);

  // X-Reprise-Intent: the key of this step (a request may take several intents), its row, and the answer
  // again.
  std::optional<Response> read_key();
  std::string key() const;
  std::optional<ClientKey> known_key(const View& view) const;
  bool replay(const ClientKey& row);
  bool plan_again();
  void forget_plan();
  void replay_change(Change change);
  void read_decision();

  void finish(Response response);

  Api& api_;
  const std::shared_ptr<const Route> route_;
  Responder responder_;
  Ask ask_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point submitted_;
  std::string client_key_;  // X-Reprise-Intent, or empty
  Hash body_hash_;
  std::uint32_t step_ = 0;  // of several intents
  IntentId intent_;
  IntentType type_ = IntentType::NONE;
  std::optional<Change> change_;  // under way
  std::optional<ClientKey> replaying_;
  bool stale_ = false;
  std::string sealed_;  // the log was, and where the cloud went
};

}  // namespace reprise::api
